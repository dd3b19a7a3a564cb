package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
	hubclient "github.com/signalbox/signalbox/hubs/client"
	"github.com/signalbox/signalbox/hubs/protocol"
)

func (p *program) usageCommand() *cobra.Command {
	return group("usage", "What was used, and the ledger that proves it",
		p.usageShowCommand(), p.usageTopCommand(), p.usageActivityCommand(), p.usageWatchCommand(), p.usageLedgerCommand(), p.usageStatementCommand())
}

func stepFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "step", "hour", "`step` of time: minute, hour or day")
	_ = c.RegisterFlagCompletionFunc("step", cobra.FixedCompletions([]string{"minute", "hour", "day"}, cobra.ShellCompDirectiveNoFileComp))
}

// pointColumns are those of a table of usage.
var pointColumns = []column[client.UsagePoint]{
	{"FROM", func(u client.UsagePoint) string { return moment(u.At) }}, {"ACCEPTED", func(u client.UsagePoint) string { return number(u.Values.MessagesAccepted) }},
	{"DELIVERED", func(u client.UsagePoint) string { return number(u.Values.MessagesDelivered) }}, {"BYTES OUT", func(u client.UsagePoint) string { return number(u.Values.DeliveredBytes) }},
	{"BYTES IN", func(u client.UsagePoint) string { return number(u.Values.ReceivedBytes) }}, {"CONNECTION MINUTES", func(u client.UsagePoint) string { return number(u.Values.ConnectionMinutes) }},
	{"PEAK CONNECTIONS", func(u client.UsagePoint) string { return number(u.Values.PeakConnections) }}, {"REFUSED", func(u client.UsagePoint) string { return refusals(u.Values.Refused) }},
}

