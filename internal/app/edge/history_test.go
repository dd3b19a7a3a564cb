package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// publish sends one text to a group and returns its position, or what is wrong.
func (c *cluster) publishTo(edge int, d *tenants.Document, token, group, text string) (string, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost,
		c.base(edge, d.Slug)+"/api/hubs/chat/groups/"+url.PathEscape(group)+"/:send", strings.NewReader(fmt.Sprintf(`{"target":"news","arguments":[%q]}`, text)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct{ Position string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("status %d: %w", res.StatusCode, err)
	}
	return answer.Position, nil
}

// texts reads the history of hub chat over REST.
func (c *cluster) texts(edge int, d *tenants.Document, query string) (list []string) {
	c.t.Helper()
	next := c.base(edge, d.Slug) + "/api/hubs/chat/messages?" + query
	for next != "" {
		res, body := c.do(http.MethodGet, next, restJWT(c.t, d), "", nil)
		var page struct {
			Messages []struct{ Arguments []string }
			NextLink string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || res.StatusCode != http.StatusOK {
			c.t.Fatalf("history: %d %s", res.StatusCode, body)
		}
		for _, m := range page.Messages {
			list = append(list, m.Arguments[0])
		}
		next = page.NextLink
	}
	return list
}

// reader is a client of either hub protocol that keeps the first argument of every
// invocation.
type reader struct {
	ws    *websocket.Conn
	proto protocol.Protocol
	kind  websocket.MessageType
	texts []string
	live  chan struct{} // closed once 20 texts have come
	done  chan error    // the last text has come
}

func (c *cluster) reader(edge int, d *tenants.Document, token, name, query string) *reader {
	c.t.Helper()
	at := c.base(edge, d.Slug) + "/client/?hub=chat" + query + "&access_token=" + url.QueryEscape(token)
	ws, res, err := websocket.Dial(c.t.Context(), at, nil)
	if err != nil {
		c.t.Fatalf("dial: %v %v", res, err)
	}
	c.t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(4 << 20)
	p, _ := protocol.ByName(name)
	r := &reader{ws: ws, proto: p, kind: websocket.MessageText, live: make(chan struct{}), done: make(chan error, 1)}
	if name == "messagepack" {
		r.kind = websocket.MessageBinary
	}
	if err := ws.Write(c.t.Context(), r.kind, fmt.Appendf(nil, `{"protocol":%q,"version":1}`+separator, name)); err != nil {
		c.t.Fatal(err)
	}
	go func() { r.done <- r.read(c.t.Context()) }()
	return r
}

func (r *reader) send(t *testing.T, m *protocol.Message) {
	t.Helper()
	frame, err := r.proto.Append(nil, m)
	if err == nil {
		err = r.ws.Write(t.Context(), r.kind, frame)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *reader) read(ctx context.Context) error {
	_, data, err := r.ws.Read(ctx)
	if err != nil || !strings.HasPrefix(string(data), "{}"+separator) {
		return fmt.Errorf("handshake %q: %w", data, err)
	}
	data = data[3:]
	for {
		var m protocol.Message
		n, err := r.proto.Parse(data, &m)
		switch {
		case err != nil:
			return err
		case n == 0:
			_, more, err := r.ws.Read(ctx)
			if err != nil {
				return err
			}
			data = append(data, more...)
			continue
		case m.Type == protocol.Close || m.HasError:
			return fmt.Errorf("got %+v", m)
		case m.Type == protocol.Invocation || m.Type == protocol.StreamItem:
			raw := m.Arguments
			if m.Type == protocol.StreamItem {
				raw = m.Item
			}
			text, err := protocol.AppendJSON(nil, raw)
			if err != nil {
				return err
			}
			var arguments []string
			if m.Type == protocol.StreamItem {
				var item struct{ Arguments []string }
				err = json.Unmarshal(text, &item)
				arguments = item.Arguments
			} else {
				err = json.Unmarshal(text, &arguments)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
			if r.texts = append(r.texts, arguments[0]); arguments[0] == "end" {
				return nil
			}
			if len(r.texts) == 20 {
				close(r.live)
			}
		default:
		}
		data = data[n:]
	}
}

// Clients join a group with a rewind, by method and by token, while two publishers
// go on: each gets all from the position on, once, in the one order, whatever its
// edge and protocol.
func TestRewind_has_no_gap_and_no_repeat_at_the_seam(t *testing.T) {
	t.Parallel()
	for name, partitions := range map[string]int{"one stream": 0, "partitions": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rewindsAtTheSeam(t, partitions)
		})
	}
}

func rewindsAtTheSeam(t *testing.T, partitions int) {
	t.Helper()
	demo := document("demo", 1)
	demo.Limits.MessagesPerSecond, demo.Limits.MessageBurst = 100_000, 100_000
	if partitions > 0 {
		demo.Partitioned = map[string]tenants.HubPartitions{"chat": {Generation: 1, Count: partitions}}
	}
	c := startCluster(t, demo)
	rest := restJWT(t, demo)
	first, err := c.publishTo(0, demo, rest, "g", "first")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var publishers sync.WaitGroup
	for p := range 2 {
		publishers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.publishTo(p, demo, rest, "g", fmt.Sprintf("%d-%d", p, i)); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	token := func(groups ...string) string {
		return mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Groups: groups, Permissions: []string{"joinGroup", "readHistory"}}).Token
	}
	var readers []*reader
	for i := range 12 {
		name := []string{"json", "messagepack"}[i%2]
		if i%3 == 0 {
			readers = append(readers, c.reader(i%2, demo, token("g"), name, "&rewind="+url.QueryEscape("after:"+first)))
			continue
		}
		r := c.reader((i/2)%2, demo, token(), name, "")
		r.send(t, &protocol.Message{Type: protocol.Invocation, InvocationID: "1", Target: "$joinGroup", Arguments: protocol.Raw{
			Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, `["g",{"rewind":{"after":%q}}]`, first),
		}})
		readers = append(readers, r)
	}
	for _, r := range readers { // publishing goes on beside every join
		select {
		case <-r.live:
		case err := <-r.done:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatal("a reader gets nothing")
		}
	}
	close(stop)
	publishers.Wait()
	if _, err := c.publishTo(1, demo, rest, "g", "end"); err != nil {
		t.Fatal(err)
	}
	want := c.texts(0, demo, "group=g&limit=70&after="+first)
	if len(want) < 20 {
		t.Fatalf("only %d messages", len(want))
	}
	for i, r := range readers {
		select {
		case err := <-r.done:
			if err != nil {
				t.Fatalf("reader %d: %v", i, err)
			}
		case <-time.After(patience):
			t.Fatalf("reader %d has no end", i)
		}
		if !slices.Equal(r.texts, want) {
			t.Errorf("reader %d of %s got %d messages, want %d: %v", i, r.proto.Name(), len(r.texts), len(want), r.texts)
		}
	}
	if other := c.texts(1, demo, "group=g&limit=1000&after="+first); !slices.Equal(other, want) {
		t.Errorf("the other edge's history has %d messages", len(other))
	}
}

