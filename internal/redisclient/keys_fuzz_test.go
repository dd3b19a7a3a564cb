package redisclient_test

import (
	"testing"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// FuzzKeys: what differs in tenant, hub, kind or name has different keys. Tenant ids
// are the service's own; hubs and names are whatever clients and backends send.
func FuzzKeys(f *testing.F) {
	f.Add(byte(0), "chat", "a", byte(0), "chat", "b")
	f.Add(byte(1), "a", "b:c", byte(1), "a:b", "c")
	f.Add(byte(2), "chat", "}:stream", byte(9), "chat", "")
	f.Add(byte(3), "a", "{x}", byte(4), "a", "")
	f.Add(byte(4), "stream", "", byte(9), "a", "stream")
	f.Add(byte(0x81), "chat", "ugroups:a", byte(0x82), "chat", "a")
	f.Add(byte(12), "a", "bell", byte(8), "a", "servers:bell")
	kinds := []func(k redisclient.HubKeys, t tenants.ID, name string) (key string, named bool){
		func(k redisclient.HubKeys, _ tenants.ID, n string) (string, bool) { return k.Idempotency(n), true },
		func(k redisclient.HubKeys, _ tenants.ID, n string) (string, bool) { return k.UserGroups(n), true },
		func(k redisclient.HubKeys, _ tenants.ID, n string) (string, bool) { return k.Publisher(n), true },
		func(k redisclient.HubKeys, _ tenants.ID, n string) (string, bool) { return k.Owner(n), true },
		func(k redisclient.HubKeys, _ tenants.ID, n string) (string, bool) { return k.Departures(n), true },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.Stream(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.Head(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.Doorbell(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.Accepted(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.RememberedUsers(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.RememberedBytes(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.Edges(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.Servers(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.ServersDoorbell(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.ServersSeen(), false },
		func(k redisclient.HubKeys, _ tenants.ID, _ string) (string, bool) { return k.ServersLog(), false },
	}
	type subject struct {
		tenant    tenants.ID
		hub, name string
		kind      int
	}
	of := func(choice byte, hub, name string) (subject, string) {
		s := subject{tenant: "01HZX00000000000000000000A", hub: hub, name: name, kind: int(choice&0x7f) % len(kinds)}
		if choice&0x80 != 0 {
			s.tenant = "01HZX00000000000000000000B"
		}
		key, named := kinds[s.kind](redisclient.Hub(s.tenant, hub), s.tenant, name)
		if !named {
			s.name = ""
		}
		return s, key
	}
	f.Fuzz(func(t *testing.T, choiceA byte, hubA, nameA string, choiceB byte, hubB, nameB string) {
		hubA, errA := tenants.HubName(hubA)
		hubB, errB := tenants.HubName(hubB)
		if errA != nil || errB != nil {
			return
		}
		a, keyA := of(choiceA, hubA, nameA)
		b, keyB := of(choiceB, hubB, nameB)
		if (keyA == keyB) != (a == b) {
			t.Errorf("%+v has key %q, %+v has %q", a, keyA, b, keyB)
		}
	})
}
