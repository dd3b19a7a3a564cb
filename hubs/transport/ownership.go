package transport

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// What an Ownership answers.
var (
	// ErrSpent: the connection has ended; its token is of no more use.
	ErrSpent = errors.New("the connection has ended")
	// ErrOwnerGone: the node that owned the connection can't be reached or
	// doesn't know it any more.
	ErrOwnerGone = errors.New("the owner of the connection is gone")
	// ErrUnsure: the connection is this node's unless another node has it, which
	// nobody can tell at the moment.
	ErrUnsure = errors.New("nobody can tell whether the connection is another node's")
)

// Ownership says which node serves a connection. scope is Endpoint.Scope, id
// the public connection id; a pair is claimed at most once.
type Ownership interface {
	// Claim makes this node the owner of a connection that nobody has claimed
	// and returns "". If another node is the owner it returns that node's name;
	// if the connection has ended, ErrSpent. ErrUnsure is a claim that may prove
	// to be one too many; it is good for what a client asks for only once.
	Claim(ctx context.Context, scope, id string) (owner string, err error)
	// Owner returns the name of the node that owns the connection, or ErrSpent
	// when nobody does. It is asked only for connections that this node
	// doesn't serve, or has claimed with ErrUnsure: ErrSpent then makes the claim
	// sure, and an owner takes it back.
	Owner(ctx context.Context, scope, id string) (owner string, err error)
	// Release tells that a connection of this node has ended. Its id stays
	// spent for longer than a connection token lives.
	Release(ctx context.Context, scope, id string)
	// Relay passes a request on to the node named owner, where
	// Handler.ServeRelayed answers it, and copies the answer to w. ErrOwnerGone
	// means that nothing has been written to w.
	Relay(w http.ResponseWriter, r *http.Request, owner string) error
}

// spentFor is how long LocalOwnership remembers ended connections: longer than
// any connection token lives unused.
const spentFor = time.Minute

// LocalOwnership is the Ownership of a single node.
type LocalOwnership struct {
	mu     sync.Mutex
	claims map[string]time.Time // zero = alive, else when it was released
	spent  []string             // released ones, oldest first
}

var _ Ownership = (*LocalOwnership)(nil)

// NewLocalOwnership returns an Ownership without any claim.
func NewLocalOwnership() *LocalOwnership {
	return &LocalOwnership{claims: make(map[string]time.Time)}
}

func localKey(scope, id string) string { return scope + "\x00" + id }

// Claim implements Ownership.
func (l *LocalOwnership) Claim(_ context.Context, scope, id string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	if _, taken := l.claims[localKey(scope, id)]; taken {
		return "", ErrSpent
	}
	l.claims[localKey(scope, id)] = time.Time{}
	return "", nil
}

// Owner implements Ownership: what this node doesn't serve has no owner.
func (l *LocalOwnership) Owner(context.Context, string, string) (string, error) {
	return "", ErrSpent
}

// Release implements Ownership.
func (l *LocalOwnership) Release(_ context.Context, scope, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := localKey(scope, id)
	l.claims[key] = time.Now()
	l.spent = append(l.spent, key)
	l.forget()
}

// Relay implements Ownership: there is no other node.
func (l *LocalOwnership) Relay(http.ResponseWriter, *http.Request, string) error {
	return ErrOwnerGone
}

// forget drops claims that ended long ago. l.mu is held.
func (l *LocalOwnership) forget() {
	old := time.Now().Add(-spentFor)
	for len(l.spent) > 0 && l.claims[l.spent[0]].Before(old) {
		delete(l.claims, l.spent[0])
		l.spent = l.spent[1:]
	}
}
