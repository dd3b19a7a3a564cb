package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

// auditFlags narrow the audit log.
type auditFlags struct{ from, to, by, action, tenant string }

func (f *auditFlags) add(c *cobra.Command) *cobra.Command {
	spanFlags(c, &f.from, &f.to)
	c.Flags().StringVar(&f.by, "by", "", "what this `actor` did: the id of a user, operator or API token, or its name")
	c.Flags().StringVar(&f.action, "action", "", "this `action`, as tenant.suspended, or all that begin alike, as tenant")
	c.Flags().StringVar(&f.tenant, "of-tenant", "", "what concerns this `tenant`, by id")
	return c
}

func (p *program) auditCommand() *cobra.Command {
	return group("audit", "Who did what, and proof that the log is what it was", p.auditListCommand(), p.auditExportCommand(), p.auditVerifyCommand())
}

func (p *program) auditListCommand() *cobra.Command {
	type event = client.AuditEvent
	var f auditFlags
	own := false
	c := f.add(listed(p, lister[event]{
		usual: 50, use: "list", short: "List what was done in an account, the newest first", example: "  signalbox audit list --from 24h --action tenant\n  signalbox audit list --own",
		in: func(ctx context.Context) (*client.ClientWithResponses, string, error) {
			if own {
				return p.ofCaller(ctx)
			}
			return p.inAccount(ctx)
		},
		page: func(q asked) ([]event, *string, error) {
			begin, end, err := span2(f.from, f.to)
			if err != nil {
				return nil, nil, err
			}
			if own {
				page, err := q.api.ListOwnAuditEventsWithResponse(q, &client.ListOwnAuditEventsParams{From: begin, To: end, Actor: filled(f.by), Action: filled(f.action), Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.Events, page.JSON200.NextCursor, nil
			}
			page, err := q.api.ListAuditEventsWithResponse(q, q.of, &client.ListAuditEventsParams{
				From: begin, To: end, Actor: filled(f.by), Action: filled(f.action), Tenant: filled(f.tenant), Cursor: q.after, Limit: q.limit,
			})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Events, page.JSON200.NextCursor, nil
		},
		id: func(e event) string { return number(e.Number) },
		columns: []column[event]{
			{"NUMBER", func(e event) string { return number(e.Number) }}, {"AT", func(e event) string { return moment(e.At) }}, {"ACTION", func(e event) string { return e.Action }},
			{"WHO", whoActed}, {"WHAT", func(e event) string { return e.Subject }}, {"ADDRESS", func(e event) string { return e.IP }}, {"REQUEST", func(e event) string { return e.RequestID }},
		},
	}, "listAuditEvents", "listOwnAuditEvents", "getSession"))
	c.Flags().BoolVar(&own, "own", false, "what concerns you and no account, as signing in")
	return c
}

func whoActed(e client.AuditEvent) string {
	who := string(e.Actor)
	switch {
	case value(e.ActorName) != "":
		who += " " + *e.ActorName
	case value(e.ActorID) != "":
		who += " " + *e.ActorID
	}
	if e.APITokenID != nil {
		who += " with a token"
	}
	return who
}

func (p *program) auditExportCommand() *cobra.Command {
	var f auditFlags
	var format string
	var after int64
	var most int
	c := f.add(p.acting(p.inAccount, "export", "Download the audit log with the hashes by which it can be verified", "  signalbox audit export --from 7d --format csv", none(), func(q asked) error {
		begin, end, err := span2(f.from, f.to)
		if err != nil {
			return err
		}
		in := &client.ExportAuditParams{From: begin, To: end, Actor: filled(f.by), Action: filled(f.action), Tenant: filled(f.tenant), After: filled(after), Most: filled(most)}
		if format != "" {
			in.Format = new(client.AuditFormat(format))
		}
		res, err := q.api.ExportAudit(q, q.of, in)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if _, err := io.Copy(p.Out, res.Body); err != nil {
			return fmt.Errorf("the download broke off: %w", err)
		}
		return nil
	}, "exportAudit", "getSession"))
	c.Flags().StringVar(&format, "format", "", "`format`: jsonl or csv; jsonl when left out")
	c.Flags().Int64Var(&after, "after", 0, "begin behind the event of this `number`, to go on where a file has ended")
	c.Flags().IntVar(&most, "most", 0, "at most this many `events`")
	return c
}

// verifyStep is how many events are verified with one request at most.
const verifyStep = 200_000

// verifyInSteps verifies a whole log, one part after the other; each step has to follow
// the one before, and the head noted before to be in the one that reaches it.
func verifyInSteps(q asked, number64 int64, hash string) (*client.AuditVerification, error) {
	in := &client.VerifyAuditParams{Number: filled(number64), Hash: filled(hash), Most: new(verifyStep)}
	events := int64(0)
	for {
		answer, err := q.api.VerifyAuditWithResponse(q, q.of, in)
		if err != nil {
			return nil, err
		}
		v := answer.JSON200
		if events += v.Events; v.Complete || !v.Intact {
			v.Events = events
			return v, nil
		}
		in.After, in.AfterHash = &v.HeadNumber, &v.HeadHash
		if v.HeadNumber >= number64 {
			in.Number, in.Hash = nil, nil // it was passed
		}
	}
}

// errBroken is why a verification ends badly.
var errBroken = errors.New("the audit log is not what it was")

func (p *program) auditVerifyCommand() *cobra.Command {
	var number64 int64
	var hash string
	c := p.acting(p.inAccount, "verify", "Read and hash every event of the audit log; with a head noted before, that it is still in it", "  signalbox audit verify", none(), func(q asked) error {
		v, err := verifyInSteps(q, number64, hash)
		if err != nil {
			return err
		}
		if err := p.show(v, v.HeadHash, field{"intact", yes(v.Intact)}, field{"events", number(v.Events)}, field{"head", number(v.HeadNumber) + " " + v.HeadHash},
			field{"broken at", numbers(v.BrokenNumber)}, field{"because", value(v.BrokenReason)}); err != nil {
			return err
		}
		if !v.Intact {
			return errBroken
		}
		return nil
	}, "verifyAudit", "getSession")
	c.Flags().Int64Var(&number64, "number", 0, "`number` of a head that was noted before")
	c.Flags().StringVar(&hash, "hash", "", "its `hash`")
	return c
}
