package edge

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// fakeServers are app servers of which only the presence is known.
type fakeServers struct {
	pairing.Opener
	presence serverlink.Presence
	err      error
	unknown  atomic.Int32 // how often err comes first; then it is known
}

func (f *fakeServers) Presence(context.Context, pairing.Hub) (serverlink.Presence, error) {
	if f.unknown.Add(-1) == 0 {
		return f.presence, nil
	}
	return f.presence, f.err
}
func (*fakeServers) Follow(pairing.Hub, func()) func() { return func() {} }

func TestHandlers_choose_by_setting_and_presence(t *testing.T) {
	t.Parallel()
	var (
		now      = serverlink.Presence{Now: true, Recently: true}
		recently = serverlink.Presence{Recently: true}
		never    = serverlink.Presence{}
	)
	for name, row := range map[string]struct {
		setting  tenants.Handler
		presence serverlink.Presence
		err      error
		proxied  bool
		refusal  string // code
	}{
		"broadcast_beside_an_app_server":             {tenants.HandlerBroadcast, now, nil, false, ""},
		"upstream_beside_an_app_server":              {tenants.HandlerUpstream, now, nil, false, ""},
		"upstream_while_nothing_is_known":            {tenants.HandlerUpstream, never, errors.New("redis is away"), false, ""},
		"app_server_while_nothing_is_known":          {tenants.HandlerAppServer, never, errors.New("redis is away"), false, "app_servers_unknown"},
		"app_server_that_is_there":                   {tenants.HandlerAppServer, now, nil, true, ""},
		"app_server_that_isn_t_there_says_so_itself": {tenants.HandlerAppServer, never, nil, true, ""},
		"auto_with_an_app_server":                    {tenants.HandlerAuto, now, nil, true, ""},
		"auto_without":                               {tenants.HandlerAuto, never, nil, false, ""},
		"auto_while_it_is_away_for_a_moment":         {tenants.HandlerAuto, recently, nil, false, "no_app_server"},
		"auto_while_nothing_is_known":                {tenants.HandlerAuto, never, errors.New("redis is away"), false, "app_servers_unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var refused map[string]int
			h := newHandlers(pairing.Hub{Tenant: "t", Name: "chat"}, &fakeServers{presence: row.presence, err: row.err},
				func() tenants.Handler { return row.setting },
				func(code string) { mu.Lock(); defer mu.Unlock(); refused[code]++ }, slog.New(slog.DiscardHandler))
			var got hubs.Handler
			var err error
			for tries := 3; ; tries-- {
				refused = map[string]int{}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				got, err = h.handle(ctx, new(hubs.Connection), hubs.Opening{})
				late := ctx.Err() != nil
				cancel()
				if !late {
					break
				}
				if tries == 1 { // once or twice it may be the machine
					t.Error("no time is left for the answer")
					break
				}
			}
			if (got.Proxy != nil) != row.proxied || got.Dispatcher != nil {
				t.Errorf("chose %+v", got)
			}
			var shown *hubs.Error
			switch {
			case row.refusal == "" && err != nil:
				t.Errorf("refused: %v", err)
			case row.refusal != "" && (!errors.As(err, &shown) || !strings.HasPrefix(shown.Error(), row.refusal+": ") || refused[row.refusal] != 1):
				t.Errorf("got %v, counted %v; want %s", err, refused, row.refusal)
			}
		})
	}
}

// A handshake is held while nothing is known, and goes on as soon as something is.
func TestHandlers_wait_until_app_servers_are_known(t *testing.T) {
	t.Parallel()
	for _, setting := range []tenants.Handler{tenants.HandlerAuto, tenants.HandlerAppServer} {
		apps := &fakeServers{presence: serverlink.Presence{Now: true, Recently: true}, err: errors.New("redis is away")}
		apps.unknown.Store(4)
		h := newHandlers(pairing.Hub{Tenant: "t", Name: "chat"}, apps, func() tenants.Handler { return setting },
			func(code string) { t.Errorf("refused: %s", code) }, slog.New(slog.DiscardHandler))
		got, err := h.handle(t.Context(), new(hubs.Connection), hubs.Opening{})
		if err != nil || got.Proxy == nil {
			t.Errorf("%s: %+v, %v", setting, got, err)
		}
	}
}

// The same over a real edge whose Redis doesn't say what app servers there are.
func TestHandshake_is_held_until_app_servers_are_known(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	servers := redisclient.Hub(demo.ID, "chat").Servers()
	if err := c.redis.Set(t.Context(), servers, "not what it should be", 0).Err(); err != nil {
		t.Fatal(err)
	}
	joined := make(chan error, 1)
	token := clientJWT(t, demo, 0, "chat", "ann")
	go func() {
		_, _, err := c.dial(0, 0, demo, "chat", token)
		joined <- err
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // between two looks
		stats, err := c.redis.Info(t.Context(), "errorstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(stats, "errorstat_WRONGTYPE") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody asked for the app servers: %s", stats)
		}
	}
	if err := c.redis.Del(t.Context(), servers).Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-joined; err != nil {
		t.Errorf("the client isn't let in: %v", err)
	}
}

func TestHandlers_find_who_is_with_the_wrong_one(t *testing.T) {
	t.Parallel()
	now, never := serverlink.Presence{Now: true}, serverlink.Presence{}
	for name, row := range map[string]struct {
		setting        tenants.Handler
		presence       serverlink.Presence
		plain, proxied bool // are wrong
	}{
		"broadcast":                  {tenants.HandlerBroadcast, now, false, true},
		"upstream":                   {tenants.HandlerUpstream, now, false, true},
		"app_server":                 {tenants.HandlerAppServer, now, true, false},
		"app_server_that_isn_t_here": {tenants.HandlerAppServer, never, true, false},
		"auto_with_an_app_server":    {tenants.HandlerAuto, now, true, false},
		"auto_without":               {tenants.HandlerAuto, never, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHandlers(pairing.Hub{Tenant: "t", Name: "chat"}, &fakeServers{presence: row.presence},
				func() tenants.Handler { return row.setting }, func(string) {}, slog.New(slog.DiscardHandler))
			plain, proxied := new(hubs.Connection), new(hubs.Connection)
			proxied.SetValue(proxiedKey{}, true)
			wrong := h.wrong(t.Context())
			if wrong(plain) != row.plain || wrong(proxied) != row.proxied {
				t.Errorf("plain %v, proxied %v", wrong(plain), wrong(proxied))
			}
		})
	}
}
