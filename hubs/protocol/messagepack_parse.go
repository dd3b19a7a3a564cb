package protocol

import "strconv"

// Parse reads the first length-prefixed message of data. Elements after those
// that the message's type has are passed over; bytes after the message's array
// are an error.
func (messagePackProtocol) Parse(data []byte, m *Message) (int, error) {
	size, n, err := readLength(data)
	if err != nil || n == 0 || size > len(data)-n {
		return 0, err
	}
	m.reset()
	id, target := m.InvocationID, m.Target
	m.InvocationID, m.Target = "", ""
	p := mpMessage{m: m, r: mpReader{b: data[n : n+size], pending: 1}, id: id, target: target}
	if err := p.read(); err != nil {
		return 0, err
	}
	return n + size, nil
}

// mpMessage is a Message being read. Elements are counted down, so that no
// field is read from beyond the message's array.
type mpMessage struct {
	m          *Message
	r          mpReader
	left       int
	id, target string // of the message that m held before
}

func (p *mpMessage) read() error {
	var ok bool
	if p.left, ok = p.r.array(); !ok {
		return &Error{"Reading array length for 'message' failed."}
	}
	number, err := p.int32("messageType")
	if err != nil {
		return err
	}
	if number >= -128 && number <= 127 {
		p.m.Type = Type(number)
	}
	if err := p.fields(); err != nil {
		return err
	}
	for ; p.left > 0; p.left-- {
		if _, ok := p.r.skip(MaxDepth - 1); !ok {
			return errReadingMessagePack
		}
	}
	if len(p.r.b) > 0 {
		return errTrailingBytes
	}
	return nil
}

func (p *mpMessage) fields() (err error) {
	m := p.m
	switch m.Type {
	case Invocation:
		return p.invocation()
	case StreamInvocation:
		return p.invocation()
	case StreamItem:
		if err := p.head("StreamItem"); err != nil {
			return err
		}
		m.Item, err = p.raw("item")
	case Completion:
		return p.completion()
	case CancelInvocation:
		return p.head("CancelInvocation")
	case Close:
		if m.Error, m.HasError, err = p.nullable("error", ""); err != nil || p.left == 0 {
			return err
		}
		m.AllowReconnect, err = p.bool("allowReconnect")
	case Ack, Sequence:
		m.SequenceID, err = p.int64("sequenceId")
	}
	return err
}

func (p *mpMessage) invocation() error {
	m := p.m
	kind := "Invocation"
	if m.Type == StreamInvocation {
		kind = "StreamInvocation"
	}
	if err := p.headers(); err != nil {
		return err
	}
	if err := p.invocationID(); err != nil {
		return err
	}
	if m.Type == StreamInvocation && m.InvocationID == "" {
		return errNullOrEmpty("invocation ID for StreamInvocation message")
	}
	target, _, err := p.nullable("target", p.target)
	switch {
	case err != nil:
		return err
	case target == "":
		return errNullOrEmpty("target for " + kind + " message")
	case len(target) > MaxTargetBytes:
		return errTargetTooLong
	}
	m.Target = target
	if bound, err := p.arguments(); err != nil || !bound {
		return err
	}
	if p.left == 0 { // clients before ASP.NET Core 3.0
		return nil
	}
	return p.streamIDs()
}

// arguments reports false when they are missing or no array: then the
// invocation alone fails, and what follows is not looked at.
func (p *mpMessage) arguments() (bound bool, err error) {
	count := -1
	if p.left > 0 {
		p.left--
		look := p.r
		if n, ok := look.array(); ok {
			count = n
		}
		raw, ok := p.r.skip(MaxDepth - 1)
		if !ok {
			return false, errReadingMessagePack
		}
		p.m.Arguments = Raw{MessagePack, raw}
	}
	if count < 0 {
		p.m.Arguments = Raw{}
		p.m.BindingError = "Reading array length for 'arguments' failed."
		return false, nil
	}
	if count > MaxArguments {
		return false, errTooManyArguments
	}
	p.m.ArgumentCount = count
	return true, nil
}

