package tenants

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/internal/fault"
)

func TestCheckSlug(t *testing.T) {
	t.Parallel()
	for slug, good := range map[string]bool{
		"acme": true, "a-1": true, "abc": true, strings.Repeat("a", 40): true,
		"": false, "ab": false, strings.Repeat("a", 41): false, "1abc": false, "-abc": false, "abc-": false, "Acme": false, "a_b": false,
		"a b": false, "a.b": false, "a/b": false, "ü-tenant": false, "abc\n": false, "signalbox": false, "api": false, "localhost": false,
		"wpad": false, "autodiscover": false, "xn--pple-43d": false, "ab--c": false, "a--b": true, "abc--d": true,
	} {
		if err := CheckSlug(slug); (err == nil) != good {
			t.Errorf("CheckSlug(%q) = %v", slug, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for email, good := range map[string]bool{
		"Ada@Example.com": true, " ada@example.com ": true, "josé@example.com": true, "a+b@example.com": true,
		"": false, "ada": false, "Ada <ada@example.com>": false, "ada@example.com\r\nBcc: eve@example.com": false, "a da@example.com": false, "ada@example.com, eve@example.com": false,
		"\u202eada@example.com": false, "ada\u200b@example.com": false, strings.Repeat("a", 250) + "@b.c": true, strings.Repeat("a", 251) + "@b.c": false,
	} {
		if _, wrong := cleanEmail("email", email); (wrong == nil) != good {
			t.Errorf("cleanEmail(%q) = %v", email, wrong)
		}
	}
	if emailKey(" ADA@Example.com") != "ada@example.com" || emailKey("ÉMILE@example.com") != "émile@example.com" {
		t.Error("addresses differ by case")
	}
	// Mailboxes of other people, whatever their lower case looks like.
	for _, other := range []string{"\u212aim@example.com", "K\u0130m@example.com"} {
		if emailKey(other) == emailKey("kim@example.com") {
			t.Errorf("%q is kim", other)
		}
	}
}

func TestCleanName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		" Acme GmbH ": "Acme GmbH", "日本語": "日本語", "👩‍💻 & co": "👩‍💻 & co", strings.Repeat("ü", 100): strings.Repeat("ü", 100),
		"": "", "  ": "", "\u200b": "", "a\x00": "", "a\nb": "", "a\u0085b": "", "a\u202eb": "", "a\u2066b": "", "a\ufeffb": "", "a\xff": "", strings.Repeat("ü", 101): "",
	} {
		if got, ok := cleanName(name); got != want || ok != (want != "") {
			t.Errorf("cleanName(%q) = %q, %t, want %q", name, got, ok, want)
		}
	}
}

func TestSlugFrom_always_makes_a_good_slug(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Acme", "ACME GmbH & Co. KG", "日本語", "123", "--", "api", "a", strings.Repeat("long ", 50), "ünï", "xn--a", "x  y", "ab  "} {
		if slug := SlugFrom(name); CheckSlug(slug) != nil {
			t.Errorf("SlugFrom(%q) = %q", name, slug)
		}
	}
	if first, second := SlugFrom("Acme"), SlugFrom("Acme"); first == second {
		t.Error("two slugs from one name are the same")
	}
}

