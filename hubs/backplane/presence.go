package backplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// What a process has announced of presence is written down in Redis before it is
// published: per hub and edge run a hash from connection and group to the
// presence's token. When the run's lease is gone, one of the others publishes the
// ends of all of it.

const (
	// presenceSweep is how often is looked for edges that are gone. One is when its
	// lease is missing twice in a row: after an outage of Redis those that live have
	// to renew theirs first. With leaseLife this bounds how long members of a dead
	// edge are seen: 10 s.
	presenceSweep = time.Second
	// reaperLife is how long one process has for the members of a dead edge before
	// another may begin.
	reaperLife = 10 * time.Second
	// presenceRenewal is how often what is written down is kept from expiring, which it
	// would headLife after a hub's last announcement.
	presenceRenewal = time.Hour
	// renewBatch is how many hubs are renewed in one round trip.
	renewBatch = 200
	// goneBatch is how many connections one entry ends.
	goneBatch = 500
	// settingsField keeps the hub's Settings among its members.
	settingsField = ""
)

// presenceField names a member: connection ids hold no slash.
func presenceField(connection, group string) string { return connection + "/" + group }

// remember writes an announcement down.
func (h *hubBackplane) remember(ctx context.Context, e *hubs.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	s := h.settings()
	settings, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("remember presence: %w", err)
	}
	ofRun := redisclient.PresenceHubs(h.r.run)
	_, err = h.r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, redisclient.PresenceEdges, h.r.run)
		p.SAdd(ctx, ofRun, h.id.name())
		p.PExpire(ctx, ofRun, headLife)
		return nil
	})
	if err == nil {
		err = rememberPresence.Run(ctx, h.r.client, h.presenceKeys(h.r.run), headLife.Milliseconds(), presenceField(e.Connections[0], e.Groups[0]),
			e.Reason, settings, h.countedAs(e, s), h.id.name(), presenceDebounce.Milliseconds()).Err()
	}
	if err != nil {
		return fmt.Errorf("remember presence: %w: %w", hubs.ErrUnavailable, err)
	}
	return nil
}

// forget is remember's end, for fields and their tokens. What it fails to forget is
// ended once more when the process has ended, which does no harm.
func (h *hubBackplane) forget(ctx context.Context, run string, fields ...any) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	arguments := append([]any{headLife.Milliseconds(), h.id.name(), presenceDebounce.Milliseconds()}, fields...)
	if err := forgetPresence.Run(ctx, h.r.client, h.presenceKeys(run), arguments...).Err(); err != nil {
		h.r.log.Debug("presence is not forgotten", "hub", h.id.hub, "error", err)
	}
}

// reap ends the presence of edges that are gone, until the backplane closes.
func (r *Redis) reap() {
	missing := make(map[string]bool)
	renewed := time.Now()
	for {
		quarter := presenceSweep / 4
		select {
		case <-time.After(presenceSweep - quarter/2 + rand.N(quarter+1)):
		case <-r.ctx.Done():
			return
		}
		if err := r.reapOnce(r.ctx, missing); err != nil && r.ctx.Err() == nil {
			r.log.Debug("presence of edges that are gone can't be looked after", "error", err)
		}
		if time.Since(renewed) < presenceRenewal {
			continue
		}
		if err := r.renewPresence(r.ctx); err == nil {
			renewed = time.Now()
		} else if r.ctx.Err() == nil {
			r.log.Debug("presence can't be renewed", "error", err)
		}
	}
}

