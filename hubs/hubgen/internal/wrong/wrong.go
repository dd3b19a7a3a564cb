// Package wrong has what hubgen refuses.
package wrong

import (
	"context"

	"github.com/signalbox/signalbox/hubs"
)

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

// Registered are the ways in which hubs may be registered here.
func Registered() (all [6]hubs.Dispatcher) {
	const add = "Add"
	all[0], _ = hubs.Register(Board{}, hubs.Rename(add, "Put"))
	all[1], _ = hubs.Register(Odd{})
	all[2], _ = hubs.Register(Lost{}, hubs.Hide("Nope"), hubs.Rename("Nothing", "x"))
	more := []hubs.RegisterOption{hubs.Hide("Add")}
	all[3], _ = hubs.Register(Spread{}, more...)
	all[4], _ = hubs.Register(Twice{}, hubs.Hide("Add"))
	all[5], _ = hubs.Register(Twice{})
	return all
}

// Lost is registered with options for methods that it doesn't have.
type Lost struct{}

// Add does nothing.
func (Lost) Add(int) {}

// Spread is registered with options that can't be read.
type Spread struct{}

// Add does nothing.
func (Spread) Add(int) {}

// Twice is registered in two ways.
type Twice struct{}

// Add does nothing.
func (Twice) Add(int) {}

// Stray is not registered.
type Stray struct{}

// Add does nothing.
func (Stray) Add(int) {}
