package edge

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// accept answers the handshakes of the next clients that the app server is given,
// and returns them with their hub protocols.
func (a *appServer) accept(n int) map[string]string {
	a.t.Helper()
	clients := map[string]string{}
	for answered := 0; answered < n; {
		switch m := a.next().(type) {
		case *sp.OpenConnection:
			clients[m.ConnectionID] = m.Protocol
		case *sp.ConnectionData: // the handshake request
			a.send(&sp.ConnectionData{ConnectionID: m.ConnectionID, Payload: []byte("{}" + separator)})
			answered++
		case *sp.Ping:
		default:
			a.t.Fatalf("got %+v", m)
		}
	}
	return clients
}

// An app server on one edge, clients of both hub protocols on both: frames to one
// client and sends through the hub, 10,000 of them in any order, are seen in the
// order in which the app server sent them, and so is what clients send.
func TestServerOrderAcrossEdges(t *testing.T) {
	t.Parallel()
	const count, window = 10_000, 250
	demo := document("demo", 1)
	demo.Limits.MessagesPerSecond, demo.Limits.MessageBurst = 1_000_000, 1_000_000
	c := startCluster(t, demo)
	a := c.server(1, demo, "chat", "app_1", sp.ConnectionDefault)
	for _, edge := range []int{0, 1} {
		c.eventually("the edge knows of the app server", func() bool {
			p, err := c.edges[edge].hubs.presence.Presence(t.Context(), pairingHub(demo, "chat"))
			return err == nil && p.Now
		})
	}
	var clients map[string]string
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		clients = a.accept(4)
	}()
	var texts []*client
	var packed []*packedClient
	for _, edge := range []int{0, 1} {
		texts = append(texts, c.connect(edge, demo, "chat", "ann"))
		packed = append(packed, c.connectPacked(edge, demo, "chat", "bob"))
	}
	<-accepted
	for id := range clients {
		a.send(&sp.JoinGroup{ConnectionID: id, Group: "g"})
	}

	// Upwards: each of the clients sends its numbers.
	var work sync.WaitGroup
	defer work.Wait()
	const upwards = 500
	for _, k := range texts {
		work.Go(func() {
			for i := range upwards {
				k.write(fmt.Sprintf(`{"type":1,"target":"up","arguments":[%d]}`, i))
			}
		})
	}
	for _, k := range packed {
		work.Go(func() {
			for i := range upwards {
				frame, err := protocol.NewMessagePack().Append(nil, &protocol.Message{
					Type: protocol.Invocation, Target: "up", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%d]", i)},
				})
				if err != nil {
					t.Error(err)
				}
				k.write(frame)
			}
		})
	}
	came := make(chan error, 1)
	go func() { came <- upwardsInOrder(a, clients, upwards) }()

	random := rand.New(rand.NewPCG(3, 4))
	for sent := 0; sent < count; {
		var list []sp.Message
		from := sent
		for range window {
			text := strconv.Itoa(sent)
			p := invocation(t, "", "say", text)
			switch random.IntN(6) {
			case 0, 1, 2:
				for id, hubProtocol := range clients {
					frame := p[0].Data
					if hubProtocol == "messagepack" {
						frame = p[1].Data
					}
					half := random.IntN(len(frame)) // chunks mean nothing
					if half > 0 {
						list = append(list, &sp.ConnectionData{ConnectionID: id, Payload: frame[:half]})
					}
					list = append(list, &sp.ConnectionData{ConnectionID: id, Payload: frame[half:]})
				}
			case 3:
				var ids []string
				for id := range clients {
					ids = append(ids, id)
				}
				list = append(list, &sp.MultiConnectionData{ConnectionIDs: ids, Payloads: p})
			case 4:
				list = append(list, &sp.GroupBroadcastData{Group: "g", Payloads: p})
			default:
				list = append(list, &sp.BroadcastData{Payloads: p})
			}
			sent++
		}
		a.send(list...)
		for i := from; i < sent; i++ {
			for _, k := range texts {
				k.want("say", strconv.Itoa(i))
			}
			for _, k := range packed {
				k.want("say", strconv.Itoa(i))
			}
		}
	}
	select {
	case err := <-came:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("not all that the clients sent has come")
	}
}

// upwardsInOrder reads what all clients send until each has sent its numbers.
func upwardsInOrder(a *appServer, clients map[string]string, numbers int) error {
	next := map[string]int{}
	left := numbers * len(clients)
	for m := range a.got {
		data, ok := m.(*sp.ConnectionData)
		if !ok || data.DataType != sp.DataInvocation {
			continue
		}
		p, _ := protocol.ByName(clients[data.ConnectionID])
		var invoked protocol.Message
		if n, err := p.Parse(data.Payload, &invoked); err != nil || n != len(data.Payload) {
			return fmt.Errorf("data %q: %w", data.Payload, err)
		}
		text, err := protocol.AppendJSON(nil, invoked.Arguments)
		if want := fmt.Sprintf("[%d]", next[data.ConnectionID]); err != nil || string(text) != want {
			return fmt.Errorf("client sent %s, want %s: %w", text, want, err)
		}
		next[data.ConnectionID]++
		if left--; left == 0 {
			return nil
		}
	}
	return fmt.Errorf("the connection ended with %d to come", left)
}
