package values

import (
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/signalbox/signalbox/hubs/protocol"
)

var (
	errTooMany   = fmt.Errorf("more than %d arguments", protocol.MaxArguments)
	errTrailing  = errors.New("bytes follow the value")
	errMalformed = errors.New("the value is malformed")
	errNotFinite = errors.New("NaN and infinities can't be sent")
	errDuplicate = errors.New("two properties of an object have the same name")
	errDepth     = errors.New("the value is nested too deep")
)

func argumentError(i int, err error) error { return fmt.Errorf("argument %d: %w", i+1, err) }

// mismatch says that a value of one kind came where a Go type needs another.
func mismatch(got string, t reflect.Type) error {
	return fmt.Errorf("can't read %s into %s", got, t)
}

// outOfRange says that a number doesn't fit.
func outOfRange(t reflect.Type) error { return fmt.Errorf("a number is out of the range of %s", t) }

var errUTF8 = errors.New("a text is not valid UTF-8")

func validText(s string) bool { return utf8.ValidString(s) }
