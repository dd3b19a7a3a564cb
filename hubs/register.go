package hubs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// RegisterOption is an option of Register.
type RegisterOption func(*registration)

// Use adds filters to every method of the hub; they run inside those of
// Config.Filters, in this order, when the arguments have been decoded.
func Use(filters ...Filter) RegisterOption {
	return func(r *registration) { r.filters = append(r.filters, filters...) }
}

// UseOn adds filters to one method, by its Go name; they run innermost. Only
// their OnInvocation is called.
func UseOn(method string, filters ...Filter) RegisterOption {
	return func(r *registration) {
		r.named = append(r.named, method)
		r.methodFilters[method] = append(r.methodFilters[method], filters...)
	}
}

// Rename makes clients know a method, given by its Go name, by another name only.
func Rename(method, name string) RegisterOption {
	return func(r *registration) {
		r.named = append(r.named, method)
		r.names[method] = name
	}
}

// Hide keeps an exported method, given by its Go name, from clients.
func Hide(method string) RegisterOption {
	return func(r *registration) {
		r.named = append(r.named, method)
		r.hidden = append(r.hidden, method)
	}
}

// registration is what Register's options say.
type registration struct {
	filters       []Filter
	methodFilters map[string][]Filter
	names         map[string]string
	hidden        []string
	named         []string // Go names in options
}

// Connecter is a hub that wants to know of new connections. OnConnected runs
// before the first invocation; an error closes the connection, an *Error is shown.
type Connecter interface {
	OnConnected(ctx context.Context) error
}

// Disconnecter is a hub that wants to know when connections end. cause is nil
// when the client left in the orderly way. The context isn't cancelled by the
// end of the connection.
type Disconnecter interface {
	OnDisconnected(ctx context.Context, cause error)
}

// Register returns the Dispatcher that calls the exported methods of hub, which
// serves all clients at once. Clients find them without regard to case.
//
// A method takes a context.Context first or none, then up to 64 arguments that
// messages can be decoded into (see package values), among them upload streams:
// iter.Seq2[T, error] or <-chan T, which clients fill while the method runs. It
// returns nothing, an error, a value, or a value and an error. A value of type
// iter.Seq2[T, error], iter.Seq[T] or <-chan T is a stream to the caller.
//
// An upload that fails ends a sequence with its error; a channel is closed and
// the context cancelled with the error as its cause. The context is cancelled
// when the connection ends, and that of a streaming method when the caller
// cancels the stream. A method that doesn't return keeps its connection from
// ending.
//
// OnConnected and OnDisconnected (see Connecter and Disconnecter) are no hub
// methods, nor are those of fmt.Stringer, io.Closer and sync.Locker.
//
// The error names every method that can't be served, and why.
func Register(hub any, options ...RegisterOption) (Dispatcher, error) {
	r := registration{methodFilters: map[string][]Filter{}, names: map[string]string{}}
	for _, o := range options {
		o(&r)
	}
	if hub == nil {
		return nil, errors.New("register hub: the hub is nil")
	}
	v := reflect.ValueOf(hub)
	t := v.Type()
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("register hub: the *%s is nil", t.Elem().Name())
	}
	if v.Kind() != reflect.Pointer && reflect.PointerTo(t).NumMethod() > t.NumMethod() {
		return nil, fmt.Errorf("register hub %s: some methods have pointer receivers: register a *%s", t, t.Name())
	}
	d := &methods{hub: hub, filters: r.filters, byName: make(map[string]*method)}
	d.connecter, _ = hub.(Connecter)
	d.disconnecter, _ = hub.(Disconnecter)
	var errs []error
	for _, n := range r.named {
		if _, ok := t.MethodByName(n); !ok {
			errs = append(errs, fmt.Errorf("an option names method %s, which doesn't exist or isn't exported", n))
		}
	}
	for i := range t.NumMethod() {
		goName := t.Method(i).Name
		if slices.Contains(r.hidden, goName) || isCommon(hub, goName) {
			continue
		}
		if err := d.add(v, i, &r); err != nil {
			errs = append(errs, fmt.Errorf("method %s: %w", goName, err))
		}
	}
	if len(errs) == 0 && len(d.byName) == 0 && d.connecter == nil && d.disconnecter == nil {
		errs = append(errs, errors.New("it has no exported methods"))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("register hub %s: %w", t, errors.Join(errs...))
	}
	return d, nil
}

// add compiles one method.
func (d *methods) add(hub reflect.Value, i int, r *registration) error {
	goName := hub.Type().Method(i).Name
	switch goName {
	case "OnConnected":
		if d.connecter == nil {
			return errors.New("it must be func(context.Context) error")
		}
		return nil
	case "OnDisconnected":
		if d.disconnecter == nil {
			return errors.New("it must be func(context.Context, error)")
		}
		return nil
	}
	m, err := compile(hub, i)
	if err != nil {
		return err
	}
	m.name = goName
	if name, renamed := r.names[goName]; renamed {
		if name == "" {
			return errors.New("Rename needs a name")
		}
		m.name = name
	}
	m.filters = append(slices.Clone(r.filters), r.methodFilters[goName]...)
	key := strings.ToLower(m.name)
	if other := d.byName[key]; other != nil {
		return fmt.Errorf("clients can't tell it from %s: names are compared without regard to case", other.name)
	}
	d.byName[key], d.byName[m.name] = m, m
	return nil
}

// isCommon reports whether the method belongs to an interface that types have
// for other reasons, often through an embedded field.
func isCommon(hub any, method string) bool {
	switch method {
	case "String":
		_, ok := hub.(fmt.Stringer)
		return ok
	case "Close":
		_, ok := hub.(io.Closer)
		return ok
	case "Lock", "Unlock", "TryLock", "RLock", "RUnlock", "TryRLock", "RLocker":
		_, ok := hub.(sync.Locker)
		return ok
	}
	return false
}
