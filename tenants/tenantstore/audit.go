package tenantstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/audit"
)

// queuedAudit is an event that is written at the end of its transaction, with the scope
// of who reported it.
type queuedAudit struct {
	tenants.Audit
	scope scope.Scope
}

// Audit implements tenants.Trail.
func (s *Store) Audit(ctx context.Context, a tenants.Audit) error {
	if s.audits != nil {
		*s.audits = append(*s.audits, queuedAudit{a, scope.Of(ctx)})
		return nil
	}
	return s.writeAudit(ctx, a)
}

// writeAudits writes what the transaction has to say, chain by chain in one order.
func (s *Store) writeAudits(ctx context.Context) error {
	slices.SortStableFunc(*s.audits, func(a, b queuedAudit) int { return cmp.Compare(a.Chain(), b.Chain()) })
	for _, a := range *s.audits {
		if err := s.writeAudit(scope.In(ctx, a.scope), a.Audit); err != nil {
			return err
		}
	}
	return nil
}

// writeAudit adds an event. Its number and hash are made by the database, which keeps
// the chain.
func (s *Store) writeAudit(ctx context.Context, a tenants.Audit) error {
	before, err := auditJSON(a.Before)
	if err != nil {
		return err
	}
	after, err := auditJSON(a.After)
	if err != nil {
		return err
	}
	actor, name := string(a.Caller.User), ""
	if a.Caller.Operator != nil {
		actor, name = a.Caller.Operator.ID, a.Caller.Operator.Name
	}
	return s.exec(ctx, "audit", `
		INSERT INTO audit_events (chain, actor, actor_id, token_id, actor_name, account_id, tenant_id, action, subject, request_id, ip, user_agent, before, after)
		VALUES ($1, $2::text, nullif($3, ''), nullif($4, ''), coalesce(nullif($5, ''), CASE $2
				WHEN 'api_token' THEN (SELECT name FROM api_tokens WHERE id = $4)
				WHEN 'user' THEN (SELECT email FROM users WHERE id = $3) END, ''),
			nullif($6, ''), nullif($7, ''), $8, $9, $10, $11, $12, $13::text::json, $14::text::json)`,
		a.Chain(), a.Actor(), actor, a.Caller.TokenID, name, a.Account, a.Tenant, a.Action, a.Subject, a.Caller.RequestID, a.Caller.IP, a.Caller.UserAgent, before, after)
}

// auditJSON is how before and after are kept; nil = nothing.
func auditJSON(v any) (*string, error) {
	if v == nil {
		return nil, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode audit: %w", err)
	}
	text := string(bytes.TrimRight(b.Bytes(), "\n"))
	return &text, nil
}

// AuditHead implements tenants.Trail.
func (s *Store) AuditHead(ctx context.Context, chain string) (head audit.Head, err error) {
	var hash []byte
	err = s.db.QueryRow(ctx, "SELECT number, hash FROM audit_chains WHERE chain = $1", chain).Scan(&head.Number, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return audit.Head{}, nil
	}
	if err != nil {
		return audit.Head{}, postgres.Error("read audit chain", err)
	}
	copy(head.Hash[:], hash)
	return head, nil
}

// AuditEvents implements tenants.Trail. Each part of the filter that is asked for has an
// index that finds it, so the statement has those alone.
func (s *Store) AuditEvents(ctx context.Context, chain string, f tenants.AuditFilter, behind int64, down bool, limit int) ([]audit.Event, error) {
	order := "number > $2 ORDER BY number"
	if down {
		order = "number < $2 ORDER BY number DESC"
		if behind == 0 {
			behind = math.MaxInt64
		}
	}
	args := []any{chain, behind, limit}
	var only strings.Builder
	where := func(condition string, value any) {
		args = append(args, value)
		only.WriteString(" AND " + strings.ReplaceAll(condition, "$", fmt.Sprint("$", len(args))))
	}
	if !f.From.IsZero() {
		where("created_at >= $", f.From)
	}
	if !f.To.IsZero() {
		where("created_at < $", f.To)
	}
	if f.Actor != "" {
		where("(actor_id = $ OR token_id = $ OR actor_name = $)", f.Actor)
	}
	if f.Action != "" {
		// Or what follows it and a dot: a slash is the character behind a dot.
		where(`(action COLLATE "C" = $ OR action COLLATE "C" > $ || '.' AND action COLLATE "C" < $ || '/')`, f.Action)
	}
	if f.Tenant != "" {
		where("tenant_id = $", f.Tenant)
	}
	return many(ctx, s, "audit", func(row pgx.CollectableRow) (e audit.Event, err error) {
		var previous, hash []byte
		var before, after *string
		err = row.Scan(&e.Chain, &e.Number, &e.At, &e.Actor, &e.ActorID, &e.TokenID, &e.ActorName, &e.Account, &e.Tenant, &e.Action, &e.Subject, &e.RequestID, &e.IP, &e.UserAgent,
			&before, &after, &previous, &hash)
		if before != nil {
			e.Before = json.RawMessage(*before)
		}
		if after != nil {
			e.After = json.RawMessage(*after)
		}
		copy(e.Previous[:], previous)
		copy(e.Hash[:], hash)
		return e, err
	}, `SELECT chain, number, created_at, actor, coalesce(actor_id, ''), coalesce(token_id, ''), actor_name, coalesce(account_id, ''), coalesce(tenant_id, ''), action, subject,
			request_id, ip, user_agent, before::text, after::text, previous, hash
		FROM audit_events WHERE chain = $1`+only.String()+" AND "+order+" LIMIT $3", args...)
}

// AuditChains implements tenants.Trail. It goes from one chain of audit_events to the
// next by the index: there are many events and few chains.
func (s *Store) AuditChains(ctx context.Context, after string, limit int) ([]string, error) {
	return many(ctx, s, "audit chains", pgx.RowTo[string], `
		WITH RECURSIVE written AS (
			SELECT min(chain) AS chain FROM audit_events WHERE chain > $1
			UNION ALL SELECT (SELECT min(e.chain) FROM audit_events e WHERE e.chain > written.chain) FROM written WHERE chain IS NOT NULL
		)
		SELECT chain FROM (
			(SELECT chain FROM written WHERE chain IS NOT NULL LIMIT $2) UNION (SELECT chain FROM audit_chains WHERE chain > $1 ORDER BY chain LIMIT $2)
		) both_of_them ORDER BY chain LIMIT $2`, after, limit)
}
