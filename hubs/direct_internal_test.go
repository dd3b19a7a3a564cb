package hubs

import (
	"errors"
	"slices"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// trier is a Trying transport that notes what is asked of it.
type trier struct {
	Transport
	sent, behind bool // what TryShared answers
	err          error
	asked        []string
}

func (t *trier) TryShared(s *Shared) (sent, behind bool, err error) {
	t.asked = append(t.asked, "try "+string(s.Bytes))
	return t.sent, t.behind, t.err
}

func (t *trier) WriteShared(s *Shared) error {
	t.asked = append(t.asked, "write "+string(s.Bytes))
	return nil
}

func (t *trier) Write(p []byte) error {
	t.asked = append(t.asked, "write "+string(p))
	return nil
}

func (t *trier) Rest() error {
	t.asked = append(t.asked, "rest")
	return nil
}

func (t *trier) Abort() { t.asked = append(t.asked, "abort") }

// What is written directly, what writers have to do then, and in which order.
func TestWriteDirectly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		client  trier
		waiting []string // when it is tried
		left    bool     // to a writer, which finds one message more
		asked   []string
	}{
		{"there is room", trier{sent: true}, []string{"1"}, false, []string{"try 1"}},
		{"there is no room", trier{}, []string{"1"}, true, []string{"try 1", "write 1later"}},
		{"there is room for a part", trier{sent: true, behind: true}, []string{"1"}, true, []string{"try 1", "rest", "write later"}},
		{"the client is gone", trier{err: errors.New("gone")}, []string{"1"}, false, []string{"try 1", "abort"}},
		{"several wait", trier{sent: true}, []string{"1", "2"}, true, []string{"write 12later"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := NewServer(Config{Name: "chat"})
			if err != nil {
				t.Fatal(err)
			}
			c := silent(t, s, protocol.NewJSON(), "c")
			client := &test.client
			c.transport, c.out.held = client, false
			c.out.done = make(chan struct{})
			queue := func(text string) {
				c.enqueue(queued{frame: []byte(text), units: 1, shared: &Shared{Bytes: []byte(text)}})
			}
			for _, text := range test.waiting {
				queue(text)
			}
			left := s.writeDirectly([]*Connection{c})
			if (len(left) == 1) != test.left {
				t.Errorf("%d connections are left to writers", len(left))
			}
			if test.left {
				queue("later")
				c.flush()
			}
			if !slices.Equal(client.asked, test.asked) {
				t.Errorf("%q, want %q", client.asked, test.asked)
			}
			o := &c.out
			if o.messages != 0 || o.bytes != 0 || len(o.queue) != 0 || o.taken != nil && !o.dead {
				t.Errorf("%d messages of %d bytes wait, %d in the queue, %d taken", o.messages, o.bytes, len(o.queue), len(o.taken))
			}
			if o.writing != o.dead {
				t.Errorf("writing %v, dead %v", o.writing, o.dead)
			}
		})
	}
}
