package backplane

import (
	"fmt"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

func announcement(connection, group, token string) *hubs.Entry {
	return &hubs.Entry{
		Kind: hubs.PresenceSet, Connections: []string{connection}, Users: []string{"u"}, Groups: []string{group}, Reason: token,
		Message: &hubs.Broadcast{Arguments: protocol.Raw{Bytes: []byte("1")}},
	}
}

// ends returns the connections that a node was told are gone, by group.
func (n *node) ends() map[string][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[string][]string)
	for _, e := range n.entries {
		if e.Kind == hubs.PresenceGone {
			all[e.Groups[0]] = append(all[e.Groups[0]], e.Connections...)
		}
	}
	return all
}

// Of several that survive, one tells of the end of those that a dead edge had, and
// of each once; those that an edge with a lease has stay.
func TestPresence_of_a_dead_edge_ends_once(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url, _ := testenv.StartRedis(t)
		client := newClient(t, url)
		dead, alive := process(t, url), process(t, url)
		for _, r := range []*Redis{dead, alive} {
			if err := client.HSet(t.Context(), redisclient.EdgeLease(r.run), "addr", "x").Err(); err != nil {
				t.Fatal(err)
			}
		}
		const crowd = goneBatch + 20
		publish := func(r *Redis, e *hubs.Entry) {
			t.Helper()
			if _, err := r.Hub(tenant, hub, Settings{RetentionSeconds: 600}).Publish(t.Context(), e, hubs.PublishOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range crowd {
			publish(dead, announcement(fmt.Sprintf("c%d", i), "g/1", "dead.1"))
		}
		publish(dead, announcement("c0", "h", "dead.2"))
		publish(dead, announcement("left", "h", "dead.3"))
		publish(dead, &hubs.Entry{Kind: hubs.PresenceGone, Connections: []string{"left"}, Groups: []string{"h"}, Reason: "dead.3"})
		publish(alive, announcement("living", "g/1", "alive.1"))
		if n := client.HLen(t.Context(), redisclient.Hub(tenant, hub).Presence(dead.run)).Val(); n != crowd+2 { // with the settings
			t.Fatalf("%d members are remembered, want %d", n, crowd+2)
		}
		dead.Close()
		if err := client.Del(t.Context(), redisclient.EdgeLease(dead.run)).Err(); err != nil {
			t.Fatal(err)
		}

		var survivors []*node
		for range 3 {
			n := newNode()
			leave, err := process(t, url).Hub(tenant, hub, Settings{}).Subscribe(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(leave)
			survivors = append(survivors, n)
		}
		deadline := time.Now().Add(patience)
		for client.Exists(t.Context(), redisclient.PresenceHubs(dead.run)).Val() > 0 {
			if time.Now().After(deadline) {
				t.Fatal("the dead edge's presence is still there")
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, n := range survivors {
			for len(n.ends()["g/1"]) < crowd || len(n.ends()["h"]) < 1 {
				if time.Now().After(deadline) {
					t.Fatalf("told of %d and %d ends", len(n.ends()["g/1"]), len(n.ends()["h"]))
				}
				time.Sleep(10 * time.Millisecond)
			}
			seen := make(map[string]bool)
			for _, id := range n.ends()["g/1"] {
				if seen[id] || id == "living" {
					t.Errorf("told wrongly, or twice, that %s is gone", id)
				}
				seen[id] = true
			}
			if h := n.ends()["h"]; len(h) != 1 || h[0] != "c0" {
				t.Errorf("told that %v are gone from h, want c0", h)
			}
		}
		if n := client.Exists(t.Context(), redisclient.Hub(tenant, hub).Presence(dead.run)).Val(); n != 0 {
			t.Error("members of the dead edge are left")
		}
		if n := client.HLen(t.Context(), redisclient.Hub(tenant, hub).Presence(alive.run)).Val(); n != 2 {
			t.Errorf("%d fields of the living edge are left, want 2", n)
		}
	})
}

// An edge that was taken for dead and wakes up while others end its presence
// announces its members anew. They are ended as well when it does die.
func TestPresence_announced_anew_during_the_end_is_remembered(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url, _ := testenv.StartRedis(t)
		asleep, other := process(t, url), process(t, url)
		client := newClient(t, url)
		if err := client.HSet(t.Context(), redisclient.EdgeLease(asleep.run), "addr", "x").Err(); err != nil {
			t.Fatal(err)
		}
		say := func(e *hubs.Entry) {
			t.Helper()
			if _, err := asleep.Hub(tenant, hub, Settings{}).Publish(t.Context(), e, hubs.PublishOptions{}); err != nil {
				t.Error(err)
			}
		}
		say(announcement("c", "g", "asleep.1"))
		hookOn(other.client, runsScript(publishSource), func() { say(announcement("c", "g", "asleep.2")) })
		if err := other.reapRun(t.Context(), asleep.run); err != nil {
			t.Fatal(err)
		}
		members := client.HGetAll(t.Context(), redisclient.Hub(tenant, hub).Presence(asleep.run)).Val()
		known := client.SIsMember(t.Context(), redisclient.PresenceEdges, asleep.run).Val()
		inHub := client.SIsMember(t.Context(), redisclient.PresenceHubs(asleep.run), string(tenant)+"/"+hub).Val()
		if members["c/g"] != "asleep.2" || !known || !inHub {
			t.Errorf("members %v, edge known: %v, hub known: %v", members, known, inHub)
		}
	})
}
