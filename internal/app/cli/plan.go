package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) showPlan(s *client.PlanState) error {
	fields := []field{
		{"plan", s.Plan + " since " + moment(s.Since)}, {"period", moment(s.From) + " to " + moment(s.To)},
		{"tenants", fmt.Sprintf("%d of %d", s.Tenants, s.MaxTenants)}, {"members", fmt.Sprintf("%d of %d", s.Members, s.MaxMembers)},
	}
	if s.NextPlan != nil && s.NextPlanAt != nil {
		fields = append(fields, field{"then", *s.NextPlan + " from " + moment(*s.NextPlanAt)})
	}
	return p.show(s, s.Plan, fields...)
}

func (p *program) planCommand() *cobra.Command {
	var plan string
	var atEnd bool
	set := p.acting(p.inAccount, "set", "Change the account's plan, or take back a change that is to come", "  signalbox plan set --plan pro --yes\n  signalbox plan set --plan free --at-period-end", none(), func(q asked) error {
		in := client.PlanChange{Plan: plan}
		if atEnd {
			end := client.PeriodEnd
			in.Effective = &end
		}
		now, err := q.api.GetPlanWithResponse(q, q.of)
		if err != nil {
			return err
		}
		if !atEnd && plan != now.JSON200.Plan { // else a change that is to come is taken back
			if err := p.confirm("change the plan from %s to %s at once", now.JSON200.Plan, plan); err != nil {
				return err
			}
		}
		s, err := q.api.PutPlanWithResponse(q, q.of, in, unchanged(now.HTTPResponse))
		if err != nil {
			return err
		}
		return p.showPlan(s.JSON200)
	}, "putPlan", "getPlan", "getSession")
	set.Flags().StringVar(&plan, "plan", "", "the id of a `plan`, as plans list has it")
	set.Flags().BoolVar(&atEnd, "at-period-end", false, "from the next period on; else at once")
	_ = set.MarkFlagRequired("plan")
	return group("plan", "The plan that an account has",
		p.acting(p.inAccount, "show", "Show the plan, and the one that follows", "  signalbox plan show", none(), func(q asked) error {
			s, err := q.api.GetPlanWithResponse(q, q.of)
			if err != nil {
				return err
			}
			return p.showPlan(s.JSON200)
		}, "getPlan", "getSession"), set)
}
