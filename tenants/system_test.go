package tenants

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// However many end, few revocations are left, of which each that ended is taken back,
// and who ends many closes the own consoles first.
func TestLiveEnds_are_bounded(t *testing.T) {
	t.Parallel()
	const ends = 3000
	at := time.Unix(1_800_000_000, 0)
	for name, row := range map[string]struct {
		groups, most int // accounts or users, and revocations that are left of their ends
		crowd        bool
	}{
		"one":             {1, 1, false},
		"many of a few":   {20, 20, false},
		"many of as many": {ends, maxLiveEnds + 256, true},
	} {
		for kind, by := range map[RevocationKind]struct {
			end   func(group, n string) liveEnd
			token func(group, n string) Credential
		}{
			RevokedUser: {
				func(group, n string) liveEnd { return membershipEnd(AccountID(group), UserID(n)) },
				func(group, n string) Credential {
					return Credential{UserID: LiveUser(AccountID(group), UserID(n)), TokenID: LiveTokenID(UserID(n), "s"), IssuedAt: at}
				},
			},
			RevokedToken: {
				func(group, n string) liveEnd { return credentialEnd(UserID(group), n) },
				func(group, n string) Credential {
					return Credential{UserID: LiveUser("a", UserID(group)), TokenID: LiveTokenID(UserID(group), n), IssuedAt: at}
				},
			},
		} {
			t.Run(name+" by "+string(kind), func(t *testing.T) {
				t.Parallel()
				var have []Revocation
				of := func(n int) (group, one string) { return fmt.Sprint("g", n%row.groups), fmt.Sprint("n", n) }
				for n := range ends {
					value, instead := by.end(of(n)).revocation(have)
					have = slices.DeleteFunc(have, func(r Revocation) bool {
						return r.Value == value || slices.ContainsFunc(instead, func(i Revocation) bool { return i.ID == r.ID })
					})
					have = append(have, Revocation{ID: fmt.Sprint(n), Kind: kind, Value: value, IssuedBefore: at})
					if len(have) > maxLiveEnds+256 {
						t.Fatalf("%d are left after %d", len(have), n)
					}
				}
				if len(have) > row.most {
					t.Errorf("%d are left, at most %d should be", len(have), row.most)
				}
				d := &Document{Revocations: docRevocations(have)}
				for n := range ends {
					token := by.token(of(n))
					if d.Revoked(token) != kind {
						t.Fatalf("end %d takes nothing back", n)
					}
					token.IssuedAt = at.Add(time.Second)
					// Of a session or API token that ended there is no later one.
					if got := d.Revoked(token); got != "" && !slices.ContainsFunc(have, func(r Revocation) bool { return kind == RevokedToken && r.Value == token.TokenID }) {
						t.Fatalf("a token that was made later is taken back by %q", got)
					}
				}
				if got := d.Revoked(by.token("g", "n1")) != ""; got && !row.crowd {
					t.Error("somebody else's is taken back")
				}
				if d.Revoked(Credential{KeyID: "k", TokenID: "t", IssuedAt: at}) != "" {
					t.Error("a token without a user is taken back")
				}
			})
		}
	}
}

// One end leaves others alone: of the same user in another session, and of other members.
func TestLiveEnds_are_of_one(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	token := func(a AccountID, u UserID, by string) Credential {
		return Credential{UserID: LiveUser(a, u), TokenID: LiveTokenID(u, by), IssuedAt: at}
	}
	all := map[string]Credential{"u1 s1": token("a", "u1", "s1"), "u1 s2": token("a", "u1", "s2"), "u1 in b": token("b", "u1", "s1"), "u2": token("a", "u2", "s3")}
	for name, row := range map[string]struct {
		end  liveEnd
		gone []string
	}{
		"a session":          {credentialEnd("u1", "s1"), []string{"u1 in b", "u1 s1"}},
		"all of a user":      {credentialEnd("u1", every), []string{"u1 in b", "u1 s1", "u1 s2"}},
		"a membership":       {membershipEnd("a", "u1"), []string{"u1 s1", "u1 s2"}},
		"all of one account": {membershipEnd("a", every), []string{"u1 s1", "u1 s2", "u2"}},
	} {
		value, _ := row.end.revocation(nil)
		d := &Document{Revocations: docRevocations([]Revocation{{Kind: row.end.kind, Value: value, IssuedBefore: at}})}
		var gone []string
		for _, who := range slices.Sorted(maps.Keys(all)) {
			if d.Revoked(all[who]) != "" {
				gone = append(gone, who)
			}
		}
		if !slices.Equal(gone, row.gone) {
			t.Errorf("%s takes back %q, want %q", name, gone, row.gone)
		}
	}
}
