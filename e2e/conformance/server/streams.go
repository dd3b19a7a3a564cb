package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/signalbox/signalbox/hubs"
)

// Count streams 0 to n-1.
func (*Hub) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// Channel streams 0 to n-1 from a channel.
func (*Hub) Channel(n int) <-chan int {
	c := make(chan int, n)
	for i := range n {
		c <- i
	}
	close(c)
	return c
}

// FailFirst fails before it streams.
func (*Hub) FailFirst() (iter.Seq[int], error) { return nil, errors.New("too early") }

// NoStream returns no stream.
func (*Hub) NoStream() iter.Seq[int] { return nil }

// FailLater fails after two items.
func (*Hub) FailLater() iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		_ = yield(1, nil) && yield(2, nil) && yield(0, errors.New("too late"))
	}
}

// Endless streams three items, then waits for its end, which it tells the journal.
func (h *Hub) Endless(ctx context.Context, name string) iter.Seq[int] {
	return func(yield func(int) bool) {
		_ = yield(0) && yield(1) && yield(2)
		<-ctx.Done()
		h.journal(name) <- "cancelled"
	}
}

// Starting becomes a stream when the journal says so.
func (h *Hub) Starting(ctx context.Context, name string) (iter.Seq2[string, error], error) {
	s, err := h.Enter(ctx, name)
	if err != nil {
		return nil, err
	}
	return func(yield func(string, error) bool) {
		if !yield(s, nil) {
			return
		}
		yield(h.Await(ctx, name))
	}, nil
}

// Concat puts an upload together.
func (*Hub) Concat(parts iter.Seq2[string, error]) (string, error) {
	var b strings.Builder
	for p, err := range parts {
		if err != nil {
			return "", err
		}
		b.WriteString(p)
	}
	return b.String(), nil
}

// Sum adds an upload up.
func (*Hub) Sum(ctx context.Context, numbers <-chan int, from int) (int, error) {
	for n := range numbers {
		from += n
	}
	return from, context.Cause(ctx)
}

// Zip takes two uploads and an argument.
func (*Hub) Zip(letters iter.Seq2[string, error], separator string, numbers iter.Seq2[int, error]) (string, error) {
	var all []string
	for l, err := range letters {
		if err != nil {
			return "", err
		}
		all = append(all, l)
	}
	for n, err := range numbers {
		if err != nil {
			return "", err
		}
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, separator), nil
}

// Double streams twice what is uploaded.
func (*Hub) Double(numbers iter.Seq2[int, error]) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n, err := range numbers {
			if !yield(2*n, err) {
				return
			}
		}
	}
}

// First takes one item and returns it.
func (*Hub) First(numbers iter.Seq2[int, error]) (int, error) {
	for n, err := range numbers {
		return n, err
	}
	return -1, nil
}

// Ask invokes a client and returns its answer.
func (*Hub) Ask(ctx context.Context, id, method string, question int) (string, error) {
	answer, err := hubs.Invoke[string](ctx, hubs.FromContext(ctx).Client(id), method, question)
	return answer, told(err)
}

// AskOutside asks as background work would.
func (h *Hub) AskOutside(ctx context.Context, id, method string, question int) (string, error) {
	answer, err := hubs.Invoke[string](context.WithoutCancel(ctx), h.outside.Client(id), method, question)
	return answer, told(err)
}

// AskGroup asks more than one client, which is refused.
func (*Hub) AskGroup(ctx context.Context, group string) (string, error) {
	answer, err := hubs.Invoke[string](ctx, hubs.FromContext(ctx).Group(group), "question")
	return answer, told(err)
}

// told lets the test see why a client has not answered.
func told(err error) error {
	if err == nil {
		return nil
	}
	return hubs.NewError(err.Error())
}