func TestHistory_of_clients(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	rest := restJWT(t, demo)
	var positions []string
	for i := range 5 {
		at, err := c.publishTo(i%2, demo, rest, "g", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, at)
	}
	c.send(0, demo, "chat", "news", "to all")
	all := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Permissions: []string{"readHistory", "joinGroup"}}).Token
	one := mintClient(t, demo, accesstoken.ClientOptions{UserID: "bob", Permissions: []string{"readHistory:g*", "joinGroup"}}).Token

	stream := func(k *client, options string) (items []string, failure string) {
		t.Helper()
		k.write(`{"type":4,"invocationId":"9","target":"$history","arguments":[` + options + `]}`)
		for {
			f := k.next()
			switch f.Type {
			case 2:
				items = append(items, f.item(t))
			case 3:
				return items, f.Error
			default:
				t.Fatalf("got %+v", f)
			}
		}
	}
	ann, bob := c.with(0, demo, all), c.with(1, demo, one)
	for _, row := range []struct {
		who     *client
		options string
		want    string
		code    string
	}{
		{ann, `{"group":"g"}`, "0 1 2 3 4", ""},
		{bob, `{"group":"g","last":2}`, "3 4", ""},
		{ann, `{"group":"g","after":"` + positions[1] + `"}`, "2 3 4", ""},
		{ann, ``, "to all", ""},
		{ann, `{"since":"2020-01-01T00:00:00Z"}`, "to all", ""},
		{ann, `{"group":"other"}`, "", ""},
		{bob, ``, "", "permission_denied"},
		{bob, `{"group":"secret"}`, "", "permission_denied"},
		{ann, `{"last":0}`, "", "invalid_argument"},
		{ann, `{"last":1,"since":"2020-01-01T00:00:00Z"}`, "", "invalid_argument"},
		{ann, `{"after":"made up"}`, "", "invalid_argument"},
		{ann, `7`, "", "invalid_argument"},
	} {
		items, failure := stream(row.who, row.options)
		if strings.Join(items, " ") != row.want || row.code == "" && failure != "" || !strings.Contains(failure, row.code) {
			t.Errorf("$history(%s): %v, %q; want %s, %s", row.options, items, failure, row.want, row.code)
		}
	}
	// What leaves a connection out is none of its history.
	kim := c.with(0, demo, mintClient(t, demo, accesstoken.ClientOptions{Permissions: []string{"readHistory", "sendToGroup"}}).Token)
	kim.done("$sendToGroup", "quiet", "news", []string{"own"}, map[string]any{"noEcho": true})
	if items, failure := stream(kim, `{"group":"quiet"}`); len(items) > 0 || failure != "" {
		t.Errorf("$history of a message that leaves its reader out: %v, %q", items, failure)
	}
	// An invocation that is no stream, and the rewinds that are refused.
	ann.refused("invalid_argument", "$history")
	ann.refused("invalid_argument", "$joinGroup", "g", map[string]any{"rewind": map[string]any{}})
	bob.refused("permission_denied", "$joinGroup", "secret", map[string]any{"rewind": map[string]any{"last": 1}})

	// The answer comes behind what was missed, and says how much that was.
	ann.write(`{"type":1,"invocationId":"2","target":"$joinGroup","arguments":["g",{"rewind":{"last":3}}]}`)
	for _, text := range []string{"2", "3", "4"} {
		ann.want("news", text)
	}
	if f := ann.next(); f.InvocationID != "2" || f.Error != "" || !strings.Contains(string(f.Result), `"messages":3`) {
		t.Errorf("got %+v", f)
	}
	if f := ann.done("$joinGroup", "g", map[string]any{"rewind": map[string]any{"last": 3}}); !strings.Contains(string(f.Result), `"messages":0`) {
		t.Errorf("a member gets %s again", f.Result)
	}

	// What isn't kept any more is told, to streams, rewinds and over REST.
	if err := c.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*client{ann, bob} {
		for f := k.next(); f.end == nil; f = k.next() {
		}
	}
	c.publish(demo)
	if _, err := c.publishTo(0, demo, rest, "g", "anew"); err != nil {
		t.Fatal(err)
	}
	ann = c.with(1, demo, all)
	if items, failure := stream(ann, `{"group":"g","after":"`+positions[3]+`"}`); len(items) > 0 || !strings.Contains(failure, "history_gone: ") || !strings.Contains(failure, "from="+positions[3]+" to=") {
		t.Errorf("after what is gone: %v, %q", items, failure)
	}
	ann.write(`{"type":1,"invocationId":"3","target":"$joinGroup","arguments":["g",{"rewind":{"after":"` + positions[3] + `"}}]}`)
	ann.want("news", "anew")
	if f := ann.next(); f.InvocationID != "3" || !strings.Contains(string(f.Result), `"gone":{"from":"`+positions[3]) {
		t.Errorf("got %+v", f)
	}
	res, body := c.do(http.MethodGet, c.base(0, "demo")+"/api/hubs/chat/messages?after="+positions[3], rest, "", nil)
	var gone struct{ Code, From, To string }
	if err := json.Unmarshal([]byte(body), &gone); err != nil || res.StatusCode != http.StatusGone || gone.Code != "history_gone" || gone.From != positions[3] {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if left := c.texts(0, demo, "after="+gone.To); !slices.Equal(left, []string{"anew"}) {
		t.Errorf("after what is gone: %v", left)
	}
	// A connection that asks for it at its beginning is told by $gap.
	member := mintClient(t, demo, accesstoken.ClientOptions{UserID: "eve", Groups: []string{"g"}, Permissions: []string{"readHistory"}}).Token
	eve, _, err := c.dial(0, 1, demo, "chat&rewind=after:"+positions[3], member)
	if err != nil {
		t.Fatal(err)
	}
	if f := eve.next(); f.Target != "$gap" || !strings.Contains(string(f.Arguments), `"from":"`+positions[3]) {
		t.Errorf("got %+v", f)
	}
	eve.want("news", "anew")
	for query, status := range map[string]int{"rewind=last:0": 400, "rewind=7": 400, "rewind=after:made-up": 400, "rewind=last:2": 403} {
		token := mintClient(t, demo, accesstoken.ClientOptions{UserID: "eve", Groups: []string{"g"}}).Token
		if _, res, err := c.dial(0, 1, demo, "chat&"+query, token); err == nil || res.StatusCode != status {
			t.Errorf("%s: %v", query, res)
		}
	}
}

