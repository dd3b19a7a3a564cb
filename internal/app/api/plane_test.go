package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/app/edge"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// plane is an api with edges on one Redis, and somebody signed in with a tenant acme.
type plane struct {
	t        *testing.T
	api      *running
	config   Config
	redisURL string
	redis    redis.UniversalClient
	edges    []*edge.Edge
	browser  *http.Client
	tenant   string // its id
	told     telemetry.Config
	level    slog.Level
	said     *syncBuffer // by edges
	key      tenants.DocKey
	dns      *nameServer
}

// startPlane starts an api and edges, and signs up.
func startPlane(t *testing.T, edges int, change func(*Config)) *plane {
	t.Helper()
	f := &plane{t: t, level: slog.LevelInfo, said: new(syncBuffer)}
	f.start(edges, change)
	return f
}

// start starts it, with what is in f already.
func (f *plane) start(edges int, change func(*Config)) {
	t := f.t
	t.Helper()
	f.redisURL, f.dns = testenv.Redis(t), startDNS(t)
	f.config = testConfig(t, testenv.EmptyPostgres(t), f.redisURL)
	f.config.DNSServer = f.dns.addr
	f.config.OutboundAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	change(&f.config)
	f.api = startWith(t, f.config, f.told, f.level)
	client, err := redisclient.New(f.redisURL, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	f.redis = client
	for range edges {
		f.startEdge()
	}
	jar, _ := cookiejar.New(nil)
	f.browser = &http.Client{Jar: jar}
	answer := f.want(http.StatusCreated, "POST", "/v1/signup", map[string]any{"email": "ada@example.com", "password": "correct horse", "tenant_slug": "acme"})
	f.tenant = at(answer, "tenant", "id")
	f.key = tenants.DocKey{ID: at(answer, "key", "id"), Secret: at(answer, "key", "secret")}
}

// startEdge adds an edge and waits until it is ready.
func (f *plane) startEdge() *edge.Edge {
	f.t.Helper()
	cfg := edge.Config{
		RedisURL: f.redisURL, Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", InternalAddr: "127.0.0.1:0", FleetSecret: fleetSecret,
		APIInternalURL: "https://" + f.api.app.servers[2].Addr(), ServiceHosts: []string{"127.0.0.1", "localhost"},
		OutboundAllow: f.config.OutboundAllow, OTLPEndpoint: f.config.OTLPEndpoint,
	}
	e, err := edge.New(f.t.Context(), cfg, slog.New(slog.NewTextHandler(f.said, &slog.HandlerOptions{Level: f.level})))
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx, ctx) }()
	f.t.Cleanup(func() { stop(); <-ended })
	f.edges = append(f.edges, e)
	eventually(f.t, func() string {
		if res, err := http.Get("http://" + e.AdminAddr() + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return ""
			}
		}
		return "the edge isn't ready"
	})
	return e
}

// call asks the api as whoever is signed in.
func (f *plane) call(method, path string, body any) (int, map[string]any) {
	f.t.Helper()
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			f.t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.api.url+path, reader)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := f.browser.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(res.Body).Decode(&answer) // 204 has none
	return res.StatusCode, answer
}

// want is call that must be answered with a status.
func (f *plane) want(status int, method, path string, body any) map[string]any {
	f.t.Helper()
	got, answer := f.call(method, path, body)
	if got != status {
		f.t.Fatalf("%s %s answered %d: %v", method, path, got, answer)
	}
	return answer
}

