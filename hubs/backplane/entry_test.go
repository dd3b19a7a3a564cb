package backplane

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

func sampleEntries() []*hubs.Entry {
	text := &hubs.Broadcast{Target: "say", Arguments: protocol.Raw{Bytes: []byte(`["hello",1]`)}}
	ready := &hubs.Broadcast{Frames: map[string][]byte{"json": []byte("{}\x1e"), "messagepack": {1, 0x90}}}
	return []*hubs.Entry{
		{Kind: hubs.SendToAll, Message: text, Excluded: []string{"a", "b"}},
		{Kind: hubs.SendToGroups, Message: ready, Groups: []string{"g"}, Excluded: []string{"a"}, ExcludedUsers: []string{"u"}},
		{Kind: hubs.SendToUsers, Message: &hubs.Broadcast{Target: "t", Arguments: protocol.Raw{Encoding: protocol.MessagePack, Bytes: []byte{0x90}}}, Users: []string{"ü"}},
		{Kind: hubs.SendToConnections, Message: text, Connections: []string{"c"}},
		{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}, Conflate: &hubs.Conflation{Every: 100 * time.Millisecond, Key: 0}},
		{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}, Conflate: &hubs.Conflation{Every: hubs.MaxConflation, Key: hubs.NoKey}},
		{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{"g", strings.Repeat("x", 1024)}, TTLSeconds: -1},
		{Kind: hubs.CloseConnections, Reason: "bye", AllowReconnect: true},
		{Kind: hubs.InvokeConnection, Message: text, Connections: []string{"c"}, Reason: "run1"},
		{Kind: hubs.ClientResult, Message: text, Connections: []string{"c"}, Reason: "run1"},
	}
}

