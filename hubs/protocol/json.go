package protocol

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonProtocol is the hub protocol "json" (HubProtocol.md, "JSON Encoding").
type jsonProtocol struct{}

func (jsonProtocol) Name() string                   { return "json" }
func (jsonProtocol) TransferFormat() TransferFormat { return Text }
func (jsonProtocol) Encoding() Encoding             { return JSON }

// Append writes the properties that the message's type has, in the order in
// which .NET writes them. A record never holds CR or LF.
func (jsonProtocol) Append(dst []byte, m *Message) ([]byte, error) {
	start := len(dst)
	dst = append(dst, `{"type":`...)
	dst = strconv.AppendInt(dst, int64(m.Type), 10)
	var err error
	switch m.Type {
	case Invocation, StreamInvocation:
		dst = appendJSONHead(dst, m)
		dst = append(dst, `,"target":`...)
		dst = appendJSONString(dst, m.Target)
		dst = append(dst, `,"arguments":`...)
		if m.Arguments.Present() {
			dst, err = appendJSONRaw(dst, m.Arguments)
		} else {
			dst = append(dst, "[]"...)
		}
		dst = appendJSONStreamIDs(dst, m.StreamIDs)
	case StreamItem:
		dst = appendJSONHead(dst, m)
		dst = append(dst, `,"item":`...)
		if m.Item.Present() {
			dst, err = appendJSONRaw(dst, m.Item)
		} else {
			dst = append(dst, "null"...)
		}
	case Completion:
		dst = appendJSONHead(dst, m)
		if !hasError(m) && m.Result.Present() {
			dst = append(dst, `,"result":`...)
			dst, err = appendJSONRaw(dst, m.Result)
		} else {
			dst = appendJSONError(dst, m)
		}
	case CancelInvocation:
		dst = appendJSONHead(dst, m)
	case Close:
		dst = appendJSONError(dst, m)
		if m.AllowReconnect {
			dst = append(dst, `,"allowReconnect":true`...)
		}
	case Ack, Sequence:
		dst = append(dst, `,"sequenceId":`...)
		dst = strconv.AppendInt(dst, m.SequenceID, 10)
	}
	if err != nil {
		return dst[:start], err
	}
	return append(dst, '}', recordSeparator), nil
}

func hasError(m *Message) bool { return m.HasError || m.Error != "" }

// appendJSONHead writes what every message of an invocation may have.
func appendJSONHead(dst []byte, m *Message) []byte {
	for i, h := range m.Headers {
		if i == 0 {
			dst = append(dst, `,"headers":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, h.Name)
		dst = append(dst, ':')
		dst = appendJSONString(dst, h.Value)
	}
	if len(m.Headers) > 0 {
		dst = append(dst, '}')
	}
	if m.InvocationID != "" {
		dst = append(dst, `,"invocationId":`...)
		dst = appendJSONString(dst, m.InvocationID)
	}
	return dst
}

func appendJSONError(dst []byte, m *Message) []byte {
	if !hasError(m) {
		return dst
	}
	dst = append(dst, `,"error":`...)
	return appendJSONString(dst, m.Error)
}

func appendJSONStreamIDs(dst []byte, ids []string) []byte {
	for i, id := range ids {
		if i == 0 {
			dst = append(dst, `,"streamIds":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, id)
	}
	if len(ids) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// appendJSONString writes s quoted. Bytes that are no UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error only reports the U+FFFD
	return dst
}

// appendJSONRaw writes r, transcoded where needed. Line breaks can only stand
// between the tokens of a JSON value; they are left out, so that no record
// spans lines (Server-Sent Events would have to split it).
func appendJSONRaw(dst []byte, r Raw) ([]byte, error) {
	if r.Encoding != JSON {
		return AppendJSON(dst, r)
	}
	if bytes.IndexByte(r.Bytes, '\n') < 0 && bytes.IndexByte(r.Bytes, '\r') < 0 {
		return append(dst, r.Bytes...), nil
	}
	for _, c := range r.Bytes {
		if c != '\n' && c != '\r' {
			dst = append(dst, c)
		}
	}
	return dst, nil
}
