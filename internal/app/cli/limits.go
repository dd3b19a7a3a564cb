package cli

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) limitsCommand() *cobra.Command {
	return group("limits", "A tenant's limits: what is in force, why, and how much of it is used",
		p.limitsListCommand(), p.limitsShowCommand(), p.limitsSetCommand(), p.limitsResetCommand())
}

func (p *program) limitsListCommand() *cobra.Command {
	var hit bool
	c := operations(&cobra.Command{
		Use: "list", Short: "List every limit with its source, use, peak and last hit", Example: "  signalbox limits list --hit", Args: none(),
		RunE: func(c *cobra.Command, _ []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			all, err := api.GetLimitsWithResponse(c.Context(), tenant)
			if err != nil {
				return err
			}
			limits := all.JSON200.Limits
			if hit {
				limits = slices.DeleteFunc(limits, func(l client.Limit) bool { return l.LastHitAt == nil && value(l.WouldRefuse) == 0 })
			}
			type col = column[client.Limit]
			return list(p, limits, func(l client.Limit) string { return l.Limit },
				col{"LIMIT", func(l client.Limit) string { return l.Limit }}, col{"MAX", func(l client.Limit) string { return number(l.Max) }},
				col{"SOURCE", sourceOf}, col{"UNTIL", untilOf}, col{"USED", func(l client.Limit) string { return numbers(l.Used) }},
				col{"PEAK", func(l client.Limit) string { return numbers(l.Peak) }}, col{"REFUSED", func(l client.Limit) string { return numbers(l.Refused) }},
				col{"WOULD REFUSE", func(l client.Limit) string { return numbers(l.WouldRefuse) }}, col{"LAST HIT", func(l client.Limit) string { return moments(l.LastHitAt) }})
		},
	}, "getLimits")
	c.Flags().BoolVar(&hit, "hit", false, "only those that were hit today")
	return c
}

// sourceOf says where a limit's value comes from.
func sourceOf(l client.Limit) string {
	source := string(l.Source)
	if l.OverrideBy != nil {
		source += " by " + string(*l.OverrideBy)
	}
	if l.Override != nil && value(l.Override.DryRun) {
		source += ", dry run"
		if l.Override.Max != nil {
			source += " of " + number(*l.Override.Max)
		}
	}
	return source
}

func untilOf(l client.Limit) string {
	if l.Override == nil {
		return ""
	}
	return moments(l.Override.ExpiresAt)
}

func (p *program) showLimit(l *client.Limit) error {
	return p.show(l, l.Limit,
		field{"limit", l.Limit}, field{"", l.Title}, field{"in force", number(l.Max) + " " + l.Unit}, field{"source", sourceOf(*l)}, field{"until", untilOf(*l)},
		field{"of the plan", number(l.PlanMax)}, field{"can be set to", number(l.Lowest) + " to " + number(l.Highest)}, field{"dry run", yes(l.CanDryRun)},
		field{"counted by", string(l.Scope)}, field{"kind", string(l.Kind)}, field{"used now", numbers(l.Used)}, field{"peak today", numbers(l.Peak)},
		field{"refused today", numbers(l.Refused)}, field{"would refuse today", numbers(l.WouldRefuse)}, field{"last hit", moments(l.LastHitAt)},
		field{"code", value(l.Code)}, field{"read", value(l.Doc)})
}

func (p *program) limitsShowCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "show LIMIT", Short: "Show one limit", Example: "  signalbox limits show messages_per_second", Args: exactly(1), ValidArgsFunction: p.completeLimits,
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			l, err := api.GetLimitWithResponse(c.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			return p.showLimit(l.JSON200)
		},
	}, "getLimit")
}

func (p *program) limitsSetCommand() *cobra.Command {
	var dryRun bool
	var until string
	c := operations(&cobra.Command{
		Use: "set LIMIT [MAX]", Short: "Put a value of the tenant's own in the place of the plan's, or try one out", Args: between(1, 2), ValidArgsFunction: p.completeLimits,
		Long: `Put a value of the tenant's own in the place of the plan's: lower for as long as you
like, up to twice the plan's value for up to 31 days. It is in force on every edge and
every live connection within a second, and ends by itself.

A dry run refuses nothing and counts what the value would have refused.`,
		Example: "  signalbox limits set messages_per_second 200 --until 24h\n  signalbox limits set max_connections 50 --dry-run --until 7d",
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			var in client.LimitOverride
			if len(args) == 2 {
				n, err := strconv.ParseInt(args[1], 10, 64)
				if err != nil {
					return usage("MAX is %q: accepted is a whole number", args[1])
				}
				in.Max = &n
			} else if !dryRun {
				return usage("say MAX; only a dry run of the plan's value leaves it out")
			}
			in.DryRun = filled(dryRun)
			if until != "" {
				at, err := future("until", until)
				if err != nil {
					return err
				}
				in.ExpiresAt = &at
			}
			l, err := api.PutLimitWithResponse(c.Context(), tenant, args[0], in)
			if err != nil {
				return err
			}
			return p.showLimit(l.JSON200)
		},
	}, "putLimit")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "refuse nothing by it, count what it would have refused")
	c.Flags().StringVar(&until, "until", "", "`when` the plan's value is back: 90m, 24h, 7d, or a time as 2030-01-31T12:00:00Z")
	return c
}

func (p *program) limitsResetCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "reset LIMIT", Short: "Put the plan's value back", Example: "  signalbox limits reset messages_per_second", Args: exactly(1), ValidArgsFunction: p.completeLimits,
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			if _, err := api.DeleteLimitWithResponse(c.Context(), tenant, args[0]); err != nil {
				return err
			}
			return p.done("Limit %s has the plan's value.", args[0])
		},
	}, "deleteLimit")
}

// span reads a duration, with days too: 90s, 24h, 7d.
func span(name, text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, usage("--%s is %q: accepted is a span as 90s, 24h or 7d, or a time as 2030-01-31T12:00:00Z", name, text)
	}
	return d, nil
}

// future and past read a time, or a span from now.
func future(name, text string) (time.Time, error) { return around(name, text, 1) }

func past(name, text string) (time.Time, error) { return around(name, text, -1) }

func around(name, text string, direction time.Duration) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	d, err := span(name, text)
	return time.Now().Add(direction * d).UTC().Truncate(time.Second), err
}