func TestEntry_comes_back_as_it_was(t *testing.T) {
	for _, want := range sampleEntries() {
		data, _, err := encodeEntry(want, address{run: "run", id: 1 << 60}, false)
		if err != nil {
			t.Fatal(err)
		}
		got, reply, err := decodeEntry(data)
		if err != nil {
			t.Fatalf("kind %d: %v", want.Kind, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(hubs.Broadcast{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("kind %d (-want +got):\n%s", want.Kind, diff)
		}
		if reply != (address{run: "run", id: 1 << 60}) {
			t.Errorf("reply address %+v", reply)
		}
	}
}

func TestEntry_of_a_later_release_may_have_more_elements(t *testing.T) {
	data, _, err := encodeEntry(sampleEntries()[0], address{}, false)
	if err != nil {
		t.Fatal(err)
	}
	data[0]++ // fixarray of one more
	if _, _, err := decodeEntry(append(data, 0xc3)); err != nil {
		t.Errorf("one more element: %v", err)
	}
	data[1]++
	if _, _, err := decodeEntry(append(data, 0xc3)); err == nil {
		t.Error("another version was accepted")
	}
}

func TestEntry_hash_leaves_the_reply_address_out(t *testing.T) {
	seen := make(map[string]int)
	for i, e := range sampleEntries() {
		_, a, err1 := encodeEntry(e, address{}, true)
		_, b, err2 := encodeEntry(e, address{run: "other", id: 9}, true)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if a != b {
			t.Errorf("entry %d: hash depends on the reply address", i)
		}
		if j, taken := seen[a]; taken {
			t.Errorf("entries %d and %d have one hash", i, j)
		}
		seen[a] = i
	}
}

func TestEntry_too_large_is_refused(t *testing.T) {
	e := &hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Target: "t", Arguments: protocol.Raw{Bytes: bytes.Repeat([]byte("x"), maxEntryBytes)}}}
	if _, _, err := encodeEntry(e, address{}, false); err == nil {
		t.Error("an entry over the limit was encoded")
	}
}

// Whatever bytes are in a stream, reading them neither panics nor takes more
// memory than the bytes justify; what is accepted can be written again.
func FuzzEntry(f *testing.F) {
	for _, e := range sampleEntries() {
		data, _, err := encodeEntry(e, address{run: "r", id: 7}, false)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0xdd, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{0x9d, 0x01, 0x01, 0xdd, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{0x9d, 0x01, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90, 0x94, 0xa1, 't', 0x00, 0xc6, 0x7f, 0xff, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0x91}, 1000))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, reply, err := decodeEntry(data)
		if err != nil {
			return
		}
		again, hash, err := encodeEntry(e, reply, true)
		if err != nil {
			t.Fatalf("accepted but can't be written: %v", err)
		}
		e2, reply2, err := decodeEntry(again)
		if err != nil || reply2 != reply {
			t.Fatalf("second reading: %v, reply %v then %v", err, reply, reply2)
		}
		if _, hash2, _ := encodeEntry(e2, reply, true); hash2 != hash {
			t.Fatal("two encodings of one entry")
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(string(encodeQuery(hubs.Query{Kind: hubs.CountUserInGroup, Name: "g", User: "u"}, address{run: "r", id: 3})))
	f.Add(string(encodeList(hubs.ListQuery{Kind: hubs.ListUsers, Group: "g", After: "a", Limit: 10}, address{run: "r", id: 3})))
	f.Add("Q\x96\x01")
	f.Add("Eepoch 1 2 x")
	f.Fuzz(func(_ *testing.T, payload string) {
		if to, _, ok := replyTo(payload); ok && to == (address{}) {
			panic("no address")
		}
	})
}

// Two different places never share a key, whatever names tenants choose.
func TestKeys_are_injective(t *testing.T) {
	names := []string{"a", "b", "a:b", "b:a", "stream", "head", "idem:a", ":", "a}:stream", "{a", "ugroups:a"}
	seen := make(map[string]string)
	add := func(key, what string) {
		t.Helper()
		if other, taken := seen[key]; taken && other != what {
			t.Errorf("%s and %s share key %q", what, other, key)
		}
		seen[key] = what
	}
	for _, tenant := range []tenants.ID{"01HZX00000000000000000000A", "01HZX00000000000000000000B"} {
		for _, hub := range []string{"a", "chat", "chat.[1]", "stream"} {
			k := redisclient.Hub(tenant, hub)
			where := string(tenant) + " " + hub + " "
			add(k.Head(), where+"head")
			add(k.Stream(), where+"stream")
			add(k.Doorbell(), where+"bell")
			add(k.Accepted(), where+"accepted")
			for n := range redisclient.GroupIndexes {
				add(k.NthGroupIndex(n), where+"index "+strconv.Itoa(n))
			}
			for _, n := range names {
				add(k.Idempotency(n), where+"idempotency "+n)
				add(k.UserGroups(n), where+"user groups "+n)
				add(k.Owner(n), where+"owner "+n)
				add(k.Publisher(n), where+"publisher "+n)
			}
		}
	}
}

func TestAnswers_of_the_script(t *testing.T) {
	const minute = 28333333
	accepted := func(number uint64, rest string) string {
		numbers, err := binary.Append(nil, binary.BigEndian, []uint64{5, minute*60_000 + 59_999, number, 12})
		if err != nil {
			t.Fatal(err)
		}
		return string(binary.BigEndian.AppendUint32(numbers, 3)) + rest
	}
	want := answer{epoch: "e", number: 7, receivers: 3, total: 12, minute: time.Unix(minute*60, 0).UTC(), bytes: -1}
	measured, asked, both, none := want, want, want, want
	measured.bytes, both.bytes, none.bytes = 4096, 4096, 4096
	asked.edges, both.edges = []string{"a"}, []string{"a", "b"}
	for rest, want := range map[string]answer{"e": want, "e 4096": measured, "e ,a": asked, "e 4096 ,a,b": both, "e 4096 ,": none} {
		if a, err := parseAnswer(accepted(7, rest)); err != nil || !reflect.DeepEqual(a, want) {
			t.Errorf("%q: %+v, %v", rest, a, err)
		}
	}
	if a, err := parseAnswer("dup e 7"); err != nil || !a.duplicate || a.number != 7 {
		t.Errorf("dup: %+v, %v", a, err)
	}
	for _, s := range []string{"", "\x00", accepted(7, ""), accepted(7, " 1"), accepted(7, "e x"), accepted(0, "e"), "dup e", "dup e x", "conflict", "late", "what"} {
		if _, err := parseAnswer(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func FuzzPart(f *testing.F) {
	f.Add(appendPart(nil, part{hubs.Page{Items: []hubs.Listed{{Name: "c", User: "u", Connections: 1}}, More: true}, "r"}))
	f.Add([]byte{0x93, 0xc3, 0xdd, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePart(data)
		if err != nil {
			return
		}
		again, err := decodePart(appendPart(nil, p))
		if diff := cmp.Diff(p.Page, again.Page); diff != "" || err != nil || again.run != p.run {
			t.Fatalf("second reading: %v (-first +second):\n%s", err, diff)
		}
	})
}