func TestHubSettings_Validate_names_every_mistake(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		settings HubSettings
		fields   []string
	}{
		"nothing":                {HubSettings{}, nil},
		"everything":             {HubSettings{Handler: HandlerUpstream, KeepAliveSeconds: 5, ClientTimeoutSeconds: 10, AllowedOrigins: []string{"https://a.example:8443"}}, nil},
		"an_unknown_handler":     {HubSettings{Handler: "both"}, []string{"handler"}},
		"a_slow_ping":            {HubSettings{KeepAliveSeconds: 301, ClientTimeoutSeconds: 600}, []string{"keep_alive_seconds", "client_timeout_seconds"}},
		"a_ping_over_the_half":   {HubSettings{KeepAliveSeconds: 16}, []string{"client_timeout_seconds"}},
		"a_negative_timeout":     {HubSettings{ClientTimeoutSeconds: -1}, []string{"client_timeout_seconds"}},
		"origins_that_are_none":  {HubSettings{AllowedOrigins: []string{"https://ok.example", "a.example", "https://a.example/", "ftp://a.example", "https://u@a.example", "null", "https://*.example"}}, []string{"allowed_origins.1", "allowed_origins.2", "allowed_origins.3", "allowed_origins.4", "allowed_origins.5", "allowed_origins.6"}},
		"too_many_origins":       {HubSettings{AllowedOrigins: slices.Repeat([]string{"https://a.example"}, 51)}, []string{"allowed_origins"}},
		"two_mistakes_at_a_time": {HubSettings{Handler: "x", KeepAliveSeconds: -1}, []string{"handler", "keep_alive_seconds"}},
	} {
		t.Run(name, func(t *testing.T) {
			var fields []string
			if e, ok := errors.AsType[*fault.Error](row.settings.Validate()); ok {
				for _, f := range e.Fields {
					fields = append(fields, f.Name)
				}
			}
			if diff := cmp.Diff(row.fields, fields); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCleanOrigin(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]string{
		"https://App.Example": "https://app.example", "https://app.example:443": "https://app.example", "http://app.example:443": "http://app.example:443",
		"http://localhost:3000": "http://localhost:3000", "https://xn--bcher-kva.example": "https://xn--bcher-kva.example", "http://[::1]:80": "http://[::1]",
		"http://[::1]": "http://[::1]", "https://app.example:08443": "https://app.example:8443",
		"https://bücher.example": "", "https://a.example:": "", "https://a.example:0": "", "https://a.example:65536": "", "https://a&<>.example": "",
		"https://": "", "https://:443": "", "https://a..example": "", "https://[::1": "", "http://[::1]x": "", "https://a.example?x": "", "https://a.example\n": "",
		"https://a,https://b": "", "null": "",
	} {
		if got, ok := cleanOrigin(origin); ok != (want != "") || ok && got != want {
			t.Errorf("cleanOrigin(%q) = %q, %t, want %q", origin, got, ok, want)
		}
	}
}

// TestLimits_table: every field of Limits has a row and the reverse, and what the rows
// say fits together.
func TestLimits_table(t *testing.T) {
	t.Parallel()
	var overrides []Override
	for i, r := range Rows() {
		value := i + 1
		overrides = append(overrides, Override{Limit: r.Name, Value: &value, By: ByOperator})
		for _, plan := range []string{"free", "pro", "scale", "another"} {
			if v := r.PlanValue(plan); v < r.Least || v > r.Most || r.Ceiling(v) < v || r.Ceiling(v) > r.Most {
				t.Errorf("%s of %s: %d is out of bounds %d to %d, ceiling %d", r.Name, plan, v, r.Least, r.Most, r.Ceiling(v))
			}
		}
		if r.Title == "" || r.Unit == "" || r.Scope == "" || r.Kind == "" || (r.At == "") != (r.Kind == BurstLimit) {
			t.Errorf("%s is not described: %+v", r.Name, r)
		}
		if r.Code == "" && r.NoDryRun == "" {
			t.Errorf("%s refuses nothing and can be tried out", r.Name)
		}
		if line := r.RefusalAt(1, 0, 0); strings.Contains(line.String(), " scope="+string(r.Scope)+" limit="+r.Name+" max=1 counted=edge ") != (r.Counted() == CountedEdge) {
			t.Errorf("%s is counted by %s, and refuses with %s", r.Name, r.Counted(), line.String())
		}
		if r.Rate != "" {
			if rate, ok := Row(r.Rate); !ok || rate.Kind != ThrottleLimit && rate.Kind != ShapeLimit {
				t.Errorf("%s is the burst of %q", r.Name, r.Rate)
			}
		}
	}
	unknown := 1
	encoded, err := json.Marshal(Limits{}.With(append(overrides, Override{Limit: "unknown", Value: &unknown}), time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	var byName map[string]int
	if err := json.Unmarshal(encoded, &byName); err != nil {
		t.Fatal(err)
	}
	if len(byName) != len(Rows()) {
		t.Errorf("Limits has %d fields, %d are in the table", len(byName), len(Rows()))
	}
	for _, o := range overrides {
		if byName[o.Limit] != *o.Value {
			t.Errorf("%s = %d, want %d", o.Limit, byName[o.Limit], *o.Value)
		}
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	soon, later := now.Add(time.Minute), now.Add(time.Hour)
	value := func(n int) *int { return &n }
	plan, err := PlanLimits("free", []byte(`{"max_hubs": 7}`))
	if err != nil {
		t.Fatal(err)
	}
	overrides := []Override{
		{Limit: "max_connections", Value: value(3), Expires: &soon},
		{Limit: "calls_per_second", Value: value(15), Expires: &later},
		{Limit: "messages_per_second", Value: value(5), DryRun: true, Expires: &soon},
		{Limit: "requests_per_second", DryRun: true, Expires: &soon},
		{Limit: "connects_per_second", Value: value(1), Expires: &now},
	}
	doc := Document{Plan: "free", Limits: plan.With(overrides, now), LaterLimits: laterLimits(plan, overrides, now)}
	for _, row := range []struct {
		at                                     time.Time
		connections, calls, messages, requests int
		triedMessages, triedRequests           int
	}{
		{now, 3, 15, 200, 40, 5, 20}, // a dry run enforces twice the plan's value
		{soon.Add(-time.Millisecond), 3, 15, 200, 40, 5, 20},
		{soon, 200, 15, 100, 20, 0, 0},
		{later, 200, 10, 100, 20, 0, 0},
		{later.Add(time.Hour), 200, 10, 100, 20, 0, 0},
	} {
		l := doc.LimitsAt(row.at)
		got := []int{l.MaxConnections, l.CallsPerSecond, l.MessagesPerSecond, l.RequestsPerSecond, 0, 0}
		if l.Tried != nil {
			got[4], got[5] = l.Tried.MessagesPerSecond, l.Tried.RequestsPerSecond
		}
		if want := []int{row.connections, row.calls, row.messages, row.requests, row.triedMessages, row.triedRequests}; !slices.Equal(got, want) {
			t.Errorf("at %s: %v, want %v", row.at, got, want)
		}
		if l.ConnectsPerSecond != 20 || l.MaxHubs != 7 {
			t.Errorf("at %s: %+v", row.at, l)
		}
	}
	for _, l := range plan.List(overrides, now) {
		over := slices.Contains([]string{"max_connections", "calls_per_second", "messages_per_second", "requests_per_second"}, l.Name)
		if over != (l.Source == FromOverride) || over != (l.Override != nil) {
			t.Errorf("%s comes from %s, %v", l.Name, l.Source, l.Override)
		}
	}
}

// TestOverrides_after_a_downgrade: what an account set under a larger plan counts for
// no more than the present one would let it set, and is shown so; an operator's stays.
func TestOverrides_after_a_downgrade(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	soon := now.Add(time.Hour)
	value := func(n int) *int { return &n }
	overrides := []Override{
		{Limit: "max_connections", Value: value(50_000)},               // the former plan's: it was a lower value there
		{Limit: "calls_per_second", Value: value(200), Expires: &soon}, // twice the former plan's
		{Limit: "messages_per_second", Value: value(9_000), Expires: &soon, DryRun: true},
		{Limit: "max_hubs", Value: value(5)},
		{Limit: "max_groups_per_connection", Value: value(50)}, // just the plan's
		{Limit: "max_open_streams", Value: value(400), By: ByOperator},
	}
	plan, err := PlanLimits("free", nil)
	if err != nil {
		t.Fatal(err)
	}
	limits := plan.With(overrides, now)
	if limits.Tried == nil || limits.Tried.MessagesPerSecond != 200 {
		t.Errorf("tried out is %+v, want twice the plan's messages", limits.Tried)
	}
	list := plan.List(overrides, now)
	for name, want := range map[string]struct {
		value, set int
		source     LimitSource
	}{
		"max_connections":           {200, 50_000, FromPlan},
		"calls_per_second":          {20, 200, FromOverride},
		"messages_per_second":       {200, 9_000, FromOverride},
		"max_hubs":                  {5, 5, FromOverride},
		"max_groups_per_connection": {50, 50, FromOverride},
		"max_open_streams":          {400, 400, FromOverride},
	} {
		r := mustRow(name)
		shown := list[rowByName[name]]
		if r.Of(&limits) != want.value || shown.Value != want.value || *shown.Override.Value != want.set || shown.Source != want.source {
			t.Errorf("%s: %d is in force, shown are %d of %d from %s; want %+v", name, r.Of(&limits), shown.Value, *shown.Override.Value, shown.Source, want)
		}
	}
	if l := (&Document{Limits: limits, LaterLimits: laterLimits(plan, overrides, now)}).LimitsAt(soon); l.MaxConnections != 200 || l.CallsPerSecond != 10 || l.MaxHubs != 5 {
		t.Errorf("later %+v", l)
	}
}

func TestOverrides_are_bounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	in := func(d time.Duration) *time.Time {
		at := now.Add(d)
		return &at
	}
	value := func(n int) *int { return &n }
	calls, _ := Row("calls_per_second")
	burst, _ := Row("call_burst")
	for name, row := range map[string]struct {
		row LimitRow
		o   Override
		bad string
	}{
		"lower for ever":        {calls, Override{Value: value(1)}, ""},
		"raised for a month":    {calls, Override{Value: value(20), Expires: in(30 * 24 * time.Hour)}, ""},
		"dry run of the plan's": {calls, Override{DryRun: true, Expires: in(time.Hour)}, ""},
		"nothing":               {calls, Override{}, "max"},
		"zero":                  {calls, Override{Value: value(0)}, "max"},
		"more than twice":       {calls, Override{Value: value(21), Expires: in(time.Hour)}, "max"},
		"raised for ever":       {calls, Override{Value: value(11)}, "expires_at"},
		"raised for two months": {calls, Override{Value: value(11), Expires: in(60 * 24 * time.Hour)}, "expires_at"},
		"over":                  {calls, Override{Value: value(5), Expires: in(-time.Second)}, "expires_at"},
		"dry run for ever":      {calls, Override{DryRun: true}, "expires_at"},
		"no dry run":            {burst, Override{DryRun: true, Expires: in(time.Hour)}, "dry_run"},
	} {
		err := row.o.check(row.row, row.row.Free, now)
		var f *fault.Error
		if errors.As(err, &f) != (row.bad != "") || row.bad != "" && (f.Fields[0].Name != row.bad || row.bad == "dry_run" && !strings.Contains(f.Fields[0].Message, "try out the rate")) {
			t.Errorf("%s: %v, want a problem with %q", name, err, row.bad)
		}
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	plain, own := Tenant{Slug: "acme"}, Tenant{Slug: "acme", Hosts: []string{"rt.acme.example", "localhost:8889"}}
	for name, row := range map[string]struct {
		service, host, base, hostBase, ownBase string
	}{
		"production":     {"https://service.example.com", "acme.service.example.com", "https://acme.service.example.com", "https://acme.service.example.com", "https://rt.acme.example"},
		"with_a_port":    {"https://Service.example.com:8443/", "acme.service.example.com:8443", "https://acme.service.example.com:8443", "https://acme.service.example.com:8443", "https://rt.acme.example"},
		"a_laptop":       {"http://127.0.0.1:8888", "acme.localhost:8888", "http://127.0.0.1:8888/t/acme", "http://acme.localhost:8888", "http://rt.acme.example"},
		"localhost":      {"http://localhost:8888", "acme.localhost:8888", "http://localhost:8888/t/acme", "http://acme.localhost:8888", "http://rt.acme.example"},
		"an_IPv6_laptop": {"http://[::1]:8888", "acme.localhost:8888", "http://[::1]:8888/t/acme", "http://acme.localhost:8888", "http://rt.acme.example"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := NewEndpoints(row.service)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{e.Host("acme"), e.Base(plain), e.HostBase(plain), e.Base(own)}
			if diff := cmp.Diff([]string{row.host, row.base, row.hostBase, row.ownBase}, got); diff != "" {
				t.Error(diff)
			}
			if slug, ok := e.slugOf(row.host); !ok || slug != "acme" {
				t.Errorf("slugOf(%s) = %s, %t", row.host, slug, ok)
			}
			if slug, ok := e.slugOf("acme.evil.example"); ok {
				t.Errorf("a foreign host has slug %s", slug)
			}
		})
	}
	for _, bad := range []string{"", "service.example.com", "ftp://a.example", "https://a.example/path", "https://u:p@a.example", "https://a.example?x"} {
		if _, err := NewEndpoints(bad); err == nil {
			t.Errorf("NewEndpoints(%q) has no error", bad)
		}
	}
}

func TestRoles_table_is_complete(t *testing.T) {
	t.Parallel()
	for permission, roles := range rolesWith {
		if !slices.Contains(roles, Owner) {
			t.Errorf("an owner can't %s", permission)
		}
	}
	for _, role := range []Role{Viewer, Billing, Developer} {
		if role.Allows(DeleteTenant) || role.Allows(CreateTenant) {
			t.Errorf("%s may make or delete tenants", role)
		}
	}
	if Role("").Allows(SeeTenant) || Owner.Allows("unknown") {
		t.Error("what is unknown is allowed")
	}
}

func TestSealer_opens_only_what_was_sealed_for_the_same(t *testing.T) {
	t.Parallel()
	s, err := NewSealer(bytes.Repeat([]byte{1}, SealingKeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed := s.Seal(sealedKeys, "T1", "K1", "secret")
	if got, err := s.Open(sealedKeys, "T1", "K1", sealed); err != nil || got.Reveal() != "secret" {
		t.Errorf("Open = %q, %v", got.Reveal(), err)
	}
	other, err := NewSealer(bytes.Repeat([]byte{2}, SealingKeySize))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() (Secret, error){
		"another_tenant": func() (Secret, error) { return s.Open(sealedKeys, "T2", "K1", sealed) },
		"another_key_id": func() (Secret, error) { return s.Open(sealedKeys, "T1", "K2", sealed) },
		"another_cut":    func() (Secret, error) { return s.Open(sealedKeys, "T1\x00K", "1", sealed) },
		"another_column": func() (Secret, error) { return s.Open(sealedWebhookSecrets, "T1", "K1", sealed) },
		"a_changed_byte": func() (Secret, error) { return s.Open(sealedKeys, "T1", "K1", changed) },
		"another_sealer": func() (Secret, error) { return other.Open(sealedKeys, "T1", "K1", sealed) },
		"nothing_at_all": func() (Secret, error) { return s.Open(sealedKeys, "T1", "K1", nil) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s opens %q", name, got.Reveal())
		}
	}
	if _, err := NewSealer([]byte("short")); err == nil {
		t.Error("a short key makes a Sealer")
	}
}

func TestSecret_never_shows_itself(t *testing.T) {
	t.Parallel()
	key := NewKey{Secret: "hunter2"}
	encoded, err := json.Marshal(key.Secret)
	if err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("made", "key", key.Secret, "all", key)
	for _, text := range []string{string(encoded), logs.String(), fmt.Sprint(key.Secret), fmt.Sprintf("%v %+v %#v %s", key, key, key, key.Secret)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the secret shows: %s", text)
		}
	}
}

// What a hub's settings say may be no more than the plan has, and each setting that is
// more is named.
func TestHubs_stay_within_the_plan(t *testing.T) {
	t.Parallel()
	l := Limits{MaxMethodLimits: 1, MaxParallelCalls: 4, RetentionSeconds: 600, HistoryBytes: 1 << 20}
	settings := func(more int) HubSettings {
		s := HubSettings{MethodRates: map[string]MethodRate{"a": {PerSecond: 1}}, ParallelCalls: 4 + more, History: History{Seconds: 600 + more, Bytes: 1<<20 + int64(more)}}
		if more > 0 {
			s.MethodRates["b"] = MethodRate{PerSecond: 1}
		}
		return s
	}
	for more, want := range [][]string{nil, {"method_rates", "parallel_calls", "history.seconds", "history.bytes"}} {
		var got []string
		s := settings(more)
		for _, err := range []error{s.ratesWithin(&l), s.History.within(l)} {
			var f *fault.Error
			if errors.As(err, &f) {
				for _, field := range f.Fields {
					got = append(got, field.Name)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %d more than the plan has: %v, want %v", more, got, want)
		}
	}
}
