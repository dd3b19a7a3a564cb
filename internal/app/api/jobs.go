package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// How jobs are worked. Publishing waits at most publishRetryMost after a
// failure, so that a change is known within seconds of Redis' return.
const (
	jobWorkers       = 10
	jobFetchCooldown = 50 * time.Millisecond
	jobFetchPoll     = 500 * time.Millisecond
	publishTimeout   = 5 * time.Second
	publishRetryStep = 250 * time.Millisecond
	publishRetryMost = 2 * time.Second
	mailTimeout      = 30 * time.Second
	// rescueAfter is when a job of a process that died is worked again; none takes
	// half as long.
	rescueAfter  = 2 * time.Minute
	cleanUpEvery = time.Hour
	marksKept    = 7 * 24 * time.Hour
)

// publishWorker hands a tenant's document to the data plane.
type publishWorker struct {
	river.WorkerDefaults[tenantstore.PublishDocument]
	publish func(context.Context, tenants.ID) error
}

// Work implements river.Worker.
func (w *publishWorker) Work(ctx context.Context, job *river.Job[tenantstore.PublishDocument]) error {
	err := w.publish(ctx, job.Args.Tenant)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return river.JobCancel(err)
	}
	return err
}

// Timeout implements river.Worker.
func (*publishWorker) Timeout(*river.Job[tenantstore.PublishDocument]) time.Duration {
	return publishTimeout
}

// NextRetry implements river.Worker.
func (*publishWorker) NextRetry(job *river.Job[tenantstore.PublishDocument]) time.Time {
	return time.Now().Add(min(publishRetryMost, time.Duration(job.Attempt)*publishRetryStep))
}

// mailWorker sends a mail of the outbox.
type mailWorker struct {
	river.WorkerDefaults[tenantstore.SendMail]
	store *tenantstore.Store
	open  func(tenants.Mail) (tenants.Mail, error)
	send  func(context.Context, tenants.Mail) error
	keep  bool // what was sent, for the mailbox of a development server
}

// errMailTooLate is for a mail whose link ended before it could be sent.
var errMailTooLate = errors.New("mail not sent: its link has ended")

// Work implements river.Worker.
func (w *mailWorker) Work(ctx context.Context, job *river.Job[tenantstore.SendMail]) error {
	mail, err := w.store.UnsentMail(ctx, job.Args.Mail)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil // sent before
	}
	if err != nil {
		return err
	}
	if !mail.GoodUntil.IsZero() && time.Now().After(mail.GoodUntil) {
		return river.JobCancel(errMailTooLate)
	}
	if mail, err = w.open(mail); err != nil {
		return err
	}
	if err := w.send(ctx, mail); errors.Is(err, errNoMailServer) {
		return river.JobCancel(err)
	} else if err != nil {
		return err
	}
	return w.store.MailSent(ctx, mail.ID, time.Now(), w.keep)
}

// Timeout implements river.Worker.
func (*mailWorker) Timeout(*river.Job[tenantstore.SendMail]) time.Duration { return mailTimeout }

// cleanUp asks to delete what is no longer needed.
type cleanUp struct{}

// Kind implements river.JobArgs.
func (cleanUp) Kind() string { return "clean_up" }

type cleanUpWorker struct {
	river.WorkerDefaults[cleanUp]
	people  *tenantstore.Store
	service *tenants.Service
	ledger  *billingstore.Store
}

// Work implements river.Worker.
func (w *cleanUpWorker) Work(ctx context.Context, _ *river.Job[cleanUp]) error {
	now := time.Now()
	before := now.Add(-marksKept)
	// What one of them can't do keeps the others from nothing.
	return errors.Join(
		w.people.Forget(ctx, before), w.service.ExpireOverrides(ctx),
		w.ledger.Forget(ctx, before), w.ledger.ForgetTop(ctx, now), w.ledger.Coarsen(ctx, now.Add(-billing.MinutesKept)),
	)
}

// newJobs makes the client that works the queue.
func newJobs(k *core, ledger *billingstore.Store, purge *purgeWorker, publish func(context.Context, tenants.ID) error, send func(context.Context, tenants.Mail) error, keepMails bool, logger *slog.Logger) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &publishWorker{publish: publish})
	river.AddWorker(workers, purge)
	river.AddWorker(workers, &mailWorker{store: k.store, open: k.service.OpenMail, send: send, keep: keepMails})
	river.AddWorker(workers, &cleanUpWorker{people: k.store, service: k.service, ledger: ledger})
	client, err := river.NewClient(riverpgxv5.New(k.pool), &river.Config{
		Logger:            slog.New(quiet{logger.Handler()}),
		Workers:           workers,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: jobWorkers}},
		FetchCooldown:     jobFetchCooldown,
		FetchPollInterval: jobFetchPoll,
		// One that died may have sent its mail: see smtpSender.
		RescueStuckJobsAfter: rescueAfter,
		PeriodicJobs: []*river.PeriodicJob{river.NewPeriodicJob(
			river.PeriodicInterval(cleanUpEvery), func() (river.JobArgs, *river.InsertOpts) { return cleanUp{}, nil }, nil,
		)},
	})
	if err != nil {
		return nil, fmt.Errorf("make job queue: %w", err)
	}
	return client, nil
}

// quiet leaves out what the queue says of its normal work.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
