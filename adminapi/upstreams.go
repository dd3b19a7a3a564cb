package adminapi

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/signalbox/signalbox/tenants"
)

// ListWebhookSecrets implements ServerInterface.
func (s *server) ListWebhookSecrets(w http.ResponseWriter, r *http.Request, ref TenantPath, params ListWebhookSecretsParams) {
	secrets, err := s.tenants.WebhookSecrets(r.Context(), callerOf(r), ref)
	page, next, err := paged(err, newestSecrets, secrets, params.Cursor, params.Limit)
	answer := WebhookSecretList{WebhookSecrets: make([]WebhookSecret, 0, len(page)), NextCursor: next}
	for _, k := range page {
		answer.WebhookSecrets = append(answer.WebhookSecrets, WebhookSecret{ID: k.ID, Hint: k.Hint, CreatedAt: k.CreatedAt.UTC(), ExpiresAt: optional(k.Expires)})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// newestSecrets has the one in use first: it is the last that was made.
var newestSecrets = order[tenants.WebhookSecret]{
	list: "webhook_secrets", down: true, place: func(k tenants.WebhookSecret) []string { return []string{moment(k.CreatedAt), k.ID} },
}

// RotateWebhookSecret implements ServerInterface.
func (s *server) RotateWebhookSecret(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[RotateWebhookSecretRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	overlap := tenants.DefaultOverlapSeconds
	if in.OverlapSeconds != nil {
		overlap = *in.OverlapSeconds
	}
	made, err := s.tenants.RotateWebhookSecret(r.Context(), callerOf(r), ref, overlap)
	s.answer(w, r, http.StatusCreated, WebhookSecretOnce{ID: made.ID, Secret: made.Secret.Reveal(), CreatedAt: made.CreatedAt.UTC()}, err)
}

// ListUpstreamDeliveries implements ServerInterface.
func (s *server) ListUpstreamDeliveries(w http.ResponseWriter, r *http.Request, ref TenantPath, params ListUpstreamDeliveriesParams) {
	page, next, err := s.tenants.Deliveries(r.Context(), callerOf(r), ref, tenants.DeliveryQuery{
		Hub: value(params.Hub), Event: value(params.Event), Outcome: tenants.DeliveryOutcome(value(params.Outcome)),
		From: value(params.From), To: value(params.To), Cursor: value(params.Cursor), Limit: value(params.Limit),
	})
	answer := UpstreamDeliveryList{Deliveries: make([]UpstreamDelivery, 0, len(page)), NextCursor: given(next)}
	for _, d := range page {
		answer.Deliveries = append(answer.Deliveries, delivery(d))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// ReplayUpstreamDelivery implements ServerInterface.
func (s *server) ReplayUpstreamDelivery(w http.ResponseWriter, r *http.Request, ref TenantPath, id string) {
	d, err := s.tenants.ReplayDelivery(r.Context(), callerOf(r), ref, id)
	s.answer(w, r, http.StatusOK, delivery(d), err)
}

func delivery(d tenants.Delivery) UpstreamDelivery {
	return UpstreamDelivery{
		ID: d.ID, At: d.At.UTC(), Hub: d.Hub, Category: d.Category, Event: d.Event, Mode: UpstreamMode(d.Mode), MessageID: given(d.MessageID),
		ConnectionID: d.ConnectionID, UserID: given(d.UserID), URL: d.URL, Attempt: d.Attempt, Outcome: DeliveryOutcome(d.Outcome),
		Status: given(d.Status), Error: given(d.Error), DurationMs: d.DurationMS, Request: content(d.Request), Response: content(d.Response),
		ReplayOf: given(d.ReplayOf), Replayable: d.Replayable(),
	}
}

// content shows the beginning of a body, as text where it is.
func content(c tenants.DeliveryContent) DeliveryContent {
	shown := DeliveryContent{ContentType: given(c.Type), Bytes: c.Bytes, Truncated: len(c.Body) < c.Bytes}
	text := c.Body
	if shown.Truncated {
		text = wholeRunes(text)
	}
	if utf8.Valid(text) {
		shown.Text = given(string(text))
	} else {
		shown.Base64 = given(base64.StdEncoding.EncodeToString(c.Body))
	}
	return shown
}

// wholeRunes cuts off the beginning of a character whose rest is missing.
func wholeRunes(b []byte) []byte {
	for cut := 1; cut < utf8.UTFMax && cut <= len(b); cut++ {
		if start := b[len(b)-cut]; utf8.RuneStart(start) {
			if !utf8.FullRune(b[len(b)-cut:]) {
				return b[:len(b)-cut]
			}
			break
		}
	}
	return b
}

// upstreamOf reads an upstream; nil stays nil.
func upstreamOf(u *Upstream) *tenants.Upstream {
	if u == nil {
		return nil
	}
	read := &tenants.Upstream{Mode: tenants.UpstreamMode(value(u.Mode)), TimeoutSeconds: value(u.TimeoutSeconds), ReconnectSeconds: value(u.ReconnectSeconds)}
	for _, r := range value(u.Rules) {
		read.Rules = append(read.Rules, tenants.UpstreamRule{URL: r.URL, Hub: value(r.Hub), Category: value(r.Category), Event: value(r.Event)})
	}
	return read
}

// shownUpstream shows an upstream with its defaults; nil when there is none.
// Without secrets the queries of its URLs, which often are keys, are left out.
func shownUpstream(u *tenants.Upstream, secrets bool) *Upstream {
	if !u.Set() {
		return nil
	}
	d := u.WithDefaults()
	mode := UpstreamMode(d.Mode)
	rules := make([]UpstreamRule, 0, len(d.Rules))
	for _, r := range d.Rules {
		if address, _, ok := strings.Cut(r.URL, "?"); ok && !secrets {
			r.URL = address + "?hidden"
		}
		rules = append(rules, UpstreamRule{URL: r.URL, Hub: given(r.Hub), Category: given(r.Category), Event: given(r.Event)})
	}
	return &Upstream{Mode: &mode, Rules: &rules, TimeoutSeconds: &d.TimeoutSeconds, ReconnectSeconds: &d.ReconnectSeconds}
}

// given returns a pointer to v, or nil for the zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
