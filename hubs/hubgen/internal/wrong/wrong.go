// Package wrong has what hubgen refuses.
package wrong

import "context"

// Wrong is no client's interface.
type Wrong interface {
	NoContext(int) error
	NoError(context.Context)
	Many(context.Context, ...int) error
}

// Viewer is one.
type Viewer interface {
	Changed(context.Context) error
}

// Level is no interface.
type Level int

// Odd has a type that can't be sent, and a name that a handler has.
type Odd struct{}

// Send takes a channel in a struct.
func (Odd) Send(struct{ C chan int }) {}

// OnChanged is a hub method.
func (Odd) OnChanged() {}

// Board is a good hub.
type Board struct{}

// Add does nothing.
func (Board) Add(int) {}