// item is the text in a stream's item of history.
func (f frame) item(t *testing.T) string {
	t.Helper()
	var item struct {
		Position, Time, Target string
		Arguments              []string
	}
	if err := json.Unmarshal(f.Item, &item); err != nil || item.Position == "" || item.Target != "news" || len(item.Arguments) != 1 {
		t.Fatalf("item %s: %v", f.Item, err)
	}
	if at, err := time.Parse(time.RFC3339, item.Time); err != nil || time.Since(at) > time.Hour {
		t.Fatalf("item %s: time %v", f.Item, err)
	}
	return item.Arguments[0]
}

// A bound that becomes tighter holds from the next message on, without a new edge.
func TestHistory_settings_that_change_trim_what_is_kept(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Hubs = map[string]tenants.HubSettings{"chat": {History: tenants.History{Messages: 1000}}}
	c := startEdges(t, 1, demo)
	kept := func() int64 {
		t.Helper()
		n, err := c.redis.XLen(t.Context(), redisclient.Hub(demo.ID, "chat").Stream()).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const sent = 400
	for n := range sent {
		c.send(0, demo, "chat", "m", strconv.Itoa(n))
	}
	if n := kept(); n != sent {
		t.Fatalf("%d of %d messages are kept", n, sent)
	}
	tighter := *demo
	tighter.Revision, tighter.Hubs = 2, map[string]tenants.HubSettings{"chat": {History: tenants.History{Messages: 100}}}
	c.publish(&tighter)
	c.eventually("the stream has the new bound, and at most a node of it more", func() bool {
		c.send(0, demo, "chat", "m", "more")
		return kept() <= 200
	})
}
