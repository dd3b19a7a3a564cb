package pairing_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
)

// told connects a client and returns what the app server is told of it.
func told(t *testing.T, r *pairing.Request, user string) pairing.Client {
	t.Helper()
	h := newHouse(t)
	h.connect(hubs.ConnectionInfo{ID: "c", Principal: hubs.Principal{UserID: user}, Request: r, RemoteAddress: "192.0.2.7:4711"})
	return next(t, h.fleet.opened).client
}

const (
	xmlsoap   = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	microsoft = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
)

func TestClaims(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		claims  map[string]any
		foreign bool
		user    string
		want    []hubs.Claim
	}{
		"names_are_those_of_NET": {
			claims: map[string]any{"nameid": "u", "unique_name": "Ann", "email": "a@example.com", "role": "admin", "department": "sales"},
			want: []hubs.Claim{
				{Type: "department", Value: "sales"},
				{Type: xmlsoap + "emailaddress", Value: "a@example.com"},
				{Type: xmlsoap + "nameidentifier", Value: "u"},
				{Type: microsoft + "role", Value: "admin"},
				{Type: xmlsoap + "name", Value: "Ann"},
			},
		},
		"less_common_names": {
			claims: map[string]any{
				"birthdate": "1", "certpublickey": "2", "certserialnumber": "3", "certthumbprint": "4", "denyonlyprimarygroupsid": "5",
				"family_name": "6", "groupsid": "7", "upn": "8", "website": "9", "winaccountname": "10",
			},
			want: []hubs.Claim{
				{Type: xmlsoap + "dateofbirth", Value: "1"},
				{Type: xmlsoap + "rsa", Value: "2"},
				{Type: microsoft + "serialnumber", Value: "3"},
				{Type: xmlsoap + "thumbprint", Value: "4"},
				{Type: microsoft + "denyonlyprimarygroupsid", Value: "5"},
				{Type: xmlsoap + "surname", Value: "6"},
				{Type: microsoft + "groupsid", Value: "7"},
				{Type: xmlsoap + "upn", Value: "8"},
				{Type: xmlsoap + "webpage", Value: "9"},
				{Type: microsoft + "windowsaccountname", Value: "10"},
			},
		},
		"names_of_Entra": {
			claims: map[string]any{"oid": "1", "tid": "2", "scp": "3", "idp": "4", "acr": "5", "amr": []any{"pwd", "mfa"}, "azp": "about the token"},
			want: []hubs.Claim{
				{Type: "http://schemas.microsoft.com/claims/authnclassreference", Value: "5"},
				{Type: "http://schemas.microsoft.com/claims/authnmethodsreferences", Value: "pwd"},
				{Type: "http://schemas.microsoft.com/claims/authnmethodsreferences", Value: "mfa"},
				{Type: "http://schemas.microsoft.com/identity/claims/identityprovider", Value: "4"},
				{Type: "http://schemas.microsoft.com/identity/claims/objectidentifier", Value: "1"},
				{Type: "http://schemas.microsoft.com/identity/claims/scope", Value: "3"},
				{Type: "http://schemas.microsoft.com/identity/claims/tenantid", Value: "2"},
			},
		},
		"sub_is_the_name_identifier": {
			claims: map[string]any{"sub": "u"},
			want:   []hubs.Claim{{Type: xmlsoap + "nameidentifier", Value: "u"}},
		},
		"long_names_stay": {
			claims: map[string]any{microsoft + "role": "admin"},
			want:   []hubs.Claim{{Type: microsoft + "role", Value: "admin"}},
		},
		"lists_are_repeated_claims": {
			claims: map[string]any{"roles": []any{"a", "b"}},
			want:   []hubs.Claim{{Type: microsoft + "role", Value: "a"}, {Type: microsoft + "role", Value: "b"}},
		},
		"values_that_are_no_text": {
			claims: map[string]any{"age": float64(7), "big": float64(1234567890), "ok": true, "tree": map[string]any{"a": "b"}},
			want:   []hubs.Claim{{Type: "age", Value: "7"}, {Type: "big", Value: "1234567890"}, {Type: "ok", Value: "true"}, {Type: "tree", Value: `{"a":"b"}`}},
		},
		"what_is_about_the_token_or_for_the_service_stays_here": {
			claims: map[string]any{
				"aud": "a", "exp": float64(1), "iat": float64(1), "nbf": float64(1), "iss": "i", "jti": "j", "nonce": "n",
				"asrs.s.sn": "s", "asrs.s.ssticky": "Required", "asrs.s.dc": "true", "asrs.s.cht": "5", "asrs.s.secn": "2", "asrs.s.derror": "True",
				"asrs.s.ttl": "5", "asrs.s.htt": "1", "asrs.s.coae": "true", "asrs.s.aeo": "1", "sbx.permissions": []any{"x"}, "sbx.groups": "g",
			},
		},
		"what_the_SDK_reads_in_app_servers_is_told": {
			claims: map[string]any{"asrs.s.uid": "u", "asrs.s.aut": "Cookies", "asrs.s.nt": "n", "asrs.s.rt": "r", "asrs.u.exp": "mine"},
			want: []hubs.Claim{
				{Type: "asrs.s.aut", Value: "Cookies"}, {Type: "asrs.s.nt", Value: "n"}, {Type: "asrs.s.rt", Value: "r"},
				{Type: "asrs.s.uid", Value: "u"}, {Type: "asrs.u.exp", Value: "mine"},
			},
		},
		"another_issuer_has_no_say_in_the_service": {
			claims: map[string]any{"asrs.s.uid": "root", "asrs.s.sn": "s", "asrs.s.ssticky": "Required", "role": "admin"}, foreign: true, user: "u",
			want: []hubs.Claim{{Type: "asrs.s.uid", Value: "u"}, {Type: microsoft + "role", Value: "admin"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := told(t, &pairing.Request{Claims: row.claims, ForeignIssuer: row.foreign}, row.user)
			if diff := cmp.Diff(row.want, got.Claims); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSticky(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		server, mode any
		foreign      bool
		want         pairing.Sticky
	}{
		"nothing_said":    {nil, nil, false, pairing.Anywhere},
		"preferred":       {"s", "Preferred", false, pairing.Preferred},
		"required":        {"s", "Required", false, pairing.Required},
		"any_case":        {"s", "required", false, pairing.Required},
		"without_server":  {nil, "Required", false, pairing.Anywhere},
		"without_mode":    {"s", nil, false, pairing.Anywhere},
		"unknown_mode":    {"s", "Always", false, pairing.Anywhere},
		"not_a_text":      {[]any{"s"}, "Required", false, pairing.Anywhere},
		"another_issuer":  {"s", "Required", true, pairing.Anywhere},
		"explicitly_none": {"s", "Disabled", false, pairing.Anywhere},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := told(t, &pairing.Request{Claims: map[string]any{"asrs.s.sn": row.server, "asrs.s.ssticky": row.mode}, ForeignIssuer: row.foreign}, "")
			if got.Sticky != row.want || (got.Server == "s") != (row.want != pairing.Anywhere) {
				t.Errorf("got %v of %q, want %v", got.Sticky, got.Server, row.want)
			}
		})
	}
}

func TestRequest_headers_without_credentials(t *testing.T) {
	t.Parallel()
	got := told(t, &pairing.Request{Host: "acme.example.com", Header: http.Header{
		"Authorization": {"Bearer secret"}, "Proxy-Authorization": {"Basic secret"}, "Cookie": {"session=secret"},
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}, "Sec-Websocket-Version": {"13"},
		"X-Forwarded-For": {"203.0.113.1"}, "Asrs-Instance-Id": {"forged"}, "Asrs-Migrate-From": {"forged"},
		"User-Agent": {"agent"}, "X-Custom": {"a", "b"},
	}}, "")
	want := map[string][]string{
		"Host": {"acme.example.com"}, "X-Forwarded-For": {"192.0.2.7"}, "User-Agent": {"agent"}, "X-Custom": {"a", "b"},
	}
	if diff := cmp.Diff(want, got.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestRequest_headers_are_bounded(t *testing.T) {
	t.Parallel()
	got := told(t, &pairing.Request{Header: http.Header{"A": {strings.Repeat("x", 10<<10)}, "B": {strings.Repeat("x", 10<<10)}, "C": {"x"}}}, "")
	if len(got.Headers["A"]) != 1 || len(got.Headers["B"]) != 0 || len(got.Headers["C"]) != 0 {
		t.Errorf("got %d headers", len(got.Headers))
	}
}

func TestRequest_query_without_tokens(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                       "",
		"access_token=t":         "",
		"hub=chat&asrs.op=%2Fa":  "?hub=chat&asrs.op=%2Fa",
		"hub=chat&access_token=": "?hub=chat",
		"id=x&hub=chat&Access_Token=t&access%5Ftoken=u&k=v&k=%20": "?hub=chat&k=v&k=%20",
		"flag": "?flag",
	} {
		if got := told(t, &pairing.Request{RawQuery: query}, "").Query; got != want {
			t.Errorf("%q becomes %q, want %q", query, got, want)
		}
	}
}

func TestRequest_handshake_offers_version_1(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.serve(hubs.ConnectionInfo{ID: "c", StatefulReconnect: true})
	s.send("{\"version\":2,\"protocol\":\"messagepack\"}\x1e")
	got := next(t, h.fleet.opened).client
	if got.Protocol != "messagepack" || string(got.Handshake) != "{\"protocol\":\"messagepack\",\"version\":1}\x1e" {
		t.Errorf("protocol %q, handshake %q", got.Protocol, got.Handshake)
	}
	if got.ConnectionID != "c" || got.Hub != (pairing.Hub{Tenant: "t1", Name: "chat"}) || got.MovedFrom != "" {
		t.Errorf("client %+v", got)
	}
}
