package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// metered is what the usage ledger says of a tenant, of the last two hours.
type metered struct {
	Accepted int            // messages
	Refused  map[string]int // by code
}

// ledger asks the api for a tenant's usage until holds is satisfied, which what edges
// count reaches some seconds later. It returns what was said last.
func (w *world) ledger(ctx context.Context, of *tenant, patience time.Duration, holds func(metered) bool) (l metered, err error) {
	now := time.Now().UTC()
	path := "/v1/tenants/" + of.slug + "/usage?step=hour&from=" + now.Add(-2*time.Hour).Format(time.RFC3339) + "&to=" + now.Add(time.Hour).Format(time.RFC3339)
	said := ""
	err = await(ctx, patience, "the ledger", func() bool {
		status, body, err := w.askFor(ctx, of.plan, http.MethodGet, path, "")
		if err != nil || status != http.StatusOK {
			said = fmt.Sprintf("%d %.200s %v", status, body, err)
			return false
		}
		var report struct {
			Points []struct {
				Values struct {
					Accepted int            `json:"messages_accepted"`
					Refused  map[string]int `json:"refused"`
				} `json:"values"`
			} `json:"points"`
		}
		if err := json.Unmarshal(body, &report); err != nil {
			said = err.Error()
			return false
		}
		l = metered{Refused: make(map[string]int)}
		for _, p := range report.Points {
			l.Accepted += p.Values.Accepted
			for code, n := range p.Values.Refused {
				l.Refused[code] += n
			}
		}
		return holds(l)
	})
	if err != nil && l.Refused == nil {
		err = fmt.Errorf("%w, which says %s", err, said)
	}
	return l, err
}
