package adminapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// differing is what differs between any two answers: ids, sessions, times and the
// addresses asked for.
var differing = regexp.MustCompile(`req_\w+|signalbox=[\w-]+|Expires=[^;]+|Max-Age=\d+|[0-9A-HJKMNP-TV-Z]{26}|\d{4}-\d\d-\d\dT[\d:.]+Z|(known|nobody)-\w+@example\.com`)

// SEC-39: whether an address has a user is told neither by status, text nor headers, those
// of rates among them, nor by the time that an answer takes, with passwords as hard as in
// production. It runs alone, as others would take the processor from one of two.
func TestSEC_39_answers_take_the_same_time(t *testing.T) {
	const people = 7
	var offset, callers atomic.Int64
	w := newWorld(t, settings{confirmSignUps: true, passwordMemory: 19 << 10, now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	ask := func(path, cookie string, body map[string]any) (*httptest.ResponseRecorder, time.Duration) {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		n := callers.Add(1) // each from an address of its own, so that no bound of callers is met
		r := httptest.NewRequest("POST", path, strings.NewReader(string(text)))
		r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1234", n/250, n%250+1)
		r.Header.Set("Content-Type", "application/json")
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		rec := httptest.NewRecorder()
		began := time.Now()
		w.handler.ServeHTTP(rec, r)
		return rec, time.Since(began)
	}
	known, nobody := make([]string, people), make([]string, people)
	var account, cookie string
	for i := range people {
		known[i], nobody[i] = fmt.Sprintf("known-%d@example.com", i), fmt.Sprintf("nobody-%d@example.com", i)
		ask("/v1/signup", "", map[string]any{"email": known[i], "password": password})
		_, token := w.mailTo(known[i])
		rec, _ := ask("/v1/signup/confirmation", "", map[string]any{"token": token, "password": password})
		var made struct{ Account struct{ ID string } }
		if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil || rec.Code != http.StatusCreated {
			t.Fatalf("no user was made: %d %s %v", rec.Code, rec.Body, err)
		}
		account, cookie = made.Account.ID, strings.SplitN(rec.Header().Get("Set-Cookie"), ";", 2)[0]
	}
	w.exec("UPDATE accounts SET plan = 'scale'")
	for _, row := range []struct {
		what, path string
		status     int
		body       func(email string) map[string]any
	}{
		{"sign in", "/v1/session", http.StatusUnauthorized, func(email string) map[string]any {
			return map[string]any{"email": email, "password": "a wrong password"}
		}},
		{"sign up", "/v1/signup", http.StatusAccepted, func(email string) map[string]any { return map[string]any{"email": email, "password": password} }},
		{"reset", "/v1/password-reset", http.StatusAccepted, func(email string) map[string]any { return map[string]any{"email": email} }},
		{"invite", "/v1/accounts/" + account + "/invitations", http.StatusCreated, func(email string) map[string]any {
			return map[string]any{"email": email, "role": "viewer"}
		}},
	} {
		t.Run(row.what, func(t *testing.T) {
			as := ""
			if row.what == "invite" {
				as = cookie
			}
			said := ""
			measure := func(email string) time.Duration {
				rec, took := ask(row.path, as, row.body(email))
				if rec.Code != row.status {
					t.Fatalf("%s is answered %d %s", email, rec.Code, rec.Body)
				}
				rec.Header().Del("Date")
				all := differing.ReplaceAllString(fmt.Sprint(rec.Code, rec.Header(), rec.Body), "…")
				if said == "" {
					said = all
				}
				if all != said {
					t.Errorf("answers differ:\n%s\n%s", said, all)
				}
				return took
			}
			// Of a busy machine's noise some round is free; a hash more isn't gone in any. Where
			// a hash takes far longer than 20 ms, as with the race detector, so may the rest.
			var differ, within time.Duration
			for range 5 {
				var apart, took []time.Duration
				for i := range people - 1 { // the last one is who invites
					first, second := known[i], nobody[i]
					if i%2 == 1 { // who comes first may wait for something
						first, second = second, first
					}
					one, other := measure(first), measure(second)
					if i%2 == 1 {
						one, other = other, one
					}
					apart, took = append(apart, one-other), append(took, one)
				}
				slices.Sort(apart)
				slices.Sort(took)
				differ = (apart[len(apart)/2-1] + apart[len(apart)/2]) / 2
				within = max(20*time.Millisecond, took[len(took)/2]/4)
				t.Logf("who has a user is answered within %s, %s later than who has none", took[len(took)/2], differ)
				if differ.Abs() <= within {
					return
				}
				if offset.Add(int64(2 * time.Hour)); row.what == "invite" {
					w.exec("DELETE FROM invitations")
					w.exec("UPDATE sessions SET seen_at = now() + interval '1 day', expiry = now() + interval '2 days'")
				}
			}
			t.Errorf("medians are %s apart, want %s at most", differ, within)
		})
	}
}
