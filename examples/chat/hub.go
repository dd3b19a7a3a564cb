package main

import (
	"context"
	"iter"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// Chat is the hub. Its exported methods are what clients can call.
type Chat struct{}

// Join puts the caller into a room and tells the others.
func (*Chat) Join(ctx context.Context, room, name string) error {
	if name == "" {
		return hubs.NewError("Please say who you are.") // shown to the caller; other errors are not
	}
	call := hubs.FromContext(ctx)
	call.SetValue("name", name)
	if err := call.Join(ctx, room); err != nil {
		return err
	}
	return call.Group(room).Send(ctx, "Notice", name+" is here")
}

// Say sends a text to everybody in the room and answers with the time.
func (*Chat) Say(ctx context.Context, room, text string) (time.Time, error) {
	call := hubs.FromContext(ctx)
	return time.Now(), call.Group(room).Send(ctx, "Message", call.Value("name"), text)
}

// Countdown streams numbers to the caller, until zero or until it cancels.
func (*Chat) Countdown(ctx context.Context, from int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n := from; n >= 0 && yield(n, nil); n-- {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	}
}
