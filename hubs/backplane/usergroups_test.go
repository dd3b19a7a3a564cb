package backplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// heldGroups is what the groups of users take by the keys themselves, as
// publish.lua counts.
func heldGroups(t *testing.T, client *redis.Client, users ...string) int {
	t.Helper()
	sum := 0
	for _, u := range users {
		groups, err := client.HKeys(t.Context(), redisclient.Hub(tenant, hub).UserGroups(u)).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(groups) > 0 {
			sum += 256 + len(u)
		}
		for _, g := range groups {
			sum += 64 + len(g)
		}
	}
	return sum
}

func countedGroups(t *testing.T, client *redis.Client) int {
	t.Helper()
	n, err := client.HGet(t.Context(), redisclient.Hub(tenant, hub).RememberedBytes(), "").Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return n
}

// SEC-27: whatever is added and removed, what it takes is known.
func TestUserGroups_are_counted_SEC_27(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	h := r.Hub(tenant, hub, Settings{})
	k := redisclient.Hub(tenant, hub)
	users := []string{"ann", "bob", "grün", "stream"}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		e := &hubs.Entry{Kind: hubs.AddUserToGroup, TTLSeconds: int64(60 + random.IntN(600)), Users: []string{users[random.IntN(len(users))]}}
		switch n := random.IntN(100); {
		case n < 3:
			e.Kind = hubs.RemoveUserFromGroups
		case n < 20:
			e.Kind, e.Groups = hubs.RemoveUserFromGroup, []string{fmt.Sprint("g", random.IntN(300))}
		default:
			for range 1 + random.IntN(20) {
				e.Groups = append(e.Groups, fmt.Sprint("g", random.IntN(300)))
			}
		}
		if _, err := h.Publish(t.Context(), e, hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
		if i%97 == 0 { // as when its time is over
			client.Del(t.Context(), k.UserGroups("bob"))
			client.ZAdd(t.Context(), k.RememberedUsers(), redis.Z{Score: 1, Member: "bob"})
			publish(t, r, &hubs.Entry{Kind: hubs.AddUserToGroup, TTLSeconds: 60, Users: []string{"ann"}, Groups: []string{"g1"}})
		}
		if held, counted := heldGroups(t, client, users...), countedGroups(t, client); held != counted {
			t.Fatalf("step %d: %d bytes are counted, %d are held", i, counted, held)
		}
	}
	for _, u := range users {
		publish(t, r, &hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{u}})
	}
	if n, left := countedGroups(t, client), client.ZCard(t.Context(), k.RememberedUsers()).Val(); n != 0 || left != 0 {
		t.Errorf("%d bytes of %d users are left", n, left)
	}
}

// SEC-27: Redis holds a bounded number of bytes for them.
func TestUserGroups_are_bounded_SEC_27(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	h := r.Hub(tenant, hub, Settings{})
	add := func(user string, groups ...string) error {
		_, err := h.Publish(t.Context(), &hubs.Entry{Kind: hubs.AddUserToGroup, TTLSeconds: -1, Users: []string{user}, Groups: groups}, hubs.PublishOptions{})
		return err
	}
	groups := make([]string, userGroups)
	for i := range groups {
		groups[i] = fmt.Sprintf("%0*d", hubs.MaxGroupName, i)
	}
	before := publish(t, r, say("before", 1))
	full := &hubs.UserGroupLimitError{}
	users := 0
	for ; ; users++ {
		err := add(fmt.Sprint("u", users), groups...)
		if errors.As(err, &full) {
			break
		}
		if err != nil || users > 1000 {
			t.Fatalf("user %d: %v", users, err)
		}
	}
	if n := countedGroups(t, client); full.Limit != userGroupBytes || n > userGroupBytes || n < userGroupBytes-300_000 || users < 70 {
		t.Errorf("refused with %d bytes of %d users: %v", n, users, full)
	}
	used, err := client.MemoryUsage(t.Context(), redisclient.Hub(tenant, hub).UserGroups("u0")).Result()
	if err != nil || int(used)*users > 2*userGroupBytes {
		t.Errorf("redis needs %d bytes for each of %d users, %v", used, users, err)
	}
	// Nothing was numbered, those there are may be added again, and who goes makes room.
	if after := publish(t, r, say("after", 1)); after.Number != before.Number+uint64(users)+1 {
		t.Errorf("number %d after %d", after.Number, before.Number)
	}
	if err := add("u0", groups...); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if got, err := h.UserGroups(t.Context(), "u0"); len(got) != userGroups || err != nil {
		t.Errorf("%d groups, %v", len(got), err)
	}
	publish(t, r, &hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{"u1"}})
	if err := add("new", groups...); err != nil {
		t.Errorf("in the place of one that has gone: %v", err)
	}
	if err := add("one more", strings.Repeat("g", 100), strings.Repeat("h", hubs.MaxGroupName), strings.Repeat("i", 200_000)); !errors.As(err, &full) {
		t.Errorf("one more: %v", err)
	}
	// Another hub has room of its own.
	if _, err := r.Hub(tenant, "other", Settings{}).Publish(t.Context(), &hubs.Entry{Kind: hubs.AddUserToGroup, TTLSeconds: -1, Users: []string{"u"}, Groups: groups}, hubs.PublishOptions{}); err != nil {
		t.Error(err)
	}
}
