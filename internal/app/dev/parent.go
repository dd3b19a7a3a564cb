package dev

import (
	"context"
	"errors"
	"os"
	"time"
)

// parentPoll is how often the parent is looked for; there is no portable signal
// of its death.
const parentPoll = 500 * time.Millisecond

var errParentEnded = errors.New("the parent process ended")

// EndWithParent returns a context that ends when this process loses the parent
// with that id. 0, or an id that is not the parent's, watches nothing.
func EndWithParent(ctx context.Context, parent int) context.Context {
	if parent == 0 || os.Getppid() != parent {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		ticker := time.NewTicker(parentPoll)
		defer ticker.Stop()
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
		cancel(errParentEnded)
	}()
	return ctx
}
