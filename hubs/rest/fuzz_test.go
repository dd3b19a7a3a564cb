package rest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// FuzzFilter: whatever a filter says, it is refused or names one kind of audience
// by names that are allowed.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"", "userId eq 'o''me' or userId eq 'b'", "'g' in groups and connectionId ne 'c'", "userId eq '", "and", "'' in groups"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		a, err := parseFilter(filter)
		if err != nil {
			return
		}
		kinds := 0
		for _, names := range [][]string{a.groups, a.users, a.connections} {
			if names != nil {
				kinds++
			}
		}
		if kinds > 1 || a.check() != nil || len(a.groups)+len(a.users)+len(a.connections)+len(a.excluded) > maxTerms {
			t.Errorf("%q is %+v", filter, a)
		}
	})
}

// FuzzBodies: what is taken as a message has a target and arguments that every
// hub protocol can carry.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{hello, `{"Target":"a"}`, "\x82\xa6target\xa3say\xa9arguments\x92\xa5hello\x01", "\x81\xa4json\xc4\x01x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, parse := range map[string]func([]byte) (*hubs.Broadcast, int, error){"JSON": parseJSON, "MessagePack": parseMessagePack, "frames": parseFrames} {
			m, size, err := parse(slices.Clone(body))
			if err != nil {
				continue
			}
			if m.Target == "" || size == 0 || checkArguments(m.Arguments) != nil {
				t.Errorf("%s: %q is %+v of %d bytes", name, body, m, size)
			}
		}
		var batch struct {
			Messages []outgoing `json:"messages"`
		}
		if decodeJSON(body, &batch) != nil {
			return
		}
		for i := range batch.Messages {
			if e, _, err := batch.Messages[i].entry(); err == nil && (e.Message.Target == "" || !json.Valid(e.Message.Arguments.Bytes)) {
				t.Errorf("%q becomes %+v", body, e)
			}
		}
	})
}