// refusals shows counts by code.
func refusals(counts map[string]int64) string {
	var all []string
	for code, n := range counts {
		all = append(all, code+" "+number(n))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (p *program) usageShowCommand() *cobra.Command {
	var from, to, step string
	c := p.acting(p.ofTenants, "show", "What a tenant used over time, and against its plan", "  signalbox usage show --from 1h --step minute", none(), func(q asked) error {
		begin, end, err := span2(from, to)
		if err != nil {
			return err
		}
		answer, err := q.api.GetUsageWithResponse(q, q.of, &client.GetUsageParams{From: begin, To: end, Step: new(client.UsageStep(step))})
		if err != nil {
			return err
		}
		u := answer.JSON200
		if p.flags.quiet || p.flags.output == formatJSON {
			return p.show(u, number(u.Totals.Messages))
		}
		if err := list(p, u.Points, func(client.UsagePoint) string { return "" }, pointColumns...); err != nil {
			return err
		}
		m := u.Month
		return p.show(nil, "", field{"", ""},
			field{"in this time", fmt.Sprintf("%d messages: %d accepted, %d delivered", u.Totals.Messages, u.Totals.MessagesAccepted, u.Totals.MessagesDelivered)},
			field{"refused", refusals(u.Totals.Refused)},
			field{"this period", fmt.Sprintf("%s to %s, plan %s", moment(m.From), moment(m.To), m.Plan)},
			field{"messages", fmt.Sprintf("%d of this tenant, %d of the account, %d allowed", m.Messages, m.AccountMessages, m.MessagesAllowed)},
			field{"connection minutes", fmt.Sprintf("%d of this tenant, %d of the account, %d allowed", m.ConnectionMinutes, m.AccountConnectionMinutes, m.ConnectionMinutesAllowed)})
	}, "getUsage")
	spanFlags(c, &from, &to)
	stepFlag(c, &step)
	return c
}

func (p *program) usageTopCommand() *cobra.Command {
	var from, to, step string
	c := p.acting(p.ofTenants, "top BY", "What messages were accepted and delivered for, the largest first: by hub, group, user, method or key", "  signalbox usage top group --from 24h", exactly(1), func(q asked) error {
		begin, end, err := span2(from, to)
		if err != nil {
			return err
		}
		answer, err := q.api.GetUsageTopWithResponse(q, q.of, &client.GetUsageTopParams{By: client.UsageDimension(q.args[0]), From: begin, To: end, Step: new(client.UsageStep(step))})
		if err != nil {
			return err
		}
		top := answer.JSON200
		if p.flags.output == formatJSON && !p.flags.quiet {
			return p.json(top)
		}
		type row = client.UsageTopValue
		rows := slices.Clone(top.Values)
		if !p.flags.quiet {
			rows = append(rows,
				row{Value: "(other)", MessagesAccepted: top.Other.MessagesAccepted, MessagesDelivered: top.Other.MessagesDelivered},
				row{Value: "(total)", MessagesAccepted: top.Total.MessagesAccepted, MessagesDelivered: top.Total.MessagesDelivered})
		}
		return list(p, rows, func(r row) string { return r.Value },
			column[row]{strings.ToUpper(q.args[0]), func(r row) string { return r.Value }}, column[row]{"ACCEPTED", func(r row) string { return number(r.MessagesAccepted) }},
			column[row]{"DELIVERED", func(r row) string { return number(r.MessagesDelivered) }})
	}, "getUsageTop")
	c.ValidArgsFunction = cobra.FixedCompletions([]string{"hub", "group", "user", "method", "key"}, cobra.ShellCompDirectiveNoFileComp)
	spanFlags(c, &from, &to)
	stepFlag(c, &step)
	return c
}

func (p *program) usageActivityCommand() *cobra.Command {
	return p.acting(p.ofTenants, "activity", "Whether anything has connected and been published, and what is connected now", "  signalbox usage activity", none(), func(q asked) error {
		answer, err := q.api.GetActivityWithResponse(q, q.of)
		if err != nil {
			return err
		}
		a := answer.JSON200
		return p.show(a, number(a.ConnectionsNow), field{"connections now", number(a.ConnectionsNow)}, field{"first connection", moments(a.FirstConnectionAt)},
			field{"first message", moments(a.FirstMessageAt)}, field{"last message", moments(a.LastMessageAt)})
	}, "getActivity")
}

// usageWatchCommand shows usage as it happens: the console's own live connection.
func (p *program) usageWatchCommand() *cobra.Command {
	var count int
	c := p.acting(p.ofTenants, "watch", "Print usage and activity as they happen, a JSON object a line", "  signalbox usage watch", none(), func(q asked) error {
		answer, err := q.api.CreateLiveConnectionWithResponse(aside(q), q.of)
		if err != nil {
			return err
		}
		conn, err := hubclient.Dial(q, hubclient.Config{URL: answer.JSON200.URL, Token: answer.JSON200.Token, UserAgent: p.userAgent(), HTTP: p.client})
		if err != nil {
			return err
		}
		defer conn.Abort()
		p.say("usage: connected")
		for printed := 0; count == 0 || printed < count; {
			m, err := conn.Next(q)
			switch {
			case q.Err() != nil:
				return context.Canceled
			case err != nil:
				return lostError(err)
			case m.Type == protocol.Ping:
				// Each is answered by one, which is often enough.
				if err := conn.Send(q, &protocol.Message{Type: protocol.Ping}); err != nil {
					return lostError(err)
				}
			case m.Type == protocol.Close:
				return &closedError{printable(m.Error), m.AllowReconnect}
			case m.Type == protocol.Invocation:
				if err := p.printLive(m); err != nil {
					return err
				}
				printed++
			}
		}
		return nil
	}, "createLiveConnection")
	c.Flags().IntVar(&count, "count", 0, "end after so `many` lines")
	return c
}

func (p *program) printLive(m *protocol.Message) error {
	for e := range protocol.Elements(m.Arguments) {
		line, err := json.Marshal(map[string]json.RawMessage{m.Target: e.Bytes})
		if err != nil {
			return fmt.Errorf("read %s: %w", m.Target, err)
		}
		return p.line(string(line))
	}
	return nil
}

func (p *program) usageLedgerCommand() *cobra.Command {
	var from, to, kind, format string
	var whole bool
	in := func(ctx context.Context) (*client.ClientWithResponses, string, error) {
		if whole {
			return p.inAccount(ctx)
		}
		return p.inTenant()
	}
	c := p.acting(in, "ledger", "Download the ledger of a tenant, or of the account with all tenants that it had", "  signalbox usage ledger --from 7d --format csv\n  signalbox usage ledger --whole-account -o json", none(), func(q asked) error {
		begin, end, err := span2(from, to)
		if err != nil {
			return err
		}
		var of *client.LedgerKind
		if kind != "" {
			of = new(client.LedgerKind(kind))
		}
		switch format {
		case "":
		case "csv":
			return p.download(q, whole, begin, end, of)
		default:
			return usage("--format is %q: accepted is csv, or none; -o json prints JSON", format)
		}
		var ledger *client.Ledger
		if whole {
			answer, err := q.api.GetAccountLedgerWithResponse(q, q.of, &client.GetAccountLedgerParams{From: begin, To: end, Kind: of})
			if err != nil {
				return err
			}
			ledger = answer.JSON200
		} else {
			answer, err := q.api.GetLedgerWithResponse(q, q.of, &client.GetLedgerParams{From: begin, To: end, Kind: of})
			if err != nil {
				return err
			}
			ledger = answer.JSON200
		}
		return p.showLedger(ledger)
	}, "getLedger", "getAccountLedger", "getSession")
	c.Long = `Download the ledger: a row for each hour and hub, never changed, and corrections with a
reason. The rows add up to the totals. A row with the id 0 is of an hour that still counts.`
	c.Flags().BoolVar(&whole, "whole-account", false, "of all tenants that the account has and had")
	c.Flags().StringVar(&kind, "kind", "", "rows of one `kind` alone: usage or correction")
	c.Flags().StringVar(&format, "format", "", "csv: as the service writes it, for a spreadsheet")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"csv"}, cobra.ShellCompDirectiveNoFileComp))
	spanFlags(c, &from, &to)
	return c
}

