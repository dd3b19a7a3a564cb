package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/signalbox/signalbox/tenants"
)

// errUndone rolls back what a request did that failed.
var errUndone = errors.New("the request failed")

// once carries out a request with an Idempotency-Key no more than once. What it
// does and the note that it did are one transaction, so that a process that dies
// leaves both or neither. Answers are kept when something was done; a refusal
// isn't, so that what was refused can be tried again under its key.
func (s *server) once(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := routedOf(r)
		key := r.Header.Get(idempotencyKeyHeader)
		if key == "" || !found.keyed {
			next.ServeHTTP(w, r)
			return
		}
		rec := &recorder{to: w}
		kept, replayed, err := s.tenants.Once(r.Context(), callerOf(r), key, requestHash(r), found.Needs, found.whole(), func(ctx context.Context) ([]byte, error) {
			next.ServeHTTP(rec, r.WithContext(ctx))
			switch {
			case rec.status >= http.StatusInternalServerError:
				return nil, errUndone
			case rec.status >= http.StatusMultipleChoices:
				return nil, nil
			}
			return rec.keep()
		})
		if err == nil && replayed {
			rec.Header().Set(replayHeader, "true")
			err = rec.restore(kept)
		}
		if err != nil && !errors.Is(err, errUndone) {
			s.problem(w, r, err)
			return
		}
		rec.send()
	})
}

// requestHash tells requests apart by what they ask for.
func requestHash(r *http.Request) []byte {
	h := sha256.New()
	h.Write([]byte(r.Method + " " + r.URL.EscapedPath() + "\n"))
	h.Write(routedOf(r).body)
	return h.Sum(nil)
}

// whole is the place of the operation, with an account that only the body names.
func (o *routed) whole() tenants.Place {
	at := o.place()
	if at == (tenants.Place{}) && len(o.body) > 0 {
		var in struct {
			AccountID tenants.AccountID `json:"account_id"`
		}
		if json.Unmarshal(o.body, &in) == nil { // it was checked before
			at.Account = in.AccountID
		}
	}
	return at
}
