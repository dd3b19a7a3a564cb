package adminapi

import (
	"net/http"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// GetBudget implements ServerInterface.
func (s *server) GetBudget(w http.ResponseWriter, r *http.Request, account AccountPath) {
	s.answerBudget(w, r, tenants.AccountID(account))
}

// PutBudget implements ServerInterface.
func (s *server) PutBudget(w http.ResponseWriter, r *http.Request, account AccountPath) {
	in, err := body[Budget](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	sub, err := s.tenants.SetBudget(r.Context(), callerOf(r), tenants.AccountID(account), tenants.Budget{
		Messages: value(in.Messages), ConnectionMinutes: value(in.ConnectionMinutes), Steps: value(in.Steps), Action: tenants.BudgetAction(in.Action),
	})
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.answerBudget(w, r, sub.Account)
}

func (s *server) answerBudget(w http.ResponseWriter, r *http.Request, account tenants.AccountID) {
	sub, notices, err := s.tenants.Subscription(r.Context(), callerOf(r), account)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	st, err := s.statements.Statement(r.Context(), sub.Account, time.Time{})
	used := usedIn(st)
	state := BudgetState{
		Budget: Budget{
			Messages: given(sub.Budget.Messages), ConnectionMinutes: given(sub.Budget.ConnectionMinutes),
			Steps: &sub.Budget.Steps, Action: BudgetAction(sub.Budget.Action),
		},
		From: st.From, To: st.To, Plan: sub.Plan, MessagesUsed: used.Messages, ConnectionMinutesUsed: used.ConnectionMinutes,
		MessagesAllowed: sub.MessagesAllowed, ConnectionMinutesAllowed: sub.ConnectionMinutesAllowed,
		HardMessages: sub.HardMessages, HardConnectionMinutes: sub.HardMinutes,
		Exceeded: sub.HardMessages && used.Messages >= sub.MessagesAllowed || sub.HardMinutes && used.ConnectionMinutes >= sub.ConnectionMinutesAllowed ||
			sub.Budget.Messages > 0 && used.Messages >= sub.Budget.Messages ||
			sub.Budget.ConnectionMinutes > 0 && used.ConnectionMinutes >= sub.Budget.ConnectionMinutes,
		Notices: make([]BudgetNotice, 0, len(notices)),
	}
	for _, n := range notices {
		state.Notices = append(state.Notices, BudgetNotice{Meter: BudgetMeter(n.Meter), Budget: n.Budget, Step: n.Step, Used: n.Used, ToldAt: n.ToldAt})
	}
	if err == nil {
		w.Header().Set(etagHeader, settingsTag(sub.Budget))
	}
	s.answer(w, r, http.StatusOK, state, err)
}

// GetStatement implements ServerInterface.
func (s *server) GetStatement(w http.ResponseWriter, r *http.Request, account AccountPath, params GetStatementParams) {
	m, err := s.tenants.Account(r.Context(), callerOf(r), tenants.AccountID(account))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	st, err := s.statements.Statement(r.Context(), m.ID, value(params.At))
	answer := Statement{
		ID: st.ID, AccountID: string(st.Account), From: st.From, To: st.To, Totals: ledgerAmounts(st.Totals),
		MessagesAllowed: st.MessagesAllowed, ConnectionMinutesAllowed: st.ConnectionMinutesAllowed,
		ExtraMessages: st.ExtraMessages, ExtraConnectionMinutes: st.ExtraConnectionMinutes,
		Currency: st.Currency, Total: st.Total, Final: st.Final, FinalAt: st.FinalAt,
		Plans: make([]StatementPlan, 0, len(st.Plans)), Tenants: make([]StatementTenant, 0, len(st.Tenants)), Charges: make([]StatementCharge, 0, len(st.Charges)),
	}
	for _, p := range st.Plans {
		answer.Plans = append(answer.Plans, StatementPlan{Plan: p.Plan.ID, From: p.From, To: p.To})
	}
	for _, t := range st.Tenants {
		answer.Tenants = append(answer.Tenants, StatementTenant{TenantID: string(t.Tenant), Name: t.Name, Amounts: ledgerAmounts(t.Amounts)})
	}
	for _, c := range st.Charges {
		answer.Charges = append(answer.Charges, StatementCharge{Kind: StatementChargeKind(c.Kind), Plan: c.Plan, Quantity: c.Quantity, Price: c.Price, Amount: c.Amount})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}