func (p *program) showLedger(l *client.Ledger) error {
	if p.flags.output == formatJSON && !p.flags.quiet {
		return p.json(l)
	}
	type row = client.LedgerEntry
	if err := list(p, l.Entries, func(r row) string { return number(r.ID) },
		column[row]{"ID", func(r row) string { return number(r.ID) }}, column[row]{"HOUR", func(r row) string { return moment(r.Hour) }}, column[row]{"TENANT", func(r row) string { return r.TenantID }},
		column[row]{"HUB", func(r row) string { return r.Hub }}, column[row]{"KIND", func(r row) string { return string(r.Kind) }}, column[row]{"ACCEPTED", func(r row) string { return number(r.Amounts.MessagesAccepted) }},
		column[row]{"DELIVERED", func(r row) string { return number(r.Amounts.MessagesDelivered) }}, column[row]{"BYTES OUT", func(r row) string { return number(r.Amounts.DeliveredBytes) }},
		column[row]{"CONNECTION SECONDS", func(r row) string { return number(r.Amounts.ConnectionSeconds) }}, column[row]{"REASON", func(r row) string { return value(r.Reason) }}); err != nil || p.flags.quiet {
		return err
	}
	t := l.Totals
	return p.show(nil, "", field{"total", fmt.Sprintf("%d accepted, %d delivered, %d bytes out, %d bytes in, %d connection seconds, %d connections opened",
		t.MessagesAccepted, t.MessagesDelivered, t.DeliveredBytes, t.ReceivedBytes, t.ConnectionSeconds, t.ConnectionsOpened)})
}

// download copies the ledger as CSV. One that breaks off is an error, so that nobody
// adds up a part of it.
func (p *program) download(q asked, whole bool, from, to *time.Time, kind *client.LedgerKind) error {
	format := client.LedgerFormat("csv")
	var res *http.Response
	var err error
	if whole {
		res, err = q.api.GetAccountLedger(q, q.of, &client.GetAccountLedgerParams{From: from, To: to, Kind: kind, Format: &format})
	} else {
		res, err = q.api.GetLedger(q, q.of, &client.GetLedgerParams{From: from, To: to, Kind: kind, Format: &format})
	}
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(p.Out, res.Body); err != nil {
		return fmt.Errorf("the download broke off: %w", err)
	}
	return nil
}

