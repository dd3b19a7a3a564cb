package api

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/internal/fleet"
)

// desk is the operators' listener of a plane, for an operator who is signed in.
type desk struct {
	t    *testing.T
	url  string
	http *http.Client
}

func (d *desk) call(method, path string, body any) (int, map[string]any) {
	d.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		d.t.Fatal(err)
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, reader)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := d.http.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(res.Body).Decode(&answer)
	return res.StatusCode, answer
}

// operate makes an operator with the command, sets the operator up and signs in.
func (f *plane) operate() *desk {
	f.t.Helper()
	var out bytes.Buffer
	if err := Operator(f.t.Context(), f.config, []string{"add", "Grace", "grace@example.com"}, &out, f.api.app.logger); err != nil {
		f.t.Fatal(err)
	}
	_, token, _ := strings.Cut(strings.TrimSpace(out.String()), "#token=")
	jar, _ := cookiejar.New(nil)
	d := &desk{t: f.t, url: "http://" + f.api.app.servers[3].Addr(), http: &http.Client{Jar: jar}}
	const password = "correct horse battery"
	status, setup := d.call("POST", "/operator/v1/set-up", map[string]any{"token": token, "password": password})
	if status != http.StatusOK {
		f.t.Fatalf("setting up answered %d: %v", status, setup)
	}
	at := time.Now()
	for step, f := range []func(code string) int{
		func(code string) int {
			status, _ := d.call("POST", "/operator/v1/set-up/confirmation", map[string]any{"token": token, "code": code})
			return status - http.StatusNoContent
		},
		func(code string) int {
			status, _ := d.call("POST", "/operator/v1/session", map[string]any{"email": "grace@example.com", "password": password, "code": code})
			return status - http.StatusOK
		},
	} {
		// The second code is one of the next 30 seconds, which is taken already.
		code, err := totp.GenerateCode(setup["secret"].(string), at.Add(time.Duration(step)*30*time.Second))
		if err != nil {
			d.t.Fatal(err)
		}
		if f(code) != 0 {
			d.t.Fatalf("step %d of setting up failed", step)
		}
	}
	return d
}

