package edge

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/tenants"
)

// fakeServers are app servers of which only the presence is known.
type fakeServers struct {
	pairing.Opener
	presence serverlink.Presence
	err      error
}

func (f *fakeServers) Presence(context.Context, pairing.Hub) (serverlink.Presence, error) {
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
			refused := map[string]int{}
			h := newHandlers(pairing.Hub{Tenant: "t", Name: "chat"}, &fakeServers{presence: row.presence, err: row.err},
				func() tenants.Handler { return row.setting },
				func(code string) { mu.Lock(); defer mu.Unlock(); refused[code]++ }, slog.New(slog.DiscardHandler))
			got, err := h.handle(t.Context(), new(hubs.Connection), hubs.Opening{})
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