func (p *program) usageStatementCommand() *cobra.Command {
	var at string
	c := p.acting(p.inAccount, "statement", "What an account used in a period of its subscription, and what that costs", "  signalbox usage statement", none(), func(q asked) error {
		in := &client.GetStatementParams{}
		if at != "" {
			t, err := past("at", at)
			if err != nil {
				return err
			}
			in.At = &t
		}
		answer, err := q.api.GetStatementWithResponse(q, q.of, in)
		if err != nil {
			return err
		}
		s := answer.JSON200
		fields := []field{
			{"period", moment(s.From) + " to " + moment(s.To)}, {"final", map[bool]string{true: "yes", false: "no, on " + moment(s.FinalAt)}[s.Final]},
			{"messages", fmt.Sprintf("%d accepted, %d delivered; %d allowed, %d extra", s.Totals.MessagesAccepted, s.Totals.MessagesDelivered, s.MessagesAllowed, s.ExtraMessages)},
			{"connection minutes", fmt.Sprintf("%d allowed, %d extra", s.ConnectionMinutesAllowed, s.ExtraConnectionMinutes)},
		}
		for _, charge := range s.Charges {
			fields = append(fields, field{string(charge.Kind), fmt.Sprintf("%s, %s, of %d", money(charge.Amount, s.Currency), charge.Plan, charge.Quantity)})
		}
		for _, t := range s.Tenants {
			fields = append(fields, field{"tenant " + t.TenantID, fmt.Sprintf("%s: %d accepted, %d delivered", t.Name, t.Amounts.MessagesAccepted, t.Amounts.MessagesDelivered)})
		}
		return p.show(s, number(s.Total), append(fields, field{"total", money(s.Total, s.Currency)})...)
	}, "getStatement", "getSession")
	c.Flags().StringVar(&at, "at", "", "a `time` in the period; now when left out")
	return c
}

// money shows cents.
func money(cents int64, currency string) string {
	return fmt.Sprintf("%d.%02d %s", cents/100, cents%100, strings.ToUpper(currency))
}

func (p *program) showBudget(b *client.BudgetState) error {
	fields := []field{
		{"period", moment(b.From) + " to " + moment(b.To) + ", plan " + b.Plan},
		{"messages", fmt.Sprintf("%d used, budget %s, %d in the plan%s", b.MessagesUsed, orNone(b.Budget.Messages), b.MessagesAllowed, beyond(b.HardMessages))},
		{"connection minutes", fmt.Sprintf("%d used, budget %s, %d in the plan%s", b.ConnectionMinutesUsed, orNone(b.Budget.ConnectionMinutes), b.ConnectionMinutesAllowed, beyond(b.HardConnectionMinutes))},
		{"at 100 %", string(b.Budget.Action)}, {"people are told at", percents(value(b.Budget.Steps))}, {"used up", yes(b.Exceeded)},
	}
	for _, n := range b.Notices {
		fields = append(fields, field{"told " + moment(n.ToldAt), fmt.Sprintf("%d %% of %d %s", n.Step, n.Budget, n.Meter)})
	}
	return p.show(b, string(b.Budget.Action), fields...)
}

// beyond is what becomes of what is more than a plan allows.
func beyond(hard bool) string {
	if hard {
		return ", more is refused"
	}
	return ", more costs its price"
}

// orNone is a limit of a budget.
func orNone(n *int64) string {
	if n == nil {
		return "no limit"
	}
	return number(*n)
}

func percents(steps []int) string {
	texts := make([]string, len(steps))
	for i, s := range steps {
		texts[i] = number(s) + " %"
	}
	return strings.Join(texts, ", ")
}

