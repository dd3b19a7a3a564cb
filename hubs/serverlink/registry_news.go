package serverlink

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// registryNews is how other edges tell of their server connections in some hubs: what they
// tell goes to Registry.rang, and whether it can be heard to Registry.listen.
type registryNews interface {
	// add and remove don't block.
	add(hub pairing.Hub)
	remove(hub pairing.Hub)
	// run works until ctx ends.
	run(ctx context.Context)
}

const (
	// logField has the record in a message of a hub's log.
	logField = "record"
	// logRecords is about how many messages a log keeps, for edges that are late.
	logRecords = 100
)

// newsLog is news that are read from a stream of each hub.
type newsLog struct {
	r       *Registry
	streams *redisclient.Follower
}

func newNewsLog(r *Registry) (*newsLog, error) {
	l := &newsLog{r: r}
	var err error
	l.streams, err = redisclient.NewFollower(redisclient.FollowerConfig{
		Redis: r.cfg.Redis, Name: r.cfg.EdgeRun + ":servers",
		Broken: func(err error) { r.cfg.Logger.Warn("news of server connections are not heard", "error", err) },
	})
	return l, err
}

func (l *newsLog) add(hub pairing.Hub) {
	l.streams.Follow(redisclient.Followed{
		Key:   redisclient.Hub(hub.Tenant, hub.Name).ServersLog(),
		Began: func() { l.r.listen(hub, true) },
		Broke: func() { l.r.listen(hub, false) },
		Added: func(m redis.XMessage) {
			if rec, ok := m.Values[logField].(string); ok {
				l.r.rang(hub, rec)
			}
		},
	})
}

func (l *newsLog) remove(hub pairing.Hub) {
	l.streams.Unfollow(redisclient.Hub(hub.Tenant, hub.Name).ServersLog())
}

func (l *newsLog) run(ctx context.Context) { l.streams.Run(ctx) }
