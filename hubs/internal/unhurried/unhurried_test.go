package unhurried_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/unhurried"
)

func TestContext_ends_like_one_of_the_library(t *testing.T) {
	t.Parallel()
	type key struct{}
	parent := context.WithValue(t.Context(), key{}, "value")
	canceled, cancel := context.WithCancel(parent)
	cancel()
	for name, row := range map[string]struct {
		parent context.Context
		after  time.Duration
		stop   bool
		want   error
	}{
		"not at all":            {parent, time.Hour, false, nil},
		"with its time":         {parent, -1, false, context.DeadlineExceeded},
		"with Stop":             {parent, time.Hour, true, context.Canceled},
		"with its parent":       {canceled, time.Hour, false, context.Canceled},
		"with the inner's time": {unhurried.With(parent, -1), time.Hour, false, context.DeadlineExceeded},
	} {
		for _, asked := range []bool{false, true} { // whether Done is asked for before
			c := unhurried.With(row.parent, row.after)
			if asked {
				c.Done()
			}
			if row.stop {
				c.Stop()
			}
			if asked && row.want != nil {
				<-c.Done()
			}
			if err := c.Err(); !errors.Is(err, row.want) {
				t.Errorf("%s, asked for Done %t: %v, want %v", name, asked, err, row.want)
			}
			if row.want != nil {
				<-c.Done()
			}
			if c.Value(key{}) != "value" {
				t.Errorf("%s, asked for Done %t: its parent's values are gone", name, asked)
			}
			c.Stop()
			<-c.Done()
			if c.Err() == nil {
				t.Errorf("%s, asked for Done %t: goes on after Stop", name, asked)
			}
		}
	}
}

func TestContext_is_a_parent(t *testing.T) {
	t.Parallel()
	c := unhurried.With(t.Context(), time.Hour)
	child, cancel := context.WithTimeout(c, 2*time.Hour)
	defer cancel()
	ours, _ := c.Deadline()
	if end, bounded := child.Deadline(); !bounded || !end.Equal(ours) {
		t.Errorf("the child ends at %v, want %v", end, ours)
	}
	c.Stop()
	<-child.Done()
}
