package adminapi

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// routed is the operation that a request is for.
type routed struct {
	*operation
	route  *routers.Route
	params map[string]string
	body   []byte // as it came
}

type routedKey struct{}

// routedOf returns what find found.
func routedOf(r *http.Request) *routed {
	found, _ := r.Context().Value(routedKey{}).(*routed)
	return found
}

// place is where the request's operation works.
func (o *routed) place() tenants.Place {
	return tenants.Place{Account: tenants.AccountID(o.params["account"]), Tenant: o.params["tenant"]}
}

// find looks up the operation that a request is for. HEAD is GET without the
// content, which net/http leaves out.
func (s *server) find(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		route, params, err := s.router.FindRoute(r)
		if errors.Is(err, routers.ErrMethodNotAllowed) {
			allowed := s.methods(r)
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.problem(w, r, fault.New(fault.NotAllowed, "This address takes "+strings.Join(allowed, ", ")+"."))
			return
		}
		if err != nil {
			s.problem(w, r, fault.New(fault.NotFound, "There is nothing at this address."))
			return
		}
		found := &routed{operation: s.operations[route.Operation], route: route, params: params}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), routedKey{}, found)))
	})
}

// methods lists those that an address takes.
func (s *server) methods(r *http.Request) (allowed []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, _, err := s.router.FindRoute(&other); err != nil {
			continue
		}
		allowed = append(allowed, method)
		if method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	return allowed
}

// admit refuses who may not call the operation that the request is for, by the
// one table of operations.
func (s *server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := routedOf(r).Admit(callerOf(r)); err != nil {
			s.problem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// negotiate refuses requests whose Accept leaves out all that the operation answers.
// Problems are sent to anybody.
func (s *server) negotiate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		types := routedOf(r).produces
		accept := strings.Join(r.Header.Values("Accept"), ",")
		if len(types) > 0 && !slices.ContainsFunc(types, func(t string) bool { return acceptable(accept, t) }) {
			refused := fault.New(fault.NotAcceptable, "There is no answer of a type that the request accepts.")
			refused.Fields = []fault.Field{{Name: "Accept", Message: "leaves out what this address answers", Accepted: strings.Join(types, ", ")}}
			s.problem(w, r, refused)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// acceptable tells whether a type may be answered to an Accept field (RFC 9110,
// section 12.5.1). What can't be read in it counts as left out; an empty one
// accepts everything.
func acceptable(accept, contentType string) bool {
	if strings.TrimSpace(accept) == "" {
		return true
	}
	group, _, _ := strings.Cut(contentType, "/")
	rank, weight := 0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		if of := map[string]int{"*/*": 1, group + "/*": 2, contentType: 3}[name]; of > rank {
			rank, weight = of, q
		}
	}
	return weight > 0
}

// operationTable finds operations by what the router finds.
func operationTable(doc *openapi3.T, rows map[string]tenants.Operation) (map[*openapi3.Operation]*operation, error) {
	all, err := operationsOf(doc, rows)
	if err != nil {
		return nil, err
	}
	table := make(map[*openapi3.Operation]*operation, len(all))
	for _, o := range all {
		table[o.spec] = o
	}
	return table, nil
}
