package loadgen

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/client"
)

// publisher sends messages over REST with the plain access key.
type publisher struct {
	config Config
	http   *http.Client
}

// path is what group n's messages are posted to.
func (p *publisher) path(n int) string {
	path := cmp.Or(p.config.PublishURL, p.config.URL) + "/api/v1/hubs/" + url.PathEscape(p.config.Hub)
	if p.config.GroupSize > 0 {
		path += "/groups/" + groupName(n)
	}
	return path
}

func groupName(n int) string { return "load-" + strconv.Itoa(n) }

// Publish sends to a group; a refusal is an error.
func (p *publisher) Publish(ctx context.Context, key, text string, group int) error {
	body := `{"target":"load","arguments":["` + text + `"]}`
	if key != "" {
		body = `{"target":"load","arguments":["` + key + `","` + text + `"]}`
	}
	return p.do(ctx, http.MethodPost, p.path(group), body, http.StatusAccepted)
}

// Join puts a client into a group.
func (p *publisher) Join(ctx context.Context, c *Client, group int) error {
	if c.ID == "" {
		return errors.New("groups need -negotiate: without it clients don't know their connection id")
	}
	address := p.path(group) + "/connections/" + url.PathEscape(c.ID)
	if every := p.config.Conflate; every > 0 {
		address += "?conflateKey=0&conflateEveryMs=" + strconv.FormatInt(every.Milliseconds(), 10)
	}
	return p.do(ctx, http.MethodPut, address, "", http.StatusOK)
}

func (p *publisher) do(ctx context.Context, method, address, body string, want int) error {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.config.Key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != want {
		return client.Refusal(res)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// patiently does f again after what Retry-After says, as often as it is refused
// for its rate; each time is counted.
func patiently(ctx context.Context, refused func(), f func() error) error {
	for {
		err := f()
		r, ok := isRefused(err)
		if !ok || r.Status != http.StatusTooManyRequests && r.Status != http.StatusServiceUnavailable {
			return err
		}
		refused()
		wait := time.Second
		if s, err := strconv.Atoi(r.RetryAfter); err == nil && s >= 0 && s <= 60 {
			wait = time.Duration(s) * time.Second
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// publishers is how many requests may be under way beside each other.
const publishers = 64

// publish sends at the configured rate until ctx is done: number n goes out at
// its own time, however long those before it take, so that a slow service can't
// slow its measurement down. It returns the first error.
func (r *run) publish(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, publishers)
	var sending sync.WaitGroup
	defer sending.Wait()
	began := time.Now()
	for i := 0; ; i++ {
		due := time.Now()
		if r.config.Rate > 0 {
			due = began.Add(time.Duration(float64(i) / r.config.Rate * float64(time.Second)))
			if err := sleepUntil(ctx, due); err != nil {
				return ended(err)
			}
		} else if err := r.measure.room(ctx, r.config.Outstanding); err != nil {
			return ended(err)
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ended(context.Cause(ctx))
		}
		group := r.nextGroup()
		key, name := 0, ""
		if r.config.Keys > 0 {
			key = i % r.config.Keys
			name = "key-" + strconv.Itoa(key)
		}
		n := r.measure.sent(due, r.members(group), key)
		sending.Go(func() {
			defer func() { <-slots }()
			// What is under way is finished: its deliveries are awaited.
			if err := patiently(ctx, r.measure.refuse, func() error {
				return r.service.Publish(context.WithoutCancel(ctx), name, stamped(n, r.config.Size), group)
			}); err != nil {
				r.measure.forget(n)
				cancel(fmt.Errorf("publish: %w", err))
			}
		})
	}
}

// errOver ends publishing in the orderly way.
var errOver = errors.New("the time is over")

func ended(err error) error {
	if errors.Is(err, errOver) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func sleepUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
