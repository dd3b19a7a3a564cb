package tenants

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// However many are removed, few revocations are left, of which each that was removed is
// taken back, and an account that removes many closes its own consoles first.
func TestLiveEnd_is_bounded(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	for name, row := range map[string]struct {
		accounts, most int
		others         RevocationKind // of somebody else's console
	}{
		"one account":     {1, 1, ""},
		"many of a few":   {20, 20, ""},
		"many of as many": {3000, maxLiveEnds, RevokedUser},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var have []Revocation
			removed := func(n int) (AccountID, UserID) {
				return AccountID(fmt.Sprint("a", n%row.accounts)), UserID(fmt.Sprint("u", n))
			}
			for n := range 3000 {
				a, u := removed(n)
				value, instead := liveEnd(have, a, u)
				have = slices.DeleteFunc(have, func(r Revocation) bool {
					return r.Value == value || slices.ContainsFunc(instead, func(i Revocation) bool { return i.ID == r.ID })
				})
				have = append(have, Revocation{ID: fmt.Sprint(n), Kind: RevokedUser, Value: value, IssuedBefore: at})
				if len(have) > maxLiveEnds {
					t.Fatalf("%d are left after %d", len(have), n)
				}
			}
			if len(have) > row.most {
				t.Errorf("%d are left, at most %d should be", len(have), row.most)
			}
			d := &Document{Revocations: docRevocations(have)}
			for n := range 3000 {
				a, u := removed(n)
				token := Credential{UserID: LiveUser(a, u), IssuedAt: at}
				if d.Revoked(token) != RevokedUser {
					t.Fatalf("removal %d takes nothing back", n)
				}
				token.IssuedAt = at.Add(time.Second)
				if d.Revoked(token) != "" {
					t.Fatal("a token that was made later is taken back")
				}
			}
			if got := d.Revoked(Credential{UserID: LiveUser("a", "u1"), IssuedAt: at}); got != row.others {
				t.Errorf("another account's is revoked by %q, want %q", got, row.others)
			}
			if d.Revoked(Credential{KeyID: "k", TokenID: "t", IssuedAt: at}) != "" {
				t.Error("a token without a user is taken back")
			}
		})
	}
}