func (p *mpMessage) completion() error {
	if err := p.head("Completion"); err != nil {
		return err
	}
	kind, err := p.int32("resultKind")
	if err != nil {
		return err
	}
	switch kind {
	case errorResult:
		p.m.Error, p.m.HasError, err = p.nullable("error", "")
	case voidResult:
	case valueResult:
		p.m.Result, err = p.raw("result")
	default:
		err = errResultKind
	}
	return err
}

// head reads headers and invocation id, which kind needs.
func (p *mpMessage) head(kind string) error {
	if err := p.headers(); err != nil {
		return err
	}
	if err := p.invocationID(); err != nil {
		return err
	}
	if p.m.InvocationID == "" {
		return errNullOrEmpty("invocation ID for " + kind + " message")
	}
	return nil
}

func (p *mpMessage) headers() error {
	count, ok := 0, false
	if p.left > 0 {
		p.left--
		count, ok = p.r.mapping()
	}
	if !ok {
		return &Error{"Reading map length for 'headers' failed."}
	}
	if count > MaxHeaders {
		return errTooManyHeaders
	}
	for i := range count {
		name, _, ok := p.r.text()
		if !ok {
			return errReading("headers["+strconv.Itoa(i)+"].Key", "String")
		}
		value, _, ok := p.r.text()
		switch {
		case len(name) == 0:
			return errNullOrEmpty("key in header")
		case !ok:
			return errReading("headers["+strconv.Itoa(i)+"].Value", "String")
		case len(value) == 0:
			return errNullOrEmpty("value in header")
		case len(name)+len(value) > MaxHeaderBytes:
			return errHeaderTooLong
		}
		p.m.Headers = append(p.m.Headers, Header{string(name), string(value)})
	}
	return nil
}

func (p *mpMessage) invocationID() (err error) {
	p.m.InvocationID, _, err = p.nullable("invocationId", p.id)
	if err == nil && len(p.m.InvocationID) > MaxInvocationIDBytes {
		return errInvocationTooLong
	}
	return err
}

func (p *mpMessage) streamIDs() error {
	p.left--
	count, ok := p.r.array()
	if !ok {
		return &Error{"Reading array length for 'streamIds' failed."}
	}
	if count > MaxStreamIDs {
		return errTooManyStreamIDs
	}
	for range count {
		id, _, ok := p.r.text()
		switch {
		case !ok:
			return errReading("streamIds", "String")
		case len(id) == 0:
			return errNullOrEmpty("value in streamIds received")
		case len(id) > MaxInvocationIDBytes:
			return errStreamIDTooLong
		}
		p.m.StreamIDs = append(p.m.StreamIDs, string(id))
	}
	return nil
}

// raw passes over one value of the message.
func (p *mpMessage) raw(field string) (Raw, error) {
	if p.left > 0 {
		p.left--
		if raw, ok := p.r.skip(MaxDepth - 1); ok {
			return Raw{MessagePack, raw}, nil
		}
	}
	return Raw{}, &Error{"Reading '" + field + "' failed."}
}

// nullable reads a string or nil; it returns was itself when the two are equal.
func (p *mpMessage) nullable(field, was string) (s string, present bool, err error) {
	if p.left > 0 {
		p.left--
		if text, null, ok := p.r.text(); ok {
			return reuse(was, text), !null, nil
		}
	}
	return "", false, errReading(field, "String")
}

func (p *mpMessage) int64(field string) (int64, error) {
	if p.left > 0 {
		p.left--
		if n, ok := p.r.integer(); ok {
			return n, nil
		}
	}
	return 0, errReading(field, "Int64")
}

func (p *mpMessage) int32(field string) (int64, error) {
	n, err := p.int64(field)
	if err != nil || n != int64(int32(n)) {
		return 0, errReading(field, "Int32")
	}
	return n, nil
}

func (p *mpMessage) bool(field string) (bool, error) {
	if p.left > 0 {
		p.left--
		if v, ok := p.r.boolean(); ok {
			return v, nil
		}
	}
	return false, errReading(field, "Boolean")
}
