package serviceprotocol_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

func TestPings_are_those_of_the_SDK(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1234)
	for name, tt := range map[string]struct {
		ping *serviceprotocol.Ping
		want []string
	}{
		"keep_alive":        {serviceprotocol.KeepAlive(), nil},
		"client_counts":     {serviceprotocol.ClientCounts(10, 2), []string{"#clientInHub", "10", "#client", "2"}},
		"status_request":    {serviceprotocol.StatusRequest(), []string{"status", "1"}},
		"status":            {serviceprotocol.Status{Active: true, Clients: 3, Servers: 2, Capacity: 100}.Ping(), []string{"status", "1", "clientcount", "3", "servercount", "2", "capacity", "100"}},
		"inactive":          {serviceprotocol.Status{Clients: -1, Servers: -1, Capacity: -1}.Ping(), []string{"status", "0"}},
		"servers_request":   {serviceprotocol.ServersRequest(), []string{"servers", ""}},
		"servers":           {serviceprotocol.Servers(at, []string{"a", "b"}), []string{"servers", "1234:a;b"}},
		"no_servers":        {serviceprotocol.Servers(at, nil), []string{"servers", "1234:"}},
		"target":            {serviceprotocol.Target("i"), []string{"target", "i"}},
		"shutdown":          {serviceprotocol.Shutdown(serviceprotocol.ShutdownMigrate), []string{"shutdown", "fin:1"}},
		"shutdown_finished": {serviceprotocol.ShutdownFinished(), []string{"shutdown", "finack"}},
		"offline":           {serviceprotocol.Offline("i"), []string{"offline", "i"}},
		"echo":              {serviceprotocol.Echo("x"), []string{"echo", "x"}},
		"trace":             {serviceprotocol.Trace(true), []string{"d-m", "1"}},
		"no_trace":          {serviceprotocol.Trace(false), []string{"d-m", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.ping.Items); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func ping(items ...string) *serviceprotocol.Ping { return &serviceprotocol.Ping{Items: items} }

func TestPings_are_read_among_others(t *testing.T) {
	t.Parallel()
	p := ping("unknown", "1", "status", "1", "clientcount", "7", "capacity", "x", "target", "i", "shutdown", "fin:2", "odd")
	if got, ok := p.Status(); !ok || got != (serviceprotocol.Status{Active: true, Clients: 7, Servers: -1, Capacity: -1}) {
		t.Errorf("status %+v %t", got, ok)
	}
	if got, ok := p.Target(); got != "i" || !ok {
		t.Errorf("target %q %t", got, ok)
	}
	if mode, ok := p.Shutdown(); mode != serviceprotocol.ShutdownWait || !ok || p.ShutdownFinished() {
		t.Errorf("shutdown %d %t", mode, ok)
	}
	if _, ok := p.Value("odd"); ok {
		t.Error("a key without a value has one")
	}
	if !serviceprotocol.ShutdownFinished().ShutdownFinished() {
		t.Error("the answer to a shutdown isn't known")
	}
	if _, ok := ping("shutdown", "fin:9").Shutdown(); ok {
		t.Error("a mode that doesn't exist is known")
	}
	for text, want := range map[string]struct {
		at        int64
		ids       []string
		asked, ok bool
	}{
		"":        {asked: true, ok: true},
		"12:a;b;": {at: 12, ids: []string{"a", "b"}, ok: true},
		"12:":     {at: 12, ok: true},
		"12":      {},
		"x:a":     {},
	} {
		at, ids, asked, ok := ping("servers", text).Servers()
		if at != want.at || asked != want.asked || ok != want.ok || !cmp.Equal(ids, want.ids) {
			t.Errorf("servers %q: %d %v %t %t", text, at, ids, asked, ok)
		}
	}
}
