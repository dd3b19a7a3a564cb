// Package sample is a hub with everything that hubgen knows, and what it writes
// for it.
package sample

import (
	"context"
	"encoding/json"
	"iter"
	"net/netip"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

//go:generate go run github.com/signalbox/signalbox/hubs/hubgen -hub Board -client Viewer -go viewer.go -ts hub.ts

// Viewer is what the server may call.
type Viewer interface {
	Changed(ctx context.Context, task Task, at time.Time) error
	Closed(ctx context.Context) error
	Confirm(ctx context.Context, question string, ctx2 []string) (bool, error)
	Where(context.Context) (*Place, error)
	When(ctx within, time string) (time.Time, error)
	Type(ctx context.Context, p json.RawMessage, type_ map[int]Level) error
}

// within is another name for a context.
type within = context.Context

// Task is something to do.
type Task struct {
	Meta
	ID       int64          `json:"id"`
	Title    string         `json:"title"`
	Note     *string        `json:"note,omitempty"`
	Due      time.Time      `json:"due,omitzero"`
	Files    [][]byte       `json:"files"`
	Sub      []*Task        `json:"sub"`
	Extra    map[string]any `json:"extra-data"`
	Internal string         `json:"-"`
	Level    Level
	Point    struct{ X, Y float64 } `json:"point"`
	From     netip.Addr             `json:"from"`
}

// Meta is embedded.
type Meta struct {
	Version uint32 `json:"version"`
}

// Place is only used by a client's answer.
type Place struct {
	Name string `json:"name"`
}

// Level is a number with a name.
type Level int

// Board is the hub.
type Board struct{}

// New returns the hub as clients know it.
func New() (hubs.Dispatcher, error) {
	return hubs.Register(&Board{}, hubs.Rename("Old", "Renamed"), hubs.Hide("Secret"))
}

// Add returns the stored task.
func (*Board) Add(_ context.Context, t Task) (Task, error) { return t, nil }

// Remove returns nothing.
func (*Board) Remove(int64) {}

// Watch streams tasks.
func (*Board) Watch(context.Context, []string) iter.Seq2[Task, error] { return nil }

// Levels streams numbers.
func (*Board) Levels() (<-chan Level, error) { return nil, nil }

// Import takes two uploads.
func (*Board) Import(_ context.Context, tasks iter.Seq2[Task, error], new string, marks <-chan bool) (int, error) {
	return 0, nil
}

// Old has another name outside.
func (*Board) Old(any) any { return nil }

// Secret is hidden.
func (*Board) Secret() {}

// Close has the name of an io.Closer's method and another signature.
func (*Board) Close(within, string) error { return nil }

// String is that of fmt.Stringer, no hub method.
func (*Board) String() string { return "board" }

// OnConnected is no hub method.
func (*Board) OnConnected(context.Context) error { return nil }