// at returns a text by its path in an answer.
func at(v any, path ...string) string {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

// token mints a client's token for hub chat.
func (f *plane) token(key tenants.DocKey, user string) string {
	f.t.Helper()
	m, err := accesstoken.MintClient(key, "http://localhost/t/acme", accesstoken.ClientOptions{Hub: "chat", UserID: user}, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	return m.Token
}

// negotiate returns how an edge answers a token; host is that of the request, "" = the
// service's, with the tenant in the path.
func (f *plane) negotiate(e int, token, host, origin string) (int, string) {
	f.t.Helper()
	path := "/client/negotiate?negotiateVersion=1&hub=chat"
	if host == "" {
		path = "/t/acme" + path
	}
	return f.negotiateAt(e, path, token, host, origin)
}

func (f *plane) negotiateAt(e int, path, token, host, origin string) (int, string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, "http://"+f.edges[e].Addr()+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Authorization", "Bearer "+token)
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// rest sends a request to the data plane with an access key and returns the status.
func (f *plane) rest(e int, method, path, key, body string) int {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.edges[e].Addr()+"/t/acme/api/v1/hubs/"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "once")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// client is a SignalR client over a WebSocket, speaking JSON.
type client struct {
	t      *testing.T
	ws     *websocket.Conn
	frames chan hubFrame
}

type hubFrame struct {
	Type           int             `json:"type"`
	Target         string          `json:"target"`
	Error          string          `json:"error"`
	Result         json.RawMessage `json:"result"`
	AllowReconnect bool            `json:"allowReconnect"`
	ended          bool
}

// connect connects to hub chat on an edge.
func (f *plane) connect(e int, token string) *client {
	f.t.Helper()
	return f.connectTo(e, "acme", "chat", token)
}

// connectTo connects to a hub of a tenant.
func (f *plane) connectTo(e int, tenant, hub, token string) *client {
	f.t.Helper()
	status, body := f.negotiateAt(e, "/t/"+tenant+"/client/negotiate?negotiateVersion=1&hub="+hub, token, "", "")
	var n struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil || status != http.StatusOK {
		f.t.Fatalf("negotiate: %d %s", status, body)
	}
	ws, res, err := websocket.Dial(f.t.Context(), "http://"+f.edges[e].Addr()+"/t/"+tenant+"/client/?hub="+hub+"&id="+url.QueryEscape(n.ConnectionToken),
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		f.t.Fatal(err)
	}
	if res.Body != nil {
		res.Body.Close()
	}
	k := &client{t: f.t, ws: ws, frames: make(chan hubFrame, 1000)}
	f.t.Cleanup(func() { ws.CloseNow() })
	k.write(`{"protocol":"json","version":1}`)
	go k.read()
	if got := k.next(); got.Type != 0 || got.Error != "" || got.ended {
		f.t.Fatalf("handshake: %+v", got)
	}
	return k
}

func (k *client) write(s string) {
	k.t.Helper()
	if err := k.ws.Write(k.t.Context(), websocket.MessageText, []byte(s+"\x1e")); err != nil {
		k.t.Fatal(err)
	}
}

func (k *client) read() {
	for {
		_, data, err := k.ws.Read(context.Background())
		if err != nil {
			k.frames <- hubFrame{ended: true}
			return
		}
		for _, part := range strings.Split(strings.TrimSuffix(string(data), "\x1e"), "\x1e") {
			var got hubFrame
			if err := json.Unmarshal([]byte(part), &got); err != nil {
				got.ended = true
			}
			if got.Type != 6 {
				k.frames <- got
			}
		}
	}
}

func (k *client) next() hubFrame {
	k.t.Helper()
	select {
	case got := <-k.frames:
		return got
	case <-time.After(bound):
		k.t.Fatal("no frame came")
		return hubFrame{}
	}
}

// call invokes a method and returns the error of its completion.
func (k *client) call(method string, arguments ...any) string {
	k.t.Helper()
	all, err := json.Marshal(arguments)
	if err != nil {
		k.t.Fatal(err)
	}
	k.write(fmt.Sprintf(`{"type":1,"invocationId":"1","target":%q,"arguments":%s}`, method, all))
	for {
		got := k.next()
		switch {
		case got.ended:
			k.t.Fatalf("%s: the connection ended", method)
		case got.Type == 3:
			return got.Error
		}
	}
}

// closed waits for a Close message without leave to reconnect, and returns its reason.
func (k *client) closed() string {
	k.t.Helper()
	for {
		got := k.next()
		switch {
		case got.ended:
			k.t.Fatal("the connection ended without a word")
		case got.Type == 7:
			if got.AllowReconnect {
				k.t.Error("the client may come back")
			}
			return got.Error
		}
	}
}

// nameServer answers questions for TXT records.
type nameServer struct {
	addr string

	mu      sync.Mutex
	records map[string][]string // by name with a dot at its end; all else there is not
	failing bool
}

func (n *nameServer) set(name string, values ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[name+"."] = values
}

func (n *nameServer) fail(failing bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failing = failing
}

func startDNS(t *testing.T) *nameServer {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	n := &nameServer{addr: socket.LocalAddr().String(), records: make(map[string][]string)}
	go func() {
		question := make([]byte, 1500)
		for {
			size, from, err := socket.ReadFrom(question)
			if err != nil {
				return
			}
			if size > 12 {
				_, _ = socket.WriteTo(n.answer(question[:size]), from)
			}
		}
	}()
	return n
}

// answer makes the answer to a question with one name (RFC 1035, 4.1).
func (n *nameServer) answer(question []byte) []byte {
	var name strings.Builder
	end := 12
	for end < len(question) && question[end] != 0 {
		size := int(question[end])
		name.Write(question[end+1 : end+1+size])
		name.WriteByte('.')
		end += 1 + size
	}
	end += 5 // the root, type and class
	n.mu.Lock()
	values, there := n.records[strings.ToLower(name.String())]
	failing := n.failing
	n.mu.Unlock()
	out := bytes.Clone(question[:end])
	out[2], out[3] = 0x84, 0 // an answer, of an authority
	copy(out[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	switch {
	case failing:
		out[3] = 2
	case !there:
		out[3] = 3
	default:
		out[7] = byte(len(values))
		for _, value := range values {
			out = append(out, 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0) // the question's name, TXT, IN, no TTL
			out = binary.BigEndian.AppendUint16(out, uint16(len(value)+1))
			out = append(out, byte(len(value)))
			out = append(out, value...)
		}
	}
	return out
}
