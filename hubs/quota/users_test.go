package quota

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// usersEdge makes the users' connections of one edge that lives. Its Redis is away
// while the switch is on, before a command or, with late, behind it.
func usersEdge(t *testing.T, url *redis.Client, run string) (u *Users, away, late *atomic.Bool) {
	t.Helper()
	own := redis.NewClient(url.Options())
	t.Cleanup(func() { own.Close() })
	if err := own.HSet(t.Context(), redisclient.EdgeLease(run), "addr", "-").Err(); err != nil {
		t.Fatal(err)
	}
	o := &outage{}
	own.AddHook(o)
	u = NewUsers(redisclient.NewBatch(own), run, nil, quiet())
	t.Cleanup(u.Wait)
	return u, &o.away, &o.late
}

type outage struct{ away, late atomic.Bool }

var errOutage = fmt.Errorf("of the test: %w", net.ErrClosed)

func (o *outage) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o *outage) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if o.away.Load() {
			cmd.SetErr(errOutage)
			return errOutage
		}
		err := next(ctx, cmd)
		if o.late.Load() && err == nil {
			cmd.SetErr(errOutage)
			return errOutage
		}
		return err
	}
}

func (o *outage) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var err error
		away := o.away.Load()
		if !away {
			err = next(ctx, cmds)
		}
		for _, c := range cmds {
			if away || o.late.Load() && c.Err() == nil {
				c.SetErr(errOutage)
				err = errOutage
			}
		}
		return err
	}
}

// open admits a connection of ann.
func open(t *testing.T, u *Users, l *tenants.Limits, id string) (release func(), err error) {
	t.Helper()
	release, _, err = u.Admit(t.Context(), acme, "ann", l, false, UserConnection{Hub: "chat", ID: id})
	return release, err
}

func members(t *testing.T, client *redis.Client) int {
	t.Helper()
	n, err := client.ZCard(t.Context(), redisclient.UserConnections(acme, "ann")).Result()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// What closes while Redis is away doesn't count once it is back: not on the edge that
// had it, and not on others.
func TestUsers_connections_that_close_during_an_outage_are_taken_back(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	one, away, _ := usersEdge(t, client, "one")
	two, _, _ := usersEdge(t, client, "two")
	l := &tenants.Limits{MaxConnectionsPerUser: 3}
	var releases []func()
	for n := range 3 {
		release, err := open(t, one, l, fmt.Sprint(n))
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	_, err := open(t, two, l, "x")
	wantRefusal(t, err, usersRow.Code, 3)
	wantRefusal(t, two.Full(t.Context(), acme, "ann", l), usersRow.Code, 3)
	away.Store(true)
	for _, release := range releases {
		release()
	}
	eventually(t, "all are owed", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.debts == 3
	})
	away.Store(false)
	eventually(t, "none is counted any more", func() bool { return members(t, client) == 0 })
	for n := range 3 {
		if _, err := open(t, two, l, fmt.Sprint("again", n)); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "nothing is owed", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.debts == 0 && len(one.owed) == 0 && !one.paying
	})
}

// A connection that was counted although its edge heard nothing of that, and refused it,
// is no connection.
func TestUsers_connection_whose_answer_was_lost_is_taken_back(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	one, _, late := usersEdge(t, client, "one")
	l := &tenants.Limits{MaxConnectionsPerUser: 1}
	release, err := open(t, one, l, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Del(t.Context(), redisclient.UserConnections(acme, "ann")).Err(); err != nil { // Redis has lost it
		t.Fatal(err)
	}
	late.Store(true)
	_, err = open(t, one, l, "b") // counted there, one too many by what the edge knows
	wantRefusal(t, err, usersRow.Code, 1)
	one.mu.Lock()
	debts := one.debts // until an answer says that it is taken out
	one.mu.Unlock()
	if debts != 1 {
		t.Errorf("%d are owed, want the refused one", debts)
	}
	late.Store(false)
	eventually(t, "the refused one isn't counted", func() bool { return members(t, client) == 0 })
	release()
	release() // once
	if _, err := open(t, one, l, "c"); err != nil {
		t.Error(err)
	}
}

// Whatever has become of a connection of this edge: where it isn't open, it doesn't keep
// its user out. Those of a living edge that are open, or are being asked for, do.
func TestUsers_ghosts_of_the_own_edge_do_not_count(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	one, _, _ := usersEdge(t, client, "one")
	l := &tenants.Limits{MaxConnectionsPerUser: 2}
	if _, err := open(t, one, l, "open"); err != nil {
		t.Fatal(err)
	}
	key := redisclient.UserConnections(acme, "ann")
	ghost := func() {
		t.Helper()
		if err := client.ZAdd(t.Context(), key, redis.Z{Member: "one chat ghost"}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ghost()
	if err := one.Full(t.Context(), acme, "ann", l); err != nil {
		t.Error(err)
	}
	ghost()
	if _, err := open(t, one, l, "second"); err != nil {
		t.Error(err)
	}
	_, err := open(t, one, l, "third")
	wantRefusal(t, err, usersRow.Code, 2)
	if n := members(t, client); n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
}
