package api

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/migrations"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// core is what serving and seeding both need.
type core struct {
	pool    *pgxpool.Pool
	store   *tenantstore.Store
	service *tenants.Service
}

// reach is what the service has to do with edges and upstreams.
type reach struct {
	publish    func(context.Context, tenants.ID) error
	refused    func(tenants.ID, string)
	upstreams  tenants.Upstreams   // nil = URLs are taken as they are
	deliveries tenants.DeliveryLog // nil = nobody reads it
}

// openCore migrates the database and makes the service on it.
func openCore(ctx context.Context, c Config, logger *slog.Logger, tracer pgx.QueryTracer, r reach) (*core, error) {
	if err := postgres.Migrate(ctx, c.DatabaseURL, migrations.Files, logger); err != nil {
		return nil, err
	}
	pool, err := postgres.Open(ctx, c.DatabaseURL, tracer)
	if err != nil {
		return nil, err
	}
	k, err := newCore(c, pool, logger, r)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return k, nil
}

func newCore(c Config, pool *pgxpool.Pool, logger *slog.Logger, r reach) (*core, error) {
	inserter, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("make job inserter: %w", err)
	}
	store := tenantstore.New(pool, queue{inserter})
	sealer, err := c.sealer()
	if err != nil {
		return nil, err
	}
	endpoints, err := tenants.NewEndpoints(c.ServiceURL)
	if err != nil {
		return nil, err
	}
	service, err := tenants.NewService(tenants.Config{
		Store: store, Sealer: sealer, Endpoints: endpoints, ConsoleURL: c.ConsoleURL, Publish: r.publish, Refused: r.refused,
		Resolver: c.resolver(), Upstreams: r.upstreams, Deliveries: r.deliveries,
		Outbound: outbound.Policy{Allowed: c.OutboundAllow}, SignUpsPerHour: c.SignUpsPerHour, ConfirmSignUps: c.confirmSignUps(), Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	return &core{pool: pool, store: store, service: service}, nil
}

// queue lets the store insert jobs.
type queue struct{ client *river.Client[pgx.Tx] }

// InsertTx implements tenantstore.Queue.
func (q queue) InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) error {
	_, err := q.client.InsertTx(ctx, tx, args, opts)
	return err
}
