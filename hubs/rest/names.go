package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of what is in queries.
const (
	maxExcluded = 1000
	maxReason   = 1024
	maxTTL      = 365 * 24 * 3600 // seconds, as in Azure
)

// apiVersion is a version of the current form, which began in 2022-06-01.
var apiVersion = regexp.MustCompile(`^20\d\d-[01]\d-[0-3]\d(-preview)?$`)

const (
	firstVersion = "2022-06-01"
	// goneIsDone is the version from which a connection that doesn't exist counts
	// as removed from a group.
	goneIsDone = "2024-12-01"
)

// names checks the path, the application and the version of a request.
func (c *call) names() error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return invalid("query", "The query string is malformed.", "name=value pairs, percent-encoded")
	}
	if !c.style.legacy && query.Has("api-version") {
		c.version = query.Get("api-version")
		if !apiVersion.MatchString(c.version) || c.version < firstVersion {
			return invalid("api-version", "Unknown api-version.", "none, or a date from "+firstVersion+" on")
		}
	}
	hub, err := c.param("hub")
	if err != nil {
		return err
	}
	if c.hub, err = tenants.HubName(hub); err != nil {
		return invalid("hub", "The hub's name is not valid.", tenants.HubNameRule)
	}
	if app := query.Get("application"); app != "" {
		// Azure's rule: an application's hubs have its name before theirs.
		if app, err = tenants.HubName(app); err == nil {
			c.hub, err = tenants.HubName(app + "_" + c.hub)
		}
		if err != nil {
			return invalid("application", "The application's name is not valid.", tenants.HubNameRule+", 127 together with the hub's")
		}
	}
	for _, p := range []struct {
		name  string
		check func(string) error
		to    *string
	}{{"group", hubs.CheckGroup, &c.group}, {"user", hubs.CheckUser, &c.user}, {"connection", hubs.CheckConnectionID, &c.connection}, {"stream", checkStream, &c.stream}} {
		if chi.URLParam(c.r, p.name) == "" {
			continue // not in this route
		}
		if *p.to, err = c.param(p.name); err != nil {
			return err
		}
		if err := p.check(*p.to); err != nil {
			return misnamed(p.name, err)
		}
	}
	return nil
}

// param returns a decoded segment of the path.
func (c *call) param(name string) (string, error) {
	s, err := url.PathUnescape(chi.URLParam(c.r, name))
	if err != nil {
		return "", invalid(name, "The path is malformed.", "a percent-encoded segment")
	}
	return s, nil
}

// misnamed refuses a parameter with what is wrong with the name in it.
func misnamed(parameter string, err error) error {
	var e *hubs.NameError
	if !errors.As(err, &e) {
		return err
	}
	return invalid(parameter, "The "+e.What+" "+e.Wrong+".", e.Accepted)
}

// excluded returns the connections that a request leaves out.
func (c *call) excluded() ([]string, error) {
	ids := c.r.URL.Query()["excluded"]
	return ids, checkExcluded(ids)
}

func checkExcluded(ids []string) error {
	if len(ids) > maxExcluded {
		return invalid("excluded", "Too many connections are excluded.", fmt.Sprintf("up to %d", maxExcluded))
	}
	for _, id := range ids {
		if err := hubs.CheckConnectionID(id); err != nil {
			return misnamed("excluded", err)
		}
	}
	return nil
}

// reason returns why connections are closed.
func (c *call) reason() (string, error) {
	s := c.r.URL.Query().Get("reason")
	return s, checkReason(s)
}

// failure returns why a stream ends, "" when it simply does. Azure's reference
// calls it reason, its SDK error.
func (c *call) failure() (string, error) {
	s := c.r.URL.Query().Get("error")
	if s == "" {
		return c.reason()
	}
	if checkReason(s) != nil {
		return "", invalid("error", "The error is not valid.", fmt.Sprintf("up to %d characters of UTF-8", maxReason))
	}
	return s, nil
}

func checkReason(s string) error {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxReason {
		return invalid("reason", "The reason is not valid.", fmt.Sprintf("up to %d characters of UTF-8", maxReason))
	}
	return nil
}

// ttl returns how long a user stays in a group: -1 = until removed.
func (c *call) ttl() (int64, error) {
	query := c.r.URL.Query()
	if !query.Has("ttl") {
		return -1, nil
	}
	v, err := strconv.ParseInt(query.Get("ttl"), 10, 64)
	if err != nil || v < 0 || v > maxTTL {
		return 0, invalid("ttl", "The ttl is not valid.", fmt.Sprintf("whole seconds from 0 (only connections that exist now) to %d", maxTTL))
	}
	return v, nil
}

// conflation returns how a connection gets the messages to a group; nil = each.
func (c *call) conflation() (*hubs.Conflation, error) {
	const every, key = "conflateEveryMs", "conflateKey"
	query := c.r.URL.Query()
	if !query.Has(every) {
		if query.Has(key) {
			return nil, invalid(key, "There is a key but no time.", every+" with it")
		}
		return nil, nil //nolint:nilnil // as the comment says
	}
	least, most := hubs.MinConflation.Milliseconds(), hubs.MaxConflation.Milliseconds()
	ms, err := strconv.ParseInt(query.Get(every), 10, 64)
	if err != nil || ms < least || ms > most {
		return nil, invalid(every, "The time is not valid.", fmt.Sprintf("whole milliseconds from %d to %d", least, most))
	}
	how := &hubs.Conflation{Every: time.Duration(ms) * time.Millisecond, Key: hubs.NoKey}
	if query.Has(key) {
		how.Key, err = strconv.Atoi(query.Get(key))
		if err != nil || how.Key < 0 || how.Key > hubs.MaxKey {
			return nil, invalid(key, "The key is not valid.", fmt.Sprintf("the index of an argument, 0 to %d", hubs.MaxKey))
		}
	}
	return how, nil
}

// acks are the levels of acknowledgement by name.
var acks = map[string]hubs.Ack{"": hubs.AckStream, "none": hubs.AckNone, "stream": hubs.AckStream, "replicated": hubs.AckReplicated}

// ack returns what must have happened when a send is answered.
func (c *call) ack() (hubs.Ack, error) {
	ack, known := acks[c.r.URL.Query().Get("ack")]
	if !known {
		return 0, invalid("ack", "There is no such level.", "none, stream, replicated")
	}
	return ack, nil
}

// ackName is how an answer names a level.
func ackName(a hubs.Ack) string {
	switch a {
	case hubs.AckNone:
		return "none"
	case hubs.AckReplicated:
		return "replicated"
	}
	return "stream"
}

// idempotencyKey returns the request's key, or "".
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 || !keyOK(values[0]) {
		return "", invalid("Idempotency-Key", "The Idempotency-Key is not valid.", "one header of "+keyRule)
	}
	return values[0], nil
}

const keyRule = "1 to 128 printable ASCII characters"

// keyOK applies keyRule.
func keyOK(key string) bool {
	ok := len(key) >= 1 && len(key) <= 128
	for _, c := range []byte(key) {
		ok = ok && c >= ' ' && c <= '~'
	}
	return ok
}

// maxStream bounds a stream's id, in bytes.
const maxStream = 256

// checkStream applies the rule of stream ids: they are what clients call their
// invocations.
func checkStream(id string) error {
	if len(id) <= maxStream && utf8.ValidString(id) && strings.TrimSpace(id) != "" {
		return nil
	}
	return &hubs.NameError{What: "stream id", Wrong: "is not valid", Accepted: fmt.Sprintf("1 to %d bytes of UTF-8, not all of them blanks", maxStream)}
}
