package api

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// completeEvery is how often it is looked whether Redis still has the documents.
const completeEvery = 2 * time.Second

// redisProbe bounds the wait for an answer of Redis on behalf of an edge.
const redisProbe = time.Second

// documents hands tenant documents to the data plane.
type documents struct {
	service   *tenants.Service // set before anything is published
	publisher *directory.Publisher
	fleet     *fleet.Fleet
	redis     redis.Cmdable
	// budgeted is told of tenants whose budgets edges enforce.
	budgeted func(ctx context.Context, ids []tenants.ID)
	logger   *slog.Logger
	// failed counts documents that could not be published.
	failed metric.Int64Counter
}

// publish builds and publishes one document.
func (d *documents) publish(ctx context.Context, id tenants.ID) error {
	doc, err := d.service.Document(ctx, id)
	if err != nil {
		d.unpublished(ctx, id, err)
		return fmt.Errorf("build document: %w", err)
	}
	d.tell(ctx, &doc)
	if err := d.publisher.Publish(ctx, &doc); err != nil {
		d.unpublished(ctx, id, err)
		return err
	}
	return nil
}

// unpublished tells of a document that edges don't get: they go on with the one that
// they have.
func (d *documents) unpublished(ctx context.Context, id tenants.ID, why error) {
	if ctx.Err() != nil {
		return // nobody waits for it any more; it is tried again
	}
	d.failed.Add(ctx, 1)
	d.logger.ErrorContext(ctx, "document not published, edges keep the one before", "tenant_id", string(id), "error", why)
}

// tell says that a document has a budget, if it has.
func (d *documents) tell(ctx context.Context, doc *tenants.Document) {
	if doc.Budget != nil && d.budgeted != nil {
		d.budgeted(ctx, []tenants.ID{doc.ID})
	}
}

// keepComplete publishes every document at the start, and again whenever Redis
// has lost them, until ctx ends.
func (d *documents) keepComplete(ctx context.Context) error {
	complete := false
	for {
		if !complete {
			if err := d.publisher.PublishAll(ctx, d.all(ctx)); err != nil {
				d.logger.WarnContext(ctx, "documents not published, trying again", "error", err)
			} else {
				d.logger.InfoContext(ctx, "documents published")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(completeEvery):
		}
		var err error
		if complete, err = d.publisher.Complete(ctx); err != nil {
			complete = true // Redis is away; what it has is seen when it is back
		}
	}
}

// all yields the document of every tenant. One that can't be built or sealed is
// logged and left out: it must not keep all others from the data plane.
func (d *documents) all(ctx context.Context) iter.Seq2[*tenants.Document, error] {
	return func(yield func(*tenants.Document, error) bool) {
		errStop := fmt.Errorf("stopped")
		err := d.service.EachTenant(ctx, func(id tenants.ID) error {
			doc, err := d.service.Document(ctx, id)
			if err == nil {
				_, err = directory.Seal(d.fleet, &doc)
			}
			if err != nil && ctx.Err() == nil {
				d.unpublished(ctx, id, err)
				return nil
			}
			d.tell(ctx, &doc)
			if !yield(&doc, err) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop { //nolint:errorlint // made above
			yield(nil, err)
		}
	}
}

// handler serves sealed documents to edges that can't get them from Redis.
func (d *documents) handler() http.Handler {
	r := chi.NewRouter()
	r.Use(httpserver.WithRequestID, httpserver.Recover(d.logger))
	r.Get("/internal/documents/{id}", func(w http.ResponseWriter, r *http.Request) {
		d.serve(w, r, func() (tenants.Document, error) {
			return d.service.Document(r.Context(), tenants.ID(chi.URLParam(r, "id")))
		})
	})
	r.Get("/internal/documents", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		d.serve(w, r, func() (tenants.Document, error) {
			switch {
			case q.Get("slug") != "":
				return d.service.DocumentBySlug(r.Context(), q.Get("slug"))
			case q.Get("host") != "":
				return d.service.DocumentByHost(r.Context(), q.Get("host"))
			default:
				return tenants.Document{}, fault.InvalidFields(fault.Field{Name: "slug", Message: "is required", Accepted: "slug or host"})
			}
		})
	})
	r.Get("/internal/redis", func(w http.ResponseWriter, r *http.Request) {
		// Edges that have lost Redis ask whether they are alone.
		ctx, cancel := context.WithTimeout(r.Context(), redisProbe)
		defer cancel()
		if err := d.redis.Ping(ctx).Err(); err != nil {
			httpserver.Problem(w, r, d.logger, fault.New(fault.Unavailable, "Redis doesn't answer."))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return r
}

func (d *documents) serve(w http.ResponseWriter, r *http.Request, build func() (tenants.Document, error)) {
	doc, err := build()
	if err != nil {
		httpserver.Problem(w, r, d.logger, err)
		return
	}
	sealed, err := directory.Seal(d.fleet, &doc)
	if err != nil {
		httpserver.Problem(w, r, d.logger, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(sealed) // the edge asks again
}
