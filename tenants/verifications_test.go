package tenants

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

func TestVerifications_are_few_at_a_time(t *testing.T) {
	t.Parallel()
	var v verifications
	refused := func(chain string, by UserID) {
		t.Helper()
		if f, ok := errors.AsType[*fault.Error](v.begin(chain, by)); !ok || f.Code != "verification_busy" || f.RetryAfter <= 0 {
			t.Errorf("%s: %v", chain, f)
		}
	}
	for n := range maxVerifications {
		if err := v.begin(fmt.Sprint(n), UserID(fmt.Sprint("u", n))); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprint(n), "somebody")
		refused("another of the same", UserID(fmt.Sprint("u", n)))
	}
	refused("another", "somebody")
	if err := v.begin(OperatorChain, ""); err != nil {
		t.Errorf("operators, while customers verify all that they may: %v", err)
	}
	refused(OperatorChain, "")
	v.end("0")
	if err := v.begin("another", "somebody"); err != nil {
		t.Error(err)
	}
	refused("0", "u0")
}

// Customers who sign in as fast as they can keep no operator out.
func TestPasswords_of_operators_have_their_own_turn(t *testing.T) {
	t.Parallel()
	p, err := newPasswords(64)
	if err != nil {
		t.Fatal(err)
	}
	p.wait = time.Millisecond
	operators := p.apart()
	operators.wait = time.Hour
	for range cap(p.slots) {
		p.slots <- struct{}{} // in use by customers
	}
	hash, err := operators.hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := operators.check(t.Context(), "correct horse", hash); err != nil || !ok {
		t.Errorf("an operator's password: %t, %v", ok, err)
	}
	if _, err := p.check(context.Background(), "correct horse", hash); !isKind(err, fault.Unavailable) {
		t.Errorf("one more customer: %v", err)
	}
}
