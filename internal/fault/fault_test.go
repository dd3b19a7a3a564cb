package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/signalbox/signalbox/internal/fault"
)

func TestKindOf(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"a_fault":         {fault.New(fault.NotFound, "gone"), fault.NotFound},
		"a_wrapped_fault": {fmt.Errorf("read: %w", fault.New(fault.Conflict, "taken")), fault.Conflict},
		"joined_faults":   {errors.Join(io.EOF, fault.New(fault.Invalid, "bad")), fault.Invalid},
		"anything_else":   {io.EOF, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fault.KindOf(row.err); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestError_shows_the_cause_to_logs_and_keeps_it(t *testing.T) {
	t.Parallel()
	err := fault.Wrap(fault.Conflict, "This slug is taken.", io.ErrUnexpectedEOF).WithCode("slug_taken")
	if got, want := err.Error(), "slug_taken: This slug is taken.: unexpected EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
}
