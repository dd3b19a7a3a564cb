package protocol

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// Parse reads the first record of data. Properties come in any order; of a
// property that comes twice the last one counts and unknown ones are passed
// over, both as in ASP.NET. Bytes after the object are an error.
func (jsonProtocol) Parse(data []byte, m *Message) (int, error) {
	end := bytes.IndexByte(data, recordSeparator)
	if end < 0 {
		return 0, nil
	}
	m.reset()
	p := jsonMessage{m: m}
	o, err := openRecord(data[:end])
	if err != nil {
		return 0, err
	}
	for o.more {
		name, value, err := o.name()
		if err != nil {
			return 0, err
		}
		after, err := p.property(name, o.record, value)
		if err != nil {
			return 0, err
		}
		if err := o.next(after); err != nil {
			return 0, err
		}
	}
	if err := p.finish(); err != nil {
		return 0, err
	}
	return end + 1, nil
}

// jsonObject walks the properties of the one object that a record holds: while
// more is set, name and then, with the index after the value, next.
type jsonObject struct {
	record []byte
	i      int
	count  int
	more   bool
}

// openRecord begins the walk.
func openRecord(record []byte) (jsonObject, error) {
	o := jsonObject{record: record}
	if !utf8.Valid(record) {
		return o, errReadingJSON
	}
	i := skipSpace(record, 0)
	if i >= len(record) {
		return o, errReadingJSON
	}
	if record[i] != '{' {
		return o, errNoObject(record, i)
	}
	o.i, o.more = openObject(record, i)
	return o, o.checkEnd()
}

// name reads a property's name and returns where its value starts.
func (o *jsonObject) name() (name []byte, value int, err error) {
	if o.count++; o.count > MaxProperties {
		return nil, 0, errTooManyProperties
	}
	quoted, escaped, value := scanName(o.record, o.i)
	if value < 0 {
		return nil, 0, errReadingJSON
	}
	name, ok := unquote(quoted, escaped)
	if !ok {
		return nil, 0, errReadingJSON
	}
	return name, value, nil
}

// next steps from the end of a value to the next property or out of the object.
func (o *jsonObject) next(end int) error {
	if o.i, o.more = nextMember(o.record, end); o.i < 0 {
		return errReadingJSON
	}
	return o.checkEnd()
}

// checkEnd refuses anything but white space after the object.
func (o *jsonObject) checkEnd() error {
	if !o.more && skipSpace(o.record, o.i) != len(o.record) {
		return errReadingJSON
	}
	return nil
}

// errNoObject names what stands at b[i] as System.Text.Json does.
func errNoObject(b []byte, i int) *Error {
	var kind string
	switch b[i] {
	case '[':
		kind = "Array"
	case '"':
		kind = "String"
	case 't':
		kind = "True"
	case 'f':
		kind = "False"
	case 'n':
		kind = "Null"
	default:
		kind = "Number"
	}
	if b[i] != '[' && scanValue(b, i, 0) < 0 {
		return errReadingJSON
	}
	return &Error{"Unexpected JSON Token Type '" + kind + "'. Expected a JSON Object."}
}

// jsonMessage is a Message being read; it remembers what absence can't show.
type jsonMessage struct {
	m *Message

	number                                 int64 // the type as it was sent
	hasType, hasID, hasTarget, hasSequence bool
}

func (p *jsonMessage) property(name, b []byte, i int) (int, error) {
	m := p.m
	var err error
	switch string(name) {
	case "type":
		p.hasType = true
		p.number, i, err = readJSONInteger(b, i, "type", 32)
	case "invocationId":
		p.hasID = true
		m.InvocationID, i, err = readJSONString(b, i, "invocationId", m.InvocationID)
		if err == nil && len(m.InvocationID) > MaxInvocationIDBytes {
			err = errInvocationTooLong
		}
	case "target":
		p.hasTarget = true
		m.Target, i, err = readJSONString(b, i, "target", m.Target)
		if err == nil && len(m.Target) > MaxTargetBytes {
			err = errTargetTooLong
		}
	case "arguments":
		i, err = p.arguments(b, i)
	case "streamIds":
		i, err = p.streamIDs(b, i)
	case "headers":
		i, err = p.headers(b, i)
	case "item":
		m.Item, i, err = readJSONRaw(b, i)
	case "result":
		m.Result, i, err = readJSONRaw(b, i)
	case "error":
		m.HasError = true
		m.Error, i, err = readJSONString(b, i, "error", "")
	case "allowReconnect":
		m.AllowReconnect, i, err = readJSONBool(b, i, "allowReconnect")
	case "sequenceId":
		p.hasSequence = true
		m.SequenceID, i, err = readJSONInteger(b, i, "sequenceId", 64)
	default:
		_, i, err = readJSONRaw(b, i)
	}
	return i, err
}

func (p *jsonMessage) arguments(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, errReadingJSON
	}
	if b[i] != '[' {
		return 0, errWrongKind(b, i, "arguments", "Array")
	}
	end, count := scanArray(b, i, MaxDepth-1)
	if end < 0 {
		return 0, errReadingJSON
	}
	if count > MaxArguments {
		return 0, errTooManyArguments
	}
	p.m.Arguments = Raw{JSON, b[i:end:end]}
	p.m.ArgumentCount = count
	return end, nil
}

