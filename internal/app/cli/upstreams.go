package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) webhookSecretsCommand() *cobra.Command {
	type secret = client.WebhookSecret
	var overlap time.Duration
	rotate := p.acting(p.ofTenants, "rotate", "Make the webhook secret, or replace it; it is shown once", "  signalbox webhook-secrets rotate --overlap 24h", none(), func(q asked) error {
		s, err := seconds("overlap", overlap)
		if err != nil {
			return err
		}
		made, err := q.api.RotateWebhookSecretWithResponse(q, q.of, client.RotateWebhookSecretRequest{OverlapSeconds: &s})
		if err != nil {
			return err
		}
		w := made.JSON201
		return p.show(w, w.Secret, field{"id", w.ID}, field{"secret", w.Secret + "   (shown once)"}, field{"created", moment(w.CreatedAt)})
	}, "rotateWebhookSecret")
	overlapFlag(rotate, &overlap, 24*time.Hour, "how `long` the former secret signs, too, at most 168h")
	return group("webhook-secrets", "What signs requests to upstreams in native mode",
		listed(p, lister[secret]{
			use: "list", short: "List the secrets without what is secret", example: "  signalbox webhook-secrets list", in: p.ofTenants,
			page: func(q asked) ([]secret, *string, error) {
				page, err := q.api.ListWebhookSecretsWithResponse(q, q.of, &client.ListWebhookSecretsParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.WebhookSecrets, page.JSON200.NextCursor, nil
			},
			id: func(s secret) string { return s.ID },
			columns: []column[secret]{
				{"ID", func(s secret) string { return s.ID }}, {"ENDS WITH", func(s secret) string { return s.Hint }}, {"CREATED", func(s secret) string { return moment(s.CreatedAt) }}, {"SIGNS UNTIL", func(s secret) string { return moments(s.ExpiresAt) }},
			},
		}, "listWebhookSecrets"), rotate)
}

// deliveryFlags narrow the log of deliveries.
type deliveryFlags struct{ hub, event, outcome, from, to string }

func (f *deliveryFlags) params(q asked) (*client.ListUpstreamDeliveriesParams, error) {
	in := &client.ListUpstreamDeliveriesParams{Cursor: q.after, Limit: q.limit, Hub: filled(f.hub), Event: filled(f.event)}
	if f.outcome != "" {
		in.Outcome = new(client.DeliveryOutcome(f.outcome))
	}
	var err error
	in.From, in.To, err = span2(f.from, f.to)
	return in, err
}

// span2 reads the times of --from and --to; nil = not said.
func span2(from, to string) (begin, end *time.Time, err error) {
	if begin, err = maybe("from", from); err == nil {
		end, err = maybe("to", to)
	}
	return begin, end, err
}

func maybe(name, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := past(name, text)
	return &t, err
}

func spanFlags(c *cobra.Command, from, to *string) {
	c.Flags().StringVar(from, "from", "", "from this `time` on: 90m, 24h or 7d ago, or as 2030-01-31T12:00:00Z")
	c.Flags().StringVar(to, "to", "", "up to this `time`")
}

func (p *program) deliveriesCommand() *cobra.Command {
	type delivery = client.UpstreamDelivery
	var f deliveryFlags
	all := listed(p, lister[delivery]{
		use: "list", short: "List what was posted to upstreams of late, and what came of it", example: "  signalbox deliveries list --outcome failed --from 1h", in: p.ofTenants,
		page: func(q asked) ([]delivery, *string, error) {
			in, err := f.params(q)
			if err != nil {
				return nil, nil, err
			}
			page, err := q.api.ListUpstreamDeliveriesWithResponse(q, q.of, in)
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Deliveries, page.JSON200.NextCursor, nil
		},
		id: func(d delivery) string { return d.ID },
		columns: []column[delivery]{
			{"ID", func(d delivery) string { return d.ID }}, {"AT", func(d delivery) string { return moment(d.At) }}, {"HUB", func(d delivery) string { return d.Hub }},
			{"EVENT", func(d delivery) string { return d.Category + " " + d.Event }}, {"OUTCOME", func(d delivery) string { return string(d.Outcome) }}, {"STATUS", statusOf},
			{"ATTEMPT", func(d delivery) string { return number(d.Attempt) }}, {"MS", func(d delivery) string { return number(d.DurationMs) }}, {"URL", func(d delivery) string { return d.URL }},
		},
	}, "listUpstreamDeliveries")
	all.Flags().StringVar(&f.hub, "hub", "", "of this `hub`")
	all.Flags().StringVar(&f.event, "event", "", "of this `event`: connected, disconnected, or a method")
	all.Flags().StringVar(&f.outcome, "outcome", "", "with this `outcome`: delivered, failed or retried")
	spanFlags(all, &f.from, &f.to)
	return group("deliveries", "The log of what was posted to upstreams", all,
		p.acting(p.ofTenants, "replay ID", "Send a delivery again", "  signalbox deliveries replay 01J8ZQ4A", exactly(1), func(q asked) error {
			r, err := q.api.ReplayUpstreamDeliveryWithResponse(q, q.of, q.args[0])
			if err != nil {
				return err
			}
			d := *r.JSON200
			return p.show(d, d.ID, field{"delivery", d.ID}, field{"outcome", string(d.Outcome)}, field{"status", statusOf(d)}, field{"error", value(d.Error)}, field{"url", d.URL}, field{"took", number(d.DurationMs) + " ms"})
		}, "replayUpstreamDelivery"))
}

func statusOf(d client.UpstreamDelivery) string {
	if d.Status == nil {
		return value(d.Error)
	}
	return strconv.Itoa(*d.Status)
}
