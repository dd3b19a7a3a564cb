package hubs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// method is one hub method, compiled for calling.
type method struct {
	name       string // as clients know it
	hub        reflect.Value
	fn         reflect.Value // takes the hub first
	filters    []Filter
	parameters []parameter
	arguments  int // parameters that are arguments
	uploads    []*uploadType
	returns    reflect.Type // nil: no value
	stream     streamKind   // of the value
	fails      bool         // the last result is an error
	frames     sync.Pool
}

// parameter says what goes into one parameter.
type parameter struct {
	kind parameterKind
	typ  reflect.Type
}

type parameterKind uint8

const (
	argument parameterKind = iota
	contextParameter
	uploadParameter
)

// streamKind is the form of a stream in a signature.
type streamKind uint8

const (
	noStream streamKind = iota
	channel
	sequence       // iter.Seq[T]
	sequenceErrors // iter.Seq2[T, error]
)

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
	boolType    = reflect.TypeFor[bool]()
)

// compile checks a method's signature and returns what is needed to call it.
func compile(hub reflect.Value, i int) (*method, error) {
	t := hub.Method(i).Type()
	m := &method{hub: hub, fn: hub.Type().Method(i).Func}
	if t.IsVariadic() {
		return nil, errors.New("it takes a variable number of arguments: take a slice instead")
	}
	var errs []error
	for i := range t.NumIn() {
		p, err := m.parameter(t.In(i), i)
		if err != nil {
			errs = append(errs, fmt.Errorf("parameter %d: %w", i+1, err))
		}
		m.parameters = append(m.parameters, p)
	}
	if m.arguments > protocol.MaxArguments {
		errs = append(errs, fmt.Errorf("it takes %d arguments: at most %d", m.arguments, protocol.MaxArguments))
	}
	if len(m.uploads) > protocol.MaxStreamIDs {
		errs = append(errs, fmt.Errorf("it takes %d upload streams: at most %d", len(m.uploads), protocol.MaxStreamIDs))
	}
	if err := m.results(t); err != nil {
		errs = append(errs, err)
	}
	m.frames.New = func() any { return m.newFrame() }
	return m, errors.Join(errs...)
}

func (m *method) parameter(t reflect.Type, i int) (parameter, error) {
	if t == contextType {
		if i > 0 {
			return parameter{}, errors.New("context.Context must come first")
		}
		return parameter{contextParameter, t}, nil
	}
	kind, elem := streamOf(t)
	switch kind {
	case channel, sequenceErrors:
		u := &uploadType{kind: kind, typ: t, elem: elem}
		m.uploads = append(m.uploads, u)
		return parameter{uploadParameter, t}, values.Check(elem)
	case sequence:
		return parameter{}, fmt.Errorf("an upload can fail: take iter.Seq2[%s, error]", elem)
	}
	m.arguments++
	return parameter{argument, t}, values.Check(t)
}

// results checks what the method returns.
func (m *method) results(t reflect.Type) error {
	n := t.NumOut()
	if n > 0 && t.Out(n-1) == errorType {
		m.fails = true
		n--
	}
	switch {
	case n == 0:
		return nil
	case n > 1 && m.fails:
		return fmt.Errorf("it returns %d values besides the error: at most 1", n)
	case n > 1:
		return fmt.Errorf("it returns %d values: it may return a value, an error, or a value and an error", n)
	}
	m.returns = t.Out(0)
	var elem reflect.Type
	if m.stream, elem = streamOf(m.returns); m.stream == noStream {
		elem = m.returns
	}
	switch elem.Kind() {
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return fmt.Errorf("%s can't be sent to a client", elem)
	}
	return nil
}

// streamOf tells whether t is a stream and of what.
func streamOf(t reflect.Type) (streamKind, reflect.Type) {
	switch {
	case t.Kind() == reflect.Chan && t.ChanDir() == reflect.RecvDir:
		return channel, t.Elem()
	case t.Kind() != reflect.Func || t.NumIn() != 1 || t.NumOut() != 0 || t.IsVariadic():
		return noStream, nil
	}
	yield := t.In(0)
	if yield.Kind() != reflect.Func || yield.NumOut() != 1 || yield.Out(0) != boolType || yield.IsVariadic() {
		return noStream, nil
	}
	switch {
	case yield.NumIn() == 1:
		return sequence, yield.In(0)
	case yield.NumIn() == 2 && yield.In(1) == errorType:
		return sequenceErrors, yield.In(0)
	}
	return noStream, nil
}

// frame holds the parameters of one call; it is used again.
type frame struct {
	in       []reflect.Value // the hub, then the parameters, which are settable
	elements []protocol.Raw
}

// parameter is the i-th parameter.
func (f *frame) parameter(i int) reflect.Value { return f.in[i+1] }

func (m *method) newFrame() *frame {
	f := &frame{in: make([]reflect.Value, 1, len(m.parameters)+1)}
	f.in[0] = m.hub
	for _, p := range m.parameters {
		f.in = append(f.in, reflect.New(p.typ).Elem())
	}
	return f
}

// release gives f back.
func (m *method) release(f *frame) {
	for _, v := range f.in[1:] {
		v.SetZero()
	}
	clear(f.elements)
	m.frames.Put(f)
}

// decode fills the arguments from the message.
func (f *frame) decode(m *method, raw protocol.Raw, count int) error {
	if count != m.arguments {
		return &bindingError{fmt.Sprintf("Invocation provides %d argument(s) but target expects %d.", count, m.arguments)}
	}
	f.elements = protocol.AppendElements(f.elements[:0], raw)
	next := 0
	for i, p := range m.parameters {
		if p.kind != argument {
			continue
		}
		if err := values.DecodeValue(f.elements[next], f.parameter(i)); err != nil {
			return &bindingError{"Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."}
		}
		next++
	}
	return nil
}

// arguments returns copies of the decoded arguments.
func (f *frame) arguments(m *method) []any {
	all := make([]any, 0, m.arguments)
	for i, p := range m.parameters {
		if p.kind == argument {
			all = append(all, f.parameter(i).Interface())
		}
	}
	return all
}

// bindingError: the message doesn't fit the method.
type bindingError struct{ text string }

func (e *bindingError) Error() string { return e.text }