func (p *jsonMessage) streamIDs(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, errReadingJSON
	}
	if b[i] != '[' {
		return 0, errWrongKind(b, i, "streamIds", "Array")
	}
	end, count := scanArray(b, i, MaxDepth-1)
	if end < 0 {
		return 0, errReadingJSON
	}
	if count > MaxStreamIDs {
		return 0, errTooManyStreamIDs
	}
	p.m.StreamIDs = p.m.StreamIDs[:0]
	for range count {
		i = skipSpace(b, i+1) // the bracket or a comma
		if b[i] == 'n' {
			return 0, errNullStreamID
		}
		id, next, err := readJSONString(b, i, "streamIds", "")
		if err != nil {
			return 0, err
		}
		if len(id) > MaxInvocationIDBytes {
			return 0, errStreamIDTooLong
		}
		p.m.StreamIDs = append(p.m.StreamIDs, id)
		i = skipSpace(b, next)
	}
	return end, nil
}

func (p *jsonMessage) headers(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, errReadingJSON
	}
	if b[i] != '{' {
		return 0, errWrongKind(b, i, "headers", "StartObject")
	}
	p.m.Headers = p.m.Headers[:0]
	i, more := openObject(b, i)
	for more {
		quoted, escaped, value := scanName(b, i)
		if value < 0 {
			return 0, errReadingJSON
		}
		name, ok := unquote(quoted, escaped)
		if !ok {
			return 0, errReadingJSON
		}
		if len(p.m.Headers) == MaxHeaders {
			return 0, errTooManyHeaders
		}
		if len(name) > MaxHeaderBytes {
			return 0, errHeaderTooLong
		}
		text, next, err := readJSONString(b, value, "", "")
		if err != nil {
			if !errors.Is(err, errReadingJSON) {
				err = &Error{"Expected header '" + string(name) + "' to be of type String."}
			}
			return 0, err
		}
		if len(name)+len(text) > MaxHeaderBytes {
			return 0, errHeaderTooLong
		}
		p.m.Headers = append(p.m.Headers, Header{string(name), text})
		if i, more = nextMember(b, next); i < 0 {
			return 0, errReadingJSON
		}
	}
	return i, nil
}

// finish demands what the message's type needs, in ASP.NET's order.
func (p *jsonMessage) finish() error {
	m := p.m
	if !p.hasID {
		m.InvocationID = ""
	}
	if !p.hasTarget {
		m.Target = ""
	}
	if !p.hasType {
		return errMissing("type")
	}
	if p.number >= math.MinInt8 && p.number <= math.MaxInt8 {
		m.Type = Type(p.number)
	}
	switch m.Type {
	case Invocation, StreamInvocation:
		switch {
		case !p.hasTarget:
			return errMissing("target")
		case m.Type == StreamInvocation && m.InvocationID == "":
			return errMissing("invocationId")
		case m.Target == "":
			return errMissing("target")
		case !m.Arguments.Present():
			return errMissing("arguments")
		}
	case StreamItem:
		switch {
		case m.InvocationID == "":
			return errMissing("invocationId")
		case !m.Item.Present():
			return errMissing("item")
		}
	case Completion:
		switch {
		case m.InvocationID == "":
			return errMissing("invocationId")
		case m.HasError && m.Result.Present():
			return errExclusive
		}
	case CancelInvocation:
		if m.InvocationID == "" {
			return errMissing("invocationId")
		}
	case Ack, Sequence:
		if !p.hasSequence {
			return errMissing("sequenceId")
		}
	}
	return nil
}

// readJSONRaw passes over one value of a message.
func readJSONRaw(b []byte, i int) (Raw, int, error) {
	end := scanValue(b, i, MaxDepth-1)
	if end < 0 {
		return Raw{}, 0, errReadingJSON
	}
	return Raw{JSON, b[i:end:end]}, end, nil
}

// readJSONString reads a string; it returns was itself when the two are equal.
func readJSONString(b []byte, i int, property, was string) (string, int, error) {
	if i < len(b) && b[i] != '"' {
		return "", 0, errWrongKind(b, i, property, "String")
	}
	end, escaped := scanString(b, i)
	if end < 0 {
		return "", 0, errReadingJSON
	}
	content, ok := unquote(b[i:end], escaped)
	if !ok {
		return "", 0, errReadingJSON
	}
	return reuse(was, content), end, nil
}

// readJSONInteger reads a number that is written as an integer of so many bits.
func readJSONInteger(b []byte, i int, property string, bits int) (int64, int, error) {
	if i >= len(b) {
		return 0, 0, errReadingJSON
	}
	if b[i] != '-' && !isDigit(b[i]) {
		return 0, 0, errWrongKind(b, i, property, "Number")
	}
	end := scanNumber(b, i)
	if end < 0 {
		return 0, 0, errReadingJSON
	}
	n, err := strconv.ParseInt(string(b[i:end]), 10, bits)
	if err != nil {
		return 0, 0, errExpected(property, "Int"+strconv.Itoa(bits))
	}
	return n, end, nil
}

func readJSONBool(b []byte, i int, property string) (bool, int, error) {
	if end := scanLiteral(b, i, "true"); end > 0 {
		return true, end, nil
	}
	if end := scanLiteral(b, i, "false"); end > 0 {
		return false, end, nil
	}
	if scanValue(b, i, MaxDepth-1) < 0 {
		return false, 0, errReadingJSON
	}
	return false, 0, &Error{"Expected '" + property + "' to be true or false."}
}

// errWrongKind tells a value of the wrong kind from one that is no JSON at all.
// Of an array or object only the bracket counts, as in a streaming reader.
func errWrongKind(b []byte, i int, property, kind string) *Error {
	if b[i] != '[' && b[i] != '{' && scanValue(b, i, 0) < 0 {
		return errReadingJSON
	}
	return errExpected(property, kind)
}
