package tenants

import (
	"errors"
	"fmt"
	"testing"

	"github.com/signalbox/signalbox/internal/fault"
)

func TestVerifications_are_few_at_a_time(t *testing.T) {
	t.Parallel()
	var v verifications
	refused := func(chain string) {
		t.Helper()
		if f, ok := errors.AsType[*fault.Error](v.begin(chain)); !ok || f.Code != "verification_busy" || f.RetryAfter <= 0 {
			t.Errorf("%s: %v", chain, f)
		}
	}
	for n := range maxVerifications {
		if err := v.begin(fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprint(n))
	}
	refused("another")
	v.end("0")
	if err := v.begin("another"); err != nil {
		t.Error(err)
	}
	refused("0")
}
