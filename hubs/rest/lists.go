package rest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/signalbox/signalbox/hubs"
)

// The sizes of pages. Azure's list of a group's connections has its own most.
const (
	pageSize      = 200
	mostPageSize  = hubs.MaxListed
	mostAzurePage = 200
	cursorVersion = 2
)

// member is a connection in a list, in Azure's form.
type member struct {
	ConnectionID string `json:"connectionId"`
	UserID       string `json:"userId,omitempty"`
}

// counted is a user or a group in a list, with the number of its connections
// that the list is about.
type counted struct {
	UserID      string `json:"userId,omitempty"`
	Group       string `json:"group,omitempty"`
	Connections int    `json:"connections"`
}

// page is a page of any list.
type page struct {
	Value    []any  `json:"value"`
	NextLink string `json:"nextLink,omitempty"`
}

// listing makes an operation of what is listed.
func (h *Handler) listing(kind hubs.ListKind, most int) operation {
	return func(w http.ResponseWriter, c *call) (int, error) {
		q := hubs.ListQuery{Kind: kind, Group: c.group, User: c.user, Connection: c.connection}
		name := "maxpagesize"
		if c.r.URL.Query().Has("maxPageSize") { // as Azure's SDK writes it
			name = "maxPageSize"
		}
		size, err := c.number(name, pageSize, most)
		if err != nil {
			return 0, err
		}
		top, err := c.number("top", 0, 1<<31-1)
		if err != nil {
			return 0, err
		}
		if q.Limit = size; top > 0 {
			q.Limit = min(size, top)
		}
		if token := c.r.URL.Query().Get("continuationToken"); token != "" {
			if q.After, err = h.openCursor(c, q, token); err != nil {
				return 0, invalid("continuationToken", "The token is not one of this list.", "the continuationToken of the nextLink of the page before")
			}
		}
		b, err := c.open(0)
		if err != nil {
			return 0, err
		}
		listed, err := b.List(c.r.Context(), q)
		if err != nil {
			return 0, err
		}
		answer := page{Value: make([]any, 0, len(listed.Items))}
		for _, item := range listed.Items {
			answer.Value = append(answer.Value, shown(kind, item))
		}
		left := top - len(listed.Items)
		if listed.More && (top == 0 || left > 0) {
			answer.NextLink = h.nextLink(c, q, listed.Items[len(listed.Items)-1].Name, left)
		}
		return writeJSON(w, http.StatusOK, answer)
	}
}

// shown is the form of one thing in a list.
func shown(kind hubs.ListKind, item hubs.Listed) any {
	switch kind {
	case hubs.ListUsers, hubs.ListPresentUser:
		return counted{UserID: item.Name, Connections: item.Connections}
	case hubs.ListGroups:
		return counted{Group: item.Name, Connections: item.Connections}
	case hubs.ListPresent:
		return presentMember{member{ConnectionID: item.Name, UserID: item.User}, item.State}
	}
	return member{ConnectionID: item.Name, UserID: item.User}
}

// counting makes an operation of how many there are.
func (h *Handler) counting(kind hubs.ListKind) operation {
	return func(w http.ResponseWriter, c *call) (int, error) {
		b, err := c.open(0)
		if err != nil {
			return 0, err
		}
		var count int
		switch {
		case kind != hubs.ListConnections:
			count, err = hubs.CountListed(c.r.Context(), b, hubs.ListQuery{Kind: kind, Group: c.group, User: c.user})
		case c.group != "":
			count, err = b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountGroup, Name: c.group})
		case c.user != "":
			count, err = b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountUser, Name: c.user})
		default:
			count, err = b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountConnections})
		}
		if err != nil {
			return 0, err
		}
		return writeJSON(w, http.StatusOK, struct {
			Count int `json:"count"`
		}{count})
	}
}

// number returns a whole parameter from 1 to most; 0 can't be asked for.
func (c *call) number(name string, otherwise, most int) (int, error) {
	query := c.r.URL.Query()
	if !query.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, invalid(name, "The number is not valid.", fmt.Sprintf("a whole number from 1 to %d", most))
	}
	return n, nil
}

// nextLink is the URL of the next page, with what is left of top.
func (h *Handler) nextLink(c *call, q hubs.ListQuery, last string, left int) string {
	query := c.r.URL.Query()
	query.Set("continuationToken", h.sealCursor(c, q, last))
	if query.Has("top") {
		query.Set("top", strconv.Itoa(left))
	}
	return c.Base + c.r.URL.EscapedPath() + "?" + query.Encode()
}

// cursorScope binds a continuation token to its list.
func cursorScope(c *call, q hubs.ListQuery) []byte {
	return fmt.Appendf(nil, "list\x00%s\x00%s\x00%d\x00%q\x00%q\x00%q", c.Tenant, c.hub, q.Kind, q.Group, q.User, q.Connection)
}

// sealCursor returns the token of the place behind last: opaque, and worth
// nothing for another list or tenant.
func (h *Handler) sealCursor(c *call, q hubs.ListQuery, last string) string {
	plain := append([]byte{cursorVersion}, last...)
	scope := cursorScope(c, q)
	nonce := h.nonce(scope, plain)
	return base64.RawURLEncoding.EncodeToString(h.positions[0].Seal(nonce, nonce, plain, scope))
}

var errCursor = errors.New("not a continuation token of this list")

func (h *Handler) openCursor(c *call, q hubs.ListQuery, token string) (after string, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", errCursor
	}
	plain, err := h.unseal(sealed, cursorScope(c, q))
	if err != nil || len(plain) < 2 || plain[0] != cursorVersion {
		return "", errCursor
	}
	return string(plain[1:]), nil
}
