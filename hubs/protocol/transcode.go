package protocol

import "github.com/go-json-experiment/json/jsontext"

// Values are transcoded token by token under the limits of a message (nesting,
// promised elements); nothing is decoded into Go values. What both notations
// have is kept. Of the rest:
//
//	JSON to MessagePack
//	  integer within int64 or uint64      int
//	  other number                        float64, the nearest; too large: error
//	  surrogate without its partner       U+FFFD, as .NET writes it
//	MessagePack to JSON
//	  bin                                 base64 text with padding
//	  timestamp extension (-1)            RFC 3339 text in UTC, up to 9 fractional digits, years 1 to 9999
//	  other extensions, NaN, infinities   error, as in System.Text.Json
//	  integer, float or bool as map key   its text
//	  other keys that are no text         error
//
// Text must be UTF-8 and an object's names must differ, else there is an error:
// readers disagree on which of two equal names counts.

var (
	errDepth         = &Error{"The value is nested too deep."}
	errNumberRange   = &Error{"A number is out of range."}
	errNotFinite     = &Error{"NaN and infinities can't be written as JSON."}
	errInvalidUTF8   = &Error{"A text is not valid UTF-8."}
	errDuplicateName = &Error{"Two properties of an object have the same name."}
	errExtension     = &Error{"A MessagePack extension can't be written as JSON."}
	errTimestamp     = &Error{"A timestamp is out of range."}
	errMapKey        = &Error{"A map key can't be written as a JSON property name."}
)

// AppendJSON appends r as compact JSON and returns the longer slice. When r is
// MessagePack, it grows to at most about six times its length. On an *Error dst
// comes back as it was.
func AppendJSON(dst []byte, r Raw) ([]byte, error) {
	if r.Encoding == JSON {
		return appendJSONRaw(dst, r)
	}
	t := jsonWriter{r: mpReader{b: r.Bytes, pending: 1}}
	out, err := t.value(dst, MaxDepth-1)
	if err == nil && len(t.r.b) > 0 {
		err = errReadingMessagePack
	}
	if err == nil && t.objects && !jsontext.Value(out[len(dst):]).IsValid() {
		err = errDuplicateName
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// AppendMessagePack appends r as MessagePack and returns the longer slice. When
// r is JSON, it grows to at most about three times its length. On an *Error dst
// comes back as it was.
func AppendMessagePack(dst []byte, r Raw) ([]byte, error) {
	if r.Encoding == MessagePack {
		return appendMPRaw(dst, r)
	}
	t := mpWriter{b: r.Bytes}
	out, err := t.message(dst)
	if err != nil {
		return dst, err
	}
	if t.objects && !jsontext.Value(r.Bytes).IsValid(jsontext.AllowInvalidUTF8(true)) {
		return dst, errDuplicateName
	}
	return out, nil
}
