package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/migrations"
	"github.com/signalbox/signalbox/tenants"
)

// Migrate brings the database to the newest version.
func Migrate(ctx context.Context, c Config, logger *slog.Logger) error {
	return postgres.Migrate(ctx, c.DatabaseURL, migrations.Files, logger)
}

// The input and answer of Seed, as JSON.
type (
	seedInput struct {
		Account struct {
			Name     string `json:"name"`
			Email    string `json:"email"`
			Password string `json:"password"`
			APIToken string `json:"api_token"`
			Plan     string `json:"plan"`
			// Limits stand in the place of the plan's.
			Limits map[string]int `json:"limits"`
		} `json:"account"`
		Tenants []struct {
			Slug         string   `json:"slug"`
			Name         string   `json:"name"`
			Hosts        []string `json:"hosts"`
			PrimaryKey   string   `json:"primary_key"`
			SecondaryKey string   `json:"secondary_key"`
			Hubs         []string `json:"hubs"`
			// Limits stand in the place of the plan's.
			Limits map[string]int `json:"limits"`
			// Suspended is by the operator; nothing = as it is.
			Suspended *bool `json:"suspended"`
		} `json:"tenants"`
	}
	seedAnswer struct {
		AccountID string         `json:"account_id"`
		UserID    string         `json:"user_id"`
		Tenants   []seededTenant `json:"tenants"`
	}
	seededTenant struct {
		ID   string `json:"id"`
		Slug string `json:"slug"`
	}
)

// maxInputBytes bounds the input of a command.
const maxInputBytes = 1 << 20