// An operator empties a real edge and lets it serve again. SEC-50: what is for operators
// is on their listener and on no other.
func TestOperators_empty_an_edge_and_use_it_again_SEC_50(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 2, func(c *Config) { c.OperatorAddr, c.OperatorURL = "127.0.0.1:0", "http://localhost:1" })
	d := f.operate()

	edges := func() map[string]map[string]any {
		status, answer := d.call("GET", "/operator/v1/edges", nil)
		if status != http.StatusOK {
			t.Fatalf("edges: %d %v", status, answer)
		}
		all := make(map[string]map[string]any)
		for _, e := range answer["edges"].([]any) {
			all[e.(map[string]any)["address"].(string)] = e.(map[string]any)
		}
		return all
	}
	var first map[string]any
	eventually(t, func() string {
		all := edges()
		if first = all[f.edges[0].InternalAddr()]; len(all) != 2 || first["ready"] != true || all[f.edges[1].InternalAddr()]["ready"] != true || first["version"] == "" || first["drained"] != false {
			return "the edges aren't listed"
		}
		return ""
	})
	token := f.token(f.key, "ann")
	ann := f.connect(0, token)
	eventually(t, func() string {
		if e := edges()[f.edges[0].InternalAddr()]; e["connections"] != 1.0 || e["hubs_behind"] == nil || e["redis_away"] != false {
			return "the connection isn't counted"
		}
		return ""
	})
	ready := func() int {
		res, err := http.Get("http://" + f.edges[0].AdminAddr() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	path := "/operator/v1/edges/" + first["id"].(string)
	status, drained := d.call("POST", path+"/drain", map[string]any{"reason": "A new kernel.", "minutes": 90})
	if until, err := time.Parse(time.RFC3339, at(drained, "drained_until")); err != nil || time.Until(until) > 90*time.Minute || time.Until(until) < time.Hour {
		t.Errorf("drained until %s, %v", until, err)
	}
	if status != http.StatusOK || drained["drained"] != true || drained["ready"] != false || ready() != http.StatusServiceUnavailable {
		t.Errorf("drained: %d %v, ready %d", status, drained, ready())
	}
	other := "/operator/v1/edges/" + edges()[f.edges[1].InternalAddr()]["id"].(string)
	if status, refused := d.call("POST", other+"/drain", map[string]any{"reason": "A new kernel."}); status != http.StatusConflict || refused["code"] != "last_ready_edge" {
		t.Errorf("the last edge that is ready: %d %v", status, refused)
	}
	if last := ann.next(); last.Type != 7 || !last.AllowReconnect {
		t.Errorf("the client was told %+v", last)
	}
	if status, _ := f.negotiate(0, token, "", ""); status != http.StatusServiceUnavailable {
		t.Errorf("a drained edge negotiates: %d", status)
	}
	eventually(t, func() string {
		if e := edges()[f.edges[0].InternalAddr()]; e["connections"] != 0.0 {
			return "the edge isn't empty"
		}
		return ""
	})
	if status, used := d.call("POST", path+"/undrain", map[string]any{"reason": "Done."}); status != http.StatusOK || used["drained"] != false || ready() != http.StatusOK {
		t.Errorf("undrained: %d %v", status, used)
	}
	f.connect(0, token)
	// An edge that is held releases itself, also when no api reaches it any more.
	secrets, err := fleet.New(fleetSecret)
	if err != nil {
		t.Fatal(err)
	}
	member := &http.Client{Transport: &http.Transport{TLSClientConfig: secrets.ClientTLS()}}
	defer member.CloseIdleConnections()
	for seconds, want := range map[string]int{"": http.StatusBadRequest, "0": http.StatusBadRequest, "86401": http.StatusBadRequest, "1": http.StatusNoContent} {
		res, err := member.Post("https://"+f.edges[0].InternalAddr()+"/internal/edge/hold?seconds="+seconds, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("held for %q seconds: %d, want %d", seconds, res.StatusCode, want)
		}
	}
	eventually(t, func() string {
		if e := edges()[f.edges[0].InternalAddr()]; e["drained"] != false || e["drained_until"] != nil || ready() != http.StatusOK {
			return fmt.Sprintf("the edge is held: %v", e)
		}
		return ""
	})

	// Every operation, and what belongs on other listeners, on those that are reached by
	// strangers and by edges.
	spec, err := adminapi.OperatorSpec()
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/metrics", "/debug", "/debug/pprof/", "/debug/vars", "/admin", "/readyz", "/healthz", "/internal/edge", "/internal/edge/hold", "/internal/redis"}
	for path := range spec.Paths.Map() {
		paths = append(paths, strings.NewReplacer("{tenant}", "acme", "{limit}", "max_hubs", "{edge}", first["id"].(string), "{token}", "x").Replace(path))
	}
	look := func(client *http.Client, base string, names []string) {
		for _, path := range names {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Accept", "application/json")
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				// The console is served for every address that it may route itself.
				page := method == "GET" && strings.HasPrefix(res.Header.Get("Content-Type"), "text/html")
				refused := method != "GET" && res.StatusCode == http.StatusMethodNotAllowed
				if res.StatusCode != http.StatusNotFound && !page && !refused {
					t.Errorf("%s %s%s answers %d: %.100s", method, base, path, res.StatusCode, text)
				}
			}
		}
	}
	look(f.browser, f.api.url, paths)
	look(http.DefaultClient, "http://"+f.edges[0].Addr(), paths)
	look(member, "https://"+f.api.app.servers[2].Addr(), paths[10:])
	// Whatever strangers name, there are as many series of metrics as before.
	series := func() (names []string) {
		for _, admin := range []string{f.edges[0].AdminAddr(), f.api.app.servers[1].Addr()} {
			res, err := http.Get("http://" + admin + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(string(text), "\n") {
				if name, _, ok := strings.Cut(line, " "); ok && name != "#" {
					names = append(names, name)
				}
			}
		}
		return names
	}
	hostile := func(from int) {
		for n := range 20 {
			name := fmt.Sprint("hostile", from+n)
			f.rest(0, http.MethodPost, "/api/v1/hubs/chat/groups/"+name, f.key.Secret, `{"target":"x","arguments":[]}`)
			for _, url := range []string{"http://" + f.edges[0].Addr() + "/t/" + name + "/api/v1/hubs/" + name, "http://" + f.edges[0].Addr() + "/" + name, f.api.url + "/v1/tenants/" + name, f.api.url + "/" + name} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host, req.Header = name+".example.com", http.Header{"User-Agent": {name}}
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
			}
		}
	}
	hostile(0) // the series of these routes are there then
	before := series()
	hostile(20)
	after := series()
	if len(after) > len(before) {
		t.Errorf("%d series became %d", len(before), len(after))
	}
	for _, name := range after {
		if strings.Contains(name, "hostile") || strings.Contains(name, f.tenant) || strings.Contains(name, "acme") {
			t.Errorf("a series is called %s", name)
		}
	}
	// Nobody who is no member of the fleet speaks to an edge's internal listener.
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if res, err := stranger.Post("https://"+f.edges[0].InternalAddr()+fleet.EdgeHoldPath, "", nil); err == nil {
		res.Body.Close()
		t.Errorf("a stranger drains an edge: %d", res.StatusCode)
	}
}
