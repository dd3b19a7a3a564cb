package backplane

import (
	"context"
	"fmt"
	"maps"

	"github.com/redis/go-redis/v9"
)

// buryClaim writes a tombstone unless the connection turned out to be another
// process's. KEYS: the claim. ARGV: edge run, tombstone, its life in ms.
var buryClaim = redis.NewScript(`
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] and owner ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// yieldClaim writes the owner of a connection that this process has claimed in vain,
// which may reach Redis late. KEYS: the claim. ARGV: edge run, the owner, its life
// in ms.
var yieldClaim = redis.NewScript(`
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// news is what Redis is told at once.
type news struct {
	living, ended []string
	others        map[string]string
}

func (n *news) len() int { return len(n.living) + len(n.ended) + len(n.others) }

// register writes the claims that Redis doesn't know yet, those that were given up,
// and the tombstones.
func (o *Ownership) register(ctx context.Context) error {
	for {
		n := o.take()
		if n.len() == 0 {
			return nil
		}
		if err := o.write(ctx, n); err != nil {
			o.putBack(n)
			return err
		}
	}
}

// take returns some of what Redis has to be told.
func (o *Ownership) take() *news {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := &news{others: make(map[string]string)}
	for key := range o.changed {
		if n.len() == registerBatch {
			return n
		}
		delete(o.changed, key)
		if c := o.claims[key]; c != nil && c.ended.IsZero() {
			n.living = append(n.living, key)
		} else {
			n.ended = append(n.ended, key)
		}
	}
	for key, owner := range o.others {
		if n.len() == registerBatch {
			return n
		}
		delete(o.others, key)
		n.others[key] = owner
	}
	return n
}

// putBack keeps what Redis couldn't be told, but for claims given up meanwhile.
func (o *Ownership) putBack(n *news) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, key := range n.living {
		if o.claims[key] != nil {
			o.changed[key] = true
		}
	}
	for _, key := range n.ended {
		o.changed[key] = true
	}
	maps.Copy(o.others, n.others)
}

func (o *Ownership) write(ctx context.Context, n *news) error {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	_, err := o.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range n.living {
			p.SetNX(ctx, key, o.cfg.EdgeRun, claimLife)
		}
		for key, owner := range n.others {
			// Run would need an answer to fall back on the script's text.
			yieldClaim.Eval(ctx, p, []string{key}, o.cfg.EdgeRun, owner, claimLife.Milliseconds())
		}
		for _, key := range n.ended {
			buryClaim.Eval(ctx, p, []string{key}, o.cfg.EdgeRun, tombstone, tombstoneLife.Milliseconds())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write owners: %w", err)
	}
	return nil
}