// read decodes the input of a command.
func read(in io.Reader, into any) error {
	d := json.NewDecoder(io.LimitReader(in, maxInputBytes))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// Seed migrates the database, reads an account with tenants from in, makes sure
// that they are there with exactly these values, and writes their ids to out.
// The documents go to the data plane when an api runs.
func Seed(ctx context.Context, c Config, in io.Reader, out io.Writer, logger *slog.Logger) error {
	var input seedInput
	if err := read(in, &input); err != nil {
		return fmt.Errorf("read seed: %w", err)
	}
	if input.Account.Email == "" || input.Account.Password == "" {
		return errors.New("read seed: account.email and account.password are required")
	}
	later := func(context.Context, tenants.ID) error { return nil } // the queued jobs do it
	k, err := openCore(ctx, c, logger, nil, reach{publish: later})
	if err != nil {
		return err
	}
	defer k.pool.Close()
	seed := tenants.Seed{
		AccountName: input.Account.Name, Email: input.Account.Email, Password: tenants.Secret(input.Account.Password),
		APIToken: tenants.Secret(input.Account.APIToken), Plan: input.Account.Plan, Limits: input.Account.Limits,
	}
	for _, t := range input.Tenants {
		seed.Tenants = append(seed.Tenants, tenants.SeedTenant{
			Slug: t.Slug, Name: t.Name, Hosts: t.Hosts, Hubs: t.Hubs, Limits: t.Limits, Suspended: t.Suspended,
			Primary: tenants.Secret(t.PrimaryKey), Secondary: tenants.Secret(t.SecondaryKey),
		})
	}
	seeded, err := k.service.Seed(scope.System(ctx, scope.Seed), seed)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	answer := seedAnswer{AccountID: string(seeded.Account.ID), UserID: string(seeded.User.ID)}
	for _, t := range seeded.Tenants {
		answer.Tenants = append(answer.Tenants, seededTenant{ID: string(t.ID), Slug: t.Slug})
	}
	if err := json.NewEncoder(out).Encode(answer); err != nil {
		return fmt.Errorf("write seeded ids: %w", err)
	}
	return nil
}

// Reseal seals all secrets anew that another than the primary key has sealed, and writes
// to out under which keys they are sealed then. Whatever serves goes on meanwhile, and
// it may be ended and begun again. It returns an error when there is something that no
// configured key opens.
func Reseal(ctx context.Context, c Config, out io.Writer, logger *slog.Logger) error {
	later := func(context.Context, tenants.ID) error { return nil } // nothing is published
	k, err := openCore(ctx, c, logger, nil, reach{publish: later})
	if err != nil {
		return err
	}
	defer k.pool.Close()
	states, err := k.service.Reseal(ctx)
	if err != nil {
		return err
	}
	lost := 0
	for _, s := range states {
		for _, key := range s.Keys(s.By) {
			if _, err := fmt.Fprintf(out, "%s\t%d under key %s\n", s.Kind, s.By[key], key); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
		}
		for _, key := range s.Keys(s.Lost) {
			lost += s.Lost[key]
			if _, err := fmt.Fprintf(out, "%s\t%d NOT OPENED, sealed by key %s\n", s.Kind, s.Lost[key], key); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d sealed values are opened by none of the configured keys: add theirs to SIGNALBOX_SEALING_KEYS_FORMER, or regenerate what is lost", lost)
	}
	return nil
}

// correction is the input of Correct, as JSON.
type correction struct {
	Tenant            tenants.ID `json:"tenant"`
	Hub               string     `json:"hub"`
	Concerns          time.Time  `json:"concerns"`
	Accepted          int64      `json:"messages_accepted"`
	Delivered         int64      `json:"messages_delivered"`
	DeliveredBytes    int64      `json:"delivered_bytes"`
	ReceivedBytes     int64      `json:"received_bytes"`
	ConnectionSeconds int64      `json:"connection_seconds"`
	Opened            int64      `json:"connections_opened"`
	Reason            string     `json:"reason"`
	Actor             string     `json:"actor"`
}

// Correct reads a correction of a tenant's usage from in and adds it to the ledger,
// where the tenant sees it with its reason and its actor.
func Correct(ctx context.Context, c Config, in io.Reader) error {
	var input correction
	if err := read(in, &input); err != nil {
		return fmt.Errorf("read correction: %w", err)
	}
	pool, err := postgres.Open(ctx, c.DatabaseURL, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	return explained(billing.NewService(billingstore.New(pool), nil).Correct(scope.System(ctx, scope.Operator), billing.Correction{
		Tenant: input.Tenant, Hub: input.Hub, Concerns: input.Concerns, Reason: input.Reason, Actor: input.Actor,
		Amounts: billing.Amounts{
			Accepted: input.Accepted, Delivered: input.Delivered, DeliveredBytes: input.DeliveredBytes,
			ReceivedBytes: input.ReceivedBytes, ConnectionSeconds: input.ConnectionSeconds, Opened: input.Opened,
		},
	}))
}

// explained puts the fields of a refusal into its text.
func explained(err error) error {
	refusal, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	for _, f := range refusal.Fields {
		err = fmt.Errorf("%w; %s %s (accepted: %s)", err, f.Name, f.Message, f.Accepted)
	}
	return err
}

// errAuditBroken ends VerifyAudit when a chain isn't what it was.
var errAuditBroken = errors.New("the audit log was tampered with")

// VerifyAudit verifies all chains of the audit log and writes a line for each: its
// name, how many events it has, its head, and the first event that is wrong or
// missing, if there is one.
func VerifyAudit(ctx context.Context, c Config, out io.Writer, logger *slog.Logger) error {
	pool, err := postgres.Open(ctx, c.DatabaseURL, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	k, err := newCore(c, pool, logger, reach{publish: func(context.Context, tenants.ID) error { return nil }})
	if err != nil {
		return err
	}
	broken, chains := false, 0
	err = k.service.VerifyAllAudits(scope.System(ctx, scope.Operator), func(chain string, v tenants.AuditVerification) error {
		chains++
		verdict := "intact"
		if v.Broken != nil {
			broken, verdict = true, "BROKEN at "+v.Broken.Error()
		}
		_, err := fmt.Fprintf(out, "%s\t%d events\thead %d %s\t%s\n", chain, v.Events, v.Head.Number, v.Head.Hash, verdict)
		return err
	})
	switch {
	case err != nil:
	case broken:
		err = errAuditBroken
	case chains == 0: // the service's own tenant leaves one wherever an api has served
		err = errors.New("there is no audit log: nothing was verified")
	}
	return err
}

// Operator adds, resets, removes or lists those who run the service, as args say, and
// writes to out what they have to know.
func Operator(ctx context.Context, c Config, args []string, out io.Writer, logger *slog.Logger) error {
	k, err := openCore(ctx, c, logger, nil, reach{publish: func(context.Context, tenants.ID) error { return nil }})
	if err != nil {
		return err
	}
	defer k.pool.Close()
	ctx = scope.System(ctx, scope.Operator)
	link := func(o tenants.Operator, token tenants.Secret, err error) error {
		if err != nil {
			return explained(err)
		}
		_, err = fmt.Fprintf(out, "%s <%s> sets a password and an authenticator app up within a day, once, at:\n%s\n", o.Name, o.Email, tenants.OperatorSetupLink(c.OperatorURL, token))
		return err
	}
	switch {
	case len(args) == 3 && args[0] == "add":
		return link(k.service.AddOperator(ctx, args[1], args[2]))
	case len(args) == 2 && args[0] == "reset":
		return link(k.service.ResetOperator(ctx, args[1]))
	case len(args) == 2 && args[0] == "remove":
		return explained(k.service.RemoveOperator(ctx, args[1]))
	case len(args) == 1 && args[0] == "list":
		all, err := k.service.OperatorList(ctx)
		for _, o := range all {
			state := "set up"
			if o.Enabled.IsZero() {
				state = "not set up"
			}
			if _, err := fmt.Fprintf(out, "%s\t%s\t%s\n", o.Email, o.Name, state); err != nil {
				return err
			}
		}
		return err
	default:
		return errors.New("use api operator add NAME ADDRESS, reset ADDRESS, remove ADDRESS or list")
	}
}