func (p *program) budgetCommand() *cobra.Command {
	var messages, minutes int64
	var steps []int
	var action string
	var set *cobra.Command
	set = p.acting(p.inAccount, "set", "Change the account's budget; what is left out stays as it is", "  signalbox budget set --messages 5000000 --action refuse_publish --step 50 --step 90 --yes", none(), func(q asked) error {
		now, err := q.api.GetBudgetWithResponse(q, q.of)
		if err != nil {
			return err
		}
		in, given := now.JSON200.Budget, set.Flags().Changed
		if given("messages") {
			in.Messages = filled(messages)
		}
		if given("connection-minutes") {
			in.ConnectionMinutes = filled(minutes)
		}
		if given("step") {
			in.Steps = &steps
		}
		if given("action") {
			in.Action = client.BudgetAction(action)
		}
		if err := p.confirm("set the budget to messages %s, connection minutes %s, and then %s", orNone(in.Messages), orNone(in.ConnectionMinutes), in.Action); err != nil {
			return err
		}
		b, err := q.api.PutBudgetWithResponse(q, q.of, in, unchanged(now.HTTPResponse))
		if err != nil {
			return err
		}
		return p.showBudget(b.JSON200)
	}, "putBudget", "getBudget", "getSession")
	actions := []string{"notify", "refuse_new_connections", "refuse_publish", "read_only", "stop"}
	set.Flags().Int64Var(&messages, "messages", 0, "`messages` in a period, accepted and delivered; 0: no limit")
	set.Flags().Int64Var(&minutes, "connection-minutes", 0, "connection `minutes` in a period; 0: no limit")
	set.Flags().IntSliceVar(&steps, "step", nil, "a `percentage` at which people are told; may be repeated; 50, 80 and 100 when left out")
	set.Flags().StringVar(&action, "action", "", "`what` is refused at 100 %: "+strings.Join(actions, ", "))
	_ = set.RegisterFlagCompletionFunc("action", cobra.FixedCompletions(actions, cobra.ShellCompDirectiveNoFileComp))
	return group("budget", "What an account wants to use in a period, and what happens then",
		p.acting(p.inAccount, "show", "Show the budget, and how much of it is used", "  signalbox budget show", none(), func(q asked) error {
			b, err := q.api.GetBudgetWithResponse(q, q.of)
			if err != nil {
				return err
			}
			return p.showBudget(b.JSON200)
		}, "getBudget", "getSession"), set)
}

func (p *program) plansCommand() *cobra.Command {
	type plan = client.Plan
	return group("plans", "The plans and what they allow", listed(p, lister[plan]{
		use: "list", short: "List the plans, the smallest first", example: "  signalbox plans list", in: p.ofAnybody,
		page: func(q asked) ([]plan, *string, error) {
			page, err := q.api.ListPlansWithResponse(q, &client.ListPlansParams{Cursor: q.after, Limit: q.limit})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Plans, page.JSON200.NextCursor, nil
		},
		id: func(t plan) string { return t.ID },
		columns: []column[plan]{
			{"PLAN", func(t plan) string { return t.ID }}, {"NAME", func(t plan) string { return t.Name }}, {"MESSAGES A MONTH", func(t plan) string { return number(t.MessagesPerMonth) }},
			{"CONNECTION MINUTES A MONTH", func(t plan) string { return number(t.ConnectionMinutesPerMonth) }},
		},
	}, "listPlans"))
}

func (p *program) mailboxCommand() *cobra.Command {
	var to string
	c := p.acting(p.ofAnybody, "mailbox", "Mail that a development server did not send", "  signalbox mailbox --to bob@example.com -q", none(), func(q asked) error {
		answer, err := q.api.GetDevMailboxWithResponse(q)
		if err != nil {
			return err
		}
		type mail = client.Mail
		mails := slices.DeleteFunc(answer.JSON200.Mails, func(m mail) bool { return to != "" && m.To != to })
		return list(p, mails, func(m mail) string { return value(m.Link) },
			column[mail]{"AT", func(m mail) string { return moment(m.CreatedAt) }}, column[mail]{"TO", func(m mail) string { return m.To }},
			column[mail]{"SUBJECT", func(m mail) string { return m.Subject }}, column[mail]{"LINK", func(m mail) string { return value(m.Link) }})
	}, "getDevMailbox")
	c.Long = "Show the mail that a development server did not send, the newest first. With --quiet the links in it."
	c.Flags().StringVar(&to, "to", "", "mail to this `address` alone")
	return c
}
