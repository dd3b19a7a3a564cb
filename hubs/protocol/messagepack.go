package protocol

import "github.com/tinylib/msgp/msgp"

// messagePackProtocol is the hub protocol "messagepack" (HubProtocol.md,
// "MessagePack (MsgPack) encoding").
type messagePackProtocol struct{}

func (messagePackProtocol) Name() string                   { return "messagepack" }
func (messagePackProtocol) TransferFormat() TransferFormat { return Binary }
func (messagePackProtocol) Encoding() Encoding             { return MessagePack }

// The kinds of a Completion.
const (
	errorResult = 1
	voidResult  = 2
	valueResult = 3
)

// Append writes the elements that the message's type has, as .NET does: stream
// ids are always there, and the heads of numbers, strings and arrays are the
// shortest that fit.
func (messagePackProtocol) Append(dst []byte, m *Message) ([]byte, error) {
	start := len(dst)
	var err error
	switch m.Type {
	case Invocation, StreamInvocation:
		dst = appendMPHead(dst, m, 6)
		dst = msgp.AppendString(dst, m.Target)
		if m.Arguments.Present() {
			dst, err = appendMPRaw(dst, m.Arguments)
		} else {
			dst = msgp.AppendArrayHeader(dst, 0)
		}
		dst = msgp.AppendArrayHeader(dst, uint32(len(m.StreamIDs)))
		for _, id := range m.StreamIDs {
			dst = msgp.AppendString(dst, id)
		}
	case StreamItem:
		dst = appendMPHead(dst, m, 4)
		if m.Item.Present() {
			dst, err = appendMPRaw(dst, m.Item)
		} else {
			dst = msgp.AppendNil(dst)
		}
	case Completion:
		dst, err = appendMPCompletion(dst, m)
	case CancelInvocation:
		dst = appendMPHead(dst, m, 3)
	case Close:
		dst = append(dst, 0x93, byte(Close))
		if m.Error == "" { // .NET sends nil for an empty text too
			dst = msgp.AppendNil(dst)
		} else {
			dst = msgp.AppendString(dst, m.Error)
		}
		dst = msgp.AppendBool(dst, m.AllowReconnect)
	case Ack, Sequence:
		dst = append(dst, 0x92, byte(m.Type))
		dst = appendMPInt(dst, m.SequenceID)
	default:
		dst = append(dst, 0x91)
		dst = appendMPInt(dst, int64(m.Type))
	}
	if err != nil {
		return dst[:start], err
	}
	return prefixLength(dst, start), nil
}

func appendMPCompletion(dst []byte, m *Message) ([]byte, error) {
	switch {
	case hasError(m):
		dst = appendMPHead(dst, m, 5)
		dst = append(dst, errorResult)
		return msgp.AppendString(dst, m.Error), nil
	case m.Result.Present():
		dst = appendMPHead(dst, m, 5)
		dst = append(dst, valueResult)
		return appendMPRaw(dst, m.Result)
	default:
		dst = appendMPHead(dst, m, 4)
		return append(dst, voidResult), nil
	}
}

// appendMPHead writes the array's head, type, headers and invocation id.
func appendMPHead(dst []byte, m *Message, elements uint32) []byte {
	dst = msgp.AppendArrayHeader(dst, elements)
	dst = append(dst, byte(m.Type))
	dst = msgp.AppendMapHeader(dst, uint32(len(m.Headers)))
	for _, h := range m.Headers {
		dst = msgp.AppendString(dst, h.Name)
		dst = msgp.AppendString(dst, h.Value)
	}
	if m.InvocationID == "" {
		return msgp.AppendNil(dst)
	}
	return msgp.AppendString(dst, m.InvocationID)
}

// appendMPInt writes the shortest form: unsigned for what is not negative, as
// the official packages do.
func appendMPInt(dst []byte, n int64) []byte {
	if n >= 0 {
		return msgp.AppendUint64(dst, uint64(n))
	}
	return msgp.AppendInt64(dst, n)
}

func appendMPRaw(dst []byte, r Raw) ([]byte, error) {
	if r.Encoding != MessagePack {
		return AppendMessagePack(dst, r)
	}
	return append(dst, r.Bytes...), nil
}