// renewPresence keeps what this process has announced for as long again as if it had
// been now: members may stay for longer than headLife without a word.
func (r *Redis) renewPresence(ctx context.Context) error {
	ofRun := redisclient.PresenceHubs(r.run)
	names, err := r.client.SMembers(ctx, ofRun).Result()
	if err != nil {
		return fmt.Errorf("read hubs with presence: %w", err)
	}
	for batch := range slices.Chunk(names, renewBatch) {
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.PExpire(ctx, ofRun, headLife)
			for _, name := range batch {
				tenant, hub, _ := strings.Cut(name, "/")
				k := redisclient.Hub(tenants.ID(tenant), hub)
				for _, key := range []string{k.Presence(r.run), k.PresenceCounts(), k.PresenceTold(), k.PresenceDue()} {
					p.PExpire(ctx, key, headLife)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("renew presence: %w", err)
		}
	}
	return nil
}

// reapOnce looks once; missing are the edge runs whose lease was missing before.
func (r *Redis) reapOnce(ctx context.Context, missing map[string]bool) error {
	runs, err := r.client.SMembers(ctx, redisclient.PresenceEdges).Result()
	if err != nil {
		return fmt.Errorf("read edges with presence: %w", err)
	}
	for _, run := range runs {
		if run == r.run {
			continue
		}
		alive, err := r.client.Exists(ctx, redisclient.EdgeLease(run)).Result()
		if err != nil {
			return fmt.Errorf("read lease: %w", err)
		}
		if alive > 0 || !missing[run] {
			missing[run] = alive == 0
			continue
		}
		delete(missing, run)
		mine, err := r.client.SetNX(ctx, redisclient.PresenceReaper(run), r.run, reaperLife).Result()
		if err != nil {
			return fmt.Errorf("claim a dead edge's presence: %w", err)
		}
		if mine {
			if err := r.reapRun(ctx, run); err != nil {
				return err
			}
		}
	}
	return nil
}

// reapRun ends what one edge run has announced.
func (r *Redis) reapRun(ctx context.Context, run string) error {
	names, err := r.client.SMembers(ctx, redisclient.PresenceHubs(run)).Result()
	if err != nil {
		return fmt.Errorf("read hubs of a dead edge: %w", err)
	}
	ended := 0
	for _, name := range names {
		tenant, hub, ok := strings.Cut(name, "/")
		if !ok {
			continue
		}
		n, err := r.reapHub(ctx, run, hubID{tenant: tenants.ID(tenant), hub: hub})
		if err != nil {
			return fmt.Errorf("end presence of a dead edge: %w", err)
		}
		ended += n
	}
	if err := r.forgetRun(ctx, run, names); err != nil {
		return fmt.Errorf("forget a dead edge's presence: %w", err)
	}
	if ended > 0 {
		r.log.Info("presence of an edge that is gone has ended", "edge_run_gone", run, "members", ended)
	}
	return nil
}

// forgetRun forgets that an edge run has presence in these hubs. One that was wrongly
// taken for dead may have announced its members anew meanwhile: where it has, it is
// remembered.
func (r *Redis) forgetRun(ctx context.Context, run string, names []string) error {
	left := make([]*redis.IntCmd, len(names))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			p.SRem(ctx, redisclient.PresenceHubs(run), name)
			tenant, hub, _ := strings.Cut(name, "/")
			left[i] = p.Exists(ctx, redisclient.Hub(tenants.ID(tenant), hub).Presence(run))
		}
		p.SRem(ctx, redisclient.PresenceEdges, run)
		p.Del(ctx, redisclient.PresenceReaper(run))
		return nil
	})
	if err != nil {
		return err
	}
	_, err = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			if left[i].Val() > 0 {
				p.SAdd(ctx, redisclient.PresenceHubs(run), name)
				p.PExpire(ctx, redisclient.PresenceHubs(run), headLife)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	some, err := r.client.Exists(ctx, redisclient.PresenceHubs(run)).Result() // also of other hubs
	if err == nil && some > 0 {
		err = r.client.SAdd(ctx, redisclient.PresenceEdges, run).Err()
	}
	return err
}

// reapHub ends what one edge run has announced in one hub. What is published twice,
// since another process had begun with it, is published once.
func (r *Redis) reapHub(ctx context.Context, run string, id hubID) (int, error) {
	members, err := r.client.HGetAll(ctx, redisclient.Hub(id.tenant, id.hub).Presence(run)).Result()
	if err != nil || len(members) == 0 {
		return 0, err
	}
	var s Settings
	if text, ok := members[settingsField]; ok {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return 0, fmt.Errorf("settings of hub: %w", err)
		}
		delete(members, settingsField)
	}
	if s.Partitions, err = r.partitionsInForce(ctx, id); err != nil {
		return 0, err
	}
	h := &hubBackplane{r: r, id: id, settings: func() Settings { return s }}
	type place struct{ group, token string }
	batches, fields := make(map[place][]string), make(map[place][]any)
	end := func(at place) error {
		e := &hubs.Entry{Kind: hubs.PresenceGone, Groups: []string{at.group}, Connections: batches[at], Reason: at.token}
		ended := fields[at]
		delete(batches, at)
		delete(fields, at)
		_, hash, err := encodeEntry(e, address{}, true)
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(run + hash))
		if _, err := h.Publish(ctx, e, hubs.PublishOptions{IdempotencyKey: "gone-" + hex.EncodeToString(sum[:16])}); err != nil {
			return err
		}
		h.forget(ctx, run, ended...)
		return nil
	}
	for field, value := range members {
		token, _, _ := strings.Cut(value, "/")
		connection, group, ok := strings.Cut(field, "/")
		process, _, ok2 := strings.Cut(token, ".")
		if !ok || !ok2 {
			continue
		}
		at := place{group, process + ".*"}
		fields[at] = append(fields[at], field, token)
		if batches[at] = append(batches[at], connection); len(batches[at]) == goneBatch {
			if err := end(at); err != nil {
				return 0, err
			}
		}
	}
	for at := range batches {
		if err := end(at); err != nil {
			return 0, err
		}
	}
	return len(members), nil
}
