package serverlink

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
)

func exampleClient() *pairing.Client {
	return &pairing.Client{
		Hub: pairing.Hub{Tenant: "01JCTENANT000000000000000A", Name: "chat"}, ConnectionID: "c1",
		Claims: []hubs.Claim{{Type: "role", Value: "a"}}, Headers: map[string][]string{"A": {"1", "2"}, "B": nil},
		Query: "?a=1", Protocol: "json", Handshake: []byte("{}\x1e"), Server: "app", Sticky: pairing.Preferred, MovedFrom: "old",
	}
}

// everyFrame is one frame of each kind.
func everyFrame() []byte {
	var p positions
	b, err := appendOpen(nil, 1, exampleClient())
	if err != nil {
		panic(err)
	}
	add := func(frame []byte, payload string) { b = append(append(b, frame...), payload...) }
	add(appendNumber(nil, kindPing, 7), "")
	add(appendNumber(nil, kindPong, 7), "")
	add(appendData(nil, 1, pairing.DataInvocation, true, 2), "ab")
	add(appendData(nil, 1<<40, pairing.DataOther, false, 0), "")
	add(appendBare(nil, kindPause, 1), "")
	add(appendEnd(nil, 1, "reason", "app"), "")
	add(appendText(nil, kindOpened, 1, "app"), "")
	add(appendRefused(nil, 1, refusedServerAway, "away"), "")
	add(appendDeliver(nil, 1, &p, hubs.Position{Epoch: "e", Number: 300}, 3), "abc")
	add(appendDeliver(nil, 1, &p, hubs.Position{Epoch: "e", Number: 301}, 1), "d")
	add(appendDeliver(nil, 1, &p, hubs.Position{}, 1), "e")
	add(appendText(nil, kindPaused, 1, ""), "")
	add(appendClose(nil, 1, &p, hubs.Position{Epoch: "f", Number: 1}, "bye"), "")
	add(appendBare(nil, kindMigrate, 1), "")
	add(appendText(nil, kindLost, 1, "gone"), "")
	add(appendProgress(nil, 1, 65536, 12), "")
	return b
}

// decodeAny decodes the fields of a frame as the side does that gets it.
func decodeAny(f frame, p *positions) (any, error) {
	body := fields{rest: f.body}
	switch f.kind {
	case kindOpen:
		return decodeOpen(f.body)
	case kindData:
		t, more, payload, err := decodeData(f.body)
		return []any{t, more, string(payload)}, err
	case kindEnd:
		a, b, err := decodeEnd(f.body)
		return []any{a, b}, err
	case kindRefused:
		r, text, err := decodeRefused(f.body)
		return []any{r, text}, err
	case kindProgress:
		a, b, err := decodeProgress(f.body)
		return []any{a, b}, err
	case kindPing, kindPong:
		n := body.uvarint()
		return n, body.end()
	case kindDeliver:
		at := p.read(&body)
		return []any{at, string(body.rest)}, body.end()
	case kindClose:
		at := p.read(&body)
		return []any{at, body.string()}, body.end()
	case kindOpened, kindPaused, kindLost:
		return decodeText(f.body)
	case kindPause, kindMigrate:
	}
	return nil, nil
}

func TestFrames_round_trip(t *testing.T) {
	t.Parallel()
	var p positions
	in := newFrameReader(bytes.NewReader(everyFrame()))
	var got []any
	for {
		f, err := in.next()
		if err != nil {
			break
		}
		v, err := decodeAny(f, &p)
		if err != nil {
			t.Fatalf("kind %d: %v", f.kind, err)
		}
		got = append(got, f.kind, f.session, v)
	}
	at := func(epoch string, n uint64) hubs.Position { return hubs.Position{Epoch: epoch, Number: n} }
	want := []any{
		kindOpen, uint64(1), exampleClient(),
		kindPing, uint64(0), uint64(7), kindPong, uint64(0), uint64(7),
		kindData, uint64(1), []any{pairing.DataInvocation, true, "ab"},
		kindData, uint64(1 << 40), []any{pairing.DataOther, false, ""},
		kindPause, uint64(1), nil,
		kindEnd, uint64(1), []any{"reason", "app"},
		kindOpened, uint64(1), "app",
		kindRefused, uint64(1), []any{refusedServerAway, "away"},
		kindDeliver, uint64(1), []any{at("e", 300), "abc"},
		kindDeliver, uint64(1), []any{at("e", 301), "d"},
		kindDeliver, uint64(1), []any{at("", 0), "e"},
		kindPaused, uint64(1), "",
		kindClose, uint64(1), []any{at("f", 1), "bye"},
		kindMigrate, uint64(1), nil,
		kindLost, uint64(1), "gone",
		kindProgress, uint64(1), []any{65536, 12},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestFrames_are_bounded(t *testing.T) {
	t.Parallel()
	c := exampleClient()
	c.Headers["X"] = []string{strings.Repeat("x", maxFrame)}
	if _, err := appendOpen(nil, 1, c); err == nil {
		t.Error("a client that no frame can hold was taken")
	}
	for name, b := range map[string][]byte{
		"too_long":       {0xff, 0xff, 0xff, byte(kindPing), 0},
		"too_short":      {0, 0, 1, byte(kindPing)},
		"cut_in_length":  {0, 0},
		"cut_in_body":    {0, 0, 9, byte(kindPing), 0, 1},
		"endless_number": {0, 0, 12, byte(kindPing), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		if f, err := newFrameReader(bytes.NewReader(b)).next(); err == nil {
			t.Errorf("%s: got %+v", name, f)
		}
	}
	long := appendText(nil, kindLost, 1, strings.Repeat("x", 2*maxText))
	f, err := newFrameReader(bytes.NewReader(long)).next()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := decodeText(f.body); err != nil || len(text) != maxText {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// FuzzFrames: whatever a peer sends is read in bounded memory, and what can be
// read of a client can be written again.
func FuzzFrames(f *testing.F) {
	all := everyFrame()
	f.Add(all)
	in := newFrameReader(bytes.NewReader(all))
	for {
		fr, err := in.next()
		if err != nil {
			break
		}
		f.Add(append(finish(begin(nil, fr.kind, fr.session), len(fr.body)), fr.body...))
	}
	f.Add([]byte{0, 0, 3, byte(kindOpen), 1, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p positions
		in := newFrameReader(bytes.NewReader(b))
		for {
			fr, err := in.next()
			if err != nil {
				return
			}
			if len(fr.body) > maxFrame {
				t.Fatalf("frame of %d bytes", len(fr.body))
			}
			v, err := decodeAny(fr, &p)
			c, ok := v.(*pairing.Client)
			if err != nil || !ok {
				continue
			}
			again, err := appendOpen(nil, fr.session+1, c)
			if err != nil {
				continue // the same in more bytes than were sent
			}
			back, err := newFrameReader(bytes.NewReader(again)).next()
			if err != nil {
				t.Fatal(err)
			}
			twice, err := decodeOpen(back.body)
			if err != nil || !reflect.DeepEqual(c, twice) {
				t.Fatalf("%+v\nbecame %+v, %v", c, twice, err)
			}
		}
	})
}
