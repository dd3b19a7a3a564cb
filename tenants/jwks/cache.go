package jwks

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// How long things are good, and how often a provider is asked.
const (
	// freshFor is when a set is fetched again, beside the request that noticed.
	freshFor = 10 * time.Minute
	// staleFor is how long keys stay good while the provider doesn't answer.
	staleFor = 24 * time.Hour
	// askEvery is how soon a set is fetched again for an unknown key, and
	// retryEvery after a failure.
	askEvery     = 15 * time.Second
	retryEvery   = 5 * time.Second
	fetchTimeout = 3 * time.Second
	// idleAfter is when a set that nobody needs is forgotten.
	idleAfter = time.Hour
)

// The bounds of a Cache. A tenant's have room for its issuers and for what these
// were a moment ago, so that no tenant pushes out the keys of others or keeps them
// from being fetched.
const (
	maxSets          = 2000
	maxTenantSets    = 10
	maxFetches       = 64 // at once, over all tenants
	maxTenantFetches = 5
)

// Config is what a Cache needs.
type Config struct {
	// Transport makes the requests: an outbound.Transport, but in tests.
	Transport http.RoundTripper
	Logger    *slog.Logger
	Now       func() time.Time // nil = time.Now
}

// Cache keeps the key sets of issuers. Safe for concurrent use.
type Cache struct {
	client  *http.Client
	log     *slog.Logger
	now     func() time.Time
	fetches chan struct{} // has a place for each fetch under way

	mu    sync.Mutex
	sets  map[setName]*set
	under map[tenants.ID]int // fetches under way
}

var _ accesstoken.PublicKeys = (*Cache)(nil)

// setName says whose set it is and where it comes from: an issuer with another
// URL has another set.
type setName struct {
	tenant   tenants.ID
	issuerID string
	url      string
}

// set is the keys of one issuer. Its fields but name are guarded by Cache.mu.
type set struct {
	name      setName
	keys      []publicKey
	fetchedAt time.Time // zero = never
	askedAt   time.Time
	failed    bool // the last time
	usedAt    time.Time
	fetching  chan struct{} // closed when the fetch under way ends; nil = there is none
}

// New returns an empty Cache.
func New(c Config) (*Cache, error) {
	if c.Transport == nil || c.Logger == nil {
		return nil, errors.New("jwks: Transport and Logger are required")
	}
	now := c.Now
	if now == nil {
		now = time.Now
	}
	return &Cache{
		client: &http.Client{Transport: c.Transport, CheckRedirect: outbound.NoRedirects, Timeout: fetchTimeout},
		log:    c.Logger, now: now, fetches: make(chan struct{}, maxFetches), sets: make(map[setName]*set), under: make(map[tenants.ID]int),
	}, nil
}

// Find implements accesstoken.PublicKeys. It waits for a fetch only when the key
// isn't known, and the provider may be asked.
func (c *Cache) Find(ctx context.Context, t tenants.ID, issuer tenants.Issuer, id string, a tenants.Algorithm) (crypto.PublicKey, string, error) {
	name := setName{t, issuer.ID, issuer.JWKSURL}
	for asked := false; ; asked = true {
		crowded := false // the provider should be asked, and can't be now
		c.mu.Lock()
		s := c.set(name)
		now := c.now()
		s.usedAt = now
		known := !s.fetchedAt.IsZero() && now.Sub(s.fetchedAt) < staleFor
		key, found := s.find(id, a)
		found = found && known
		pause := askEvery
		if s.failed {
			pause = retryEvery
		}
		due := now.Sub(s.askedAt) >= pause
		if s.fetching == nil && due && (!found && !asked || now.Sub(s.fetchedAt) >= freshFor) {
			crowded = !c.begin(s, now)
		}
		wait := s.fetching
		c.mu.Unlock()
		switch {
		case found:
			return key.key, key.id, nil
		case wait == nil || asked:
			if !known || crowded {
				return nil, "", accesstoken.ErrUnavailable
			}
			return nil, "", accesstoken.ErrNoKey
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, "", fmt.Errorf("%w: %w", accesstoken.ErrUnavailable, ctx.Err())
		}
	}
}

// find returns the key with this id, or with none the only one for a.
func (s *set) find(id string, a tenants.Algorithm) (publicKey, bool) {
	var only publicKey
	count := 0
	for _, k := range s.keys {
		if k.algorithm != a {
			continue
		}
		if id != "" && k.id == id {
			return k, true
		}
		only = k
		count++
	}
	return only, id == "" && count == 1
}

// set returns the set of this name, made if it isn't there. c.mu is held.
func (c *Cache) set(name setName) *set {
	if s := c.sets[name]; s != nil {
		return s
	}
	c.makeRoomOf(name.tenant)
	if len(c.sets) >= maxSets {
		c.makeRoom()
	}
	s := &set{name: name}
	c.sets[name] = s
	return s
}

// makeRoomOf forgets the set that a tenant hasn't used for longest, when it has all
// that it may have. c.mu is held.
func (c *Cache) makeRoomOf(t tenants.ID) {
	count := 0
	var oldest *set
	for name, s := range c.sets {
		if name.tenant != t {
			continue
		}
		if count++; oldest == nil || s.usedAt.Before(oldest.usedAt) {
			oldest = s
		}
	}
	if count >= maxTenantSets {
		delete(c.sets, oldest.name)
	}
}

// makeRoom forgets idle sets, or if there are none, some. c.mu is held.
func (c *Cache) makeRoom() {
	oldest := c.now().Add(-idleAfter)
	for name, s := range c.sets {
		if s.usedAt.Before(oldest) {
			delete(c.sets, name)
		}
	}
	for name := range c.sets {
		if len(c.sets) < maxSets*9/10 {
			return
		}
		delete(c.sets, name)
	}
}

// begin starts a fetch and reports true, unless too many are under way. c.mu is
// held.
func (c *Cache) begin(s *set, now time.Time) bool {
	t := s.name.tenant
	if c.under[t] >= maxTenantFetches {
		return false
	}
	select {
	case c.fetches <- struct{}{}:
	default:
		return false
	}
	c.under[t]++
	s.askedAt = now
	s.fetching = make(chan struct{})
	go func() {
		defer func() { <-c.fetches }()
		// It belongs to all who wait for it, so no request's end ends it.
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		keys, err := c.fetch(ctx, s.name.url)
		if err != nil {
			c.log.Warn("keys of an issuer not fetched", "tenant_id", string(s.name.tenant), "issuer_id", s.name.issuerID, "error", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.failed = err != nil; !s.failed {
			s.keys, s.fetchedAt = keys, c.now()
		}
		if c.under[t]--; c.under[t] == 0 {
			delete(c.under, t)
		}
		close(s.fetching)
		s.fetching = nil
	}()
	return true
}

func (c *Cache) fetch(ctx context.Context, url string) ([]publicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // what matters was read by then
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for keys: status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxSetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(body) > MaxSetBytes {
		return nil, fmt.Errorf("the key set has more than %d bytes", MaxSetBytes)
	}
	return parse(body)
}
