package filters

import (
	"context"
	"reflect"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// Validator is an argument that knows whether it makes sense.
type Validator interface{ Validate() error }

// Validate refuses invocations with bad arguments, in words that the caller
// gets. Arguments that are Validators are asked, then check, which may be nil.
// It belongs into hubs.Use or hubs.UseOn: only there the arguments are decoded.
func Validate(check func(ctx context.Context, method string, arguments []any) error) hubs.Filter {
	return &validation{check: check}
}

type validation struct {
	hubs.PassFilter
	check func(context.Context, string, []any) error
}

// OnInvocation implements hubs.Filter.
func (f *validation) OnInvocation(ctx context.Context, _ *hubs.Connection, _ *protocol.Message, next func(context.Context) error) error {
	call := hubs.FromContext(ctx)
	for i, a := range call.Arguments() {
		if v, ok := validator(a); ok {
			if err := v.Validate(); err != nil {
				return hubs.Errorf("Argument %d: %v", i+1, err)
			}
		}
	}
	if f.check != nil {
		if err := f.check(ctx, call.Method(), call.Arguments()); err != nil {
			return hubs.NewError(err.Error())
		}
	}
	return next(ctx)
}

var validatorType = reflect.TypeFor[Validator]()

// validator finds Validate also where a pointer has it.
func validator(a any) (Validator, bool) {
	if a == nil {
		return nil, false
	}
	v := reflect.ValueOf(a)
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, false
	}
	if found, ok := a.(Validator); ok {
		return found, true
	}
	if !reflect.PointerTo(v.Type()).Implements(validatorType) {
		return nil, false
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p.Interface().(Validator), true
}
