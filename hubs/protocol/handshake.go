package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// HandshakeRequest is the first message of a client. It is JSON on every
// transport and for every hub protocol (HubProtocol.md, "Overview").
type HandshakeRequest struct {
	Protocol string // the hub protocol's name
	Version  int
}

// HandshakeError is a refusal that the client is told as it is.
type HandshakeError struct{ Message string }

// Error returns the message.
func (e *HandshakeError) Error() string { return e.Message }

// ErrHandshakeCanceled refuses a handshake that is too long or too late.
var ErrHandshakeCanceled = &HandshakeError{"Handshake was canceled."}

const unexpectedHandshakeError = "An unexpected error occurred during connection handshake."

// HandshakeErrorText is the text for AppendHandshakeResponse that tells a
// client of err. Only a HandshakeError is told as it is; of others the
// client learns no more than that there was one, unless detailed is set.
func HandshakeErrorText(err error, detailed bool) string {
	var refusal *HandshakeError
	if errors.As(err, &refusal) {
		return refusal.Message
	}
	var broken *Error
	if detailed && errors.As(err, &broken) {
		return unexpectedHandshakeError + " InvalidDataException: " + broken.Message
	}
	return unexpectedHandshakeError
}

// ParseHandshakeRequest reads the handshake at the beginning of data and
// returns how many bytes it took; what follows is the first hub message. n is 0
// without an error while the handshake is incomplete. It fails with
// ErrHandshakeCanceled on more than MaxHandshakeBytes, else with an *Error.
func ParseHandshakeRequest(data []byte) (req HandshakeRequest, n int, err error) {
	record, n, err := handshakeRecord(data)
	if err != nil || n == 0 {
		return req, 0, err
	}
	hasProtocol, hasVersion := false, false
	o, err := openRecord(record)
	for err == nil && o.more {
		name, i, nameErr := o.name()
		if nameErr != nil {
			return req, 0, nameErr
		}
		var version int64
		switch string(name) {
		case "protocol":
			hasProtocol = true
			req.Protocol, i, err = readJSONString(record, i, "protocol", "")
		case "version":
			hasVersion = true
			version, i, err = readJSONInteger(record, i, "version", 32)
			req.Version = int(version)
		default:
			_, i, err = readJSONRaw(record, i)
		}
		if err == nil {
			err = o.next(i)
		}
	}
	switch {
	case err != nil:
		return req, 0, err
	case !hasProtocol:
		return req, 0, errMissing("protocol")
	case !hasVersion:
		return req, 0, errMissing("version")
	}
	return req, n, nil
}

// Choose returns the hub protocol that r asks for on a transport that carries
// formats, or a *HandshakeError.
func (r HandshakeRequest) Choose(formats ...TransferFormat) (Protocol, error) {
	p, ok := ByName(r.Protocol)
	if !ok {
		return nil, &HandshakeError{fmt.Sprintf("The protocol '%s' is not supported.", r.Protocol)}
	}
	if !IsVersionSupported(r.Version) {
		return nil, &HandshakeError{fmt.Sprintf("The server does not support version %d of the '%s' protocol.", r.Version, r.Protocol)}
	}
	for _, f := range formats {
		// A transport for bytes carries text too.
		if f == p.TransferFormat() || f == Binary {
			return p, nil
		}
	}
	return nil, &HandshakeError{fmt.Sprintf(
		"Cannot use the '%s' protocol on the current transport. The transport does not support '%s' transfer format.",
		p.Name(), p.TransferFormat())}
}

// AppendHandshakeRequest writes a client's handshake.
func AppendHandshakeRequest(dst []byte, req HandshakeRequest) []byte {
	dst = append(dst, `{"protocol":`...)
	dst = appendJSONString(dst, req.Protocol)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, int64(req.Version), 10)
	return append(dst, '}', recordSeparator)
}

// AppendHandshakeResponse writes a server's answer: success when errText is empty.
func AppendHandshakeResponse(dst []byte, errText string) []byte {
	dst = append(dst, '{')
	if errText != "" {
		dst = append(dst, `"error":`...)
		dst = appendJSONString(dst, errText)
	}
	return append(dst, '}', recordSeparator)
}

// ParseHandshakeResponse reads a server's answer at the beginning of data:
// errText is empty when the handshake succeeded. n is 0 without an error while
// the answer is incomplete. It fails with an *Error when the record is no
// handshake response, for one because it is a hub message.
func ParseHandshakeResponse(data []byte) (errText string, n int, err error) {
	record, n, err := handshakeRecord(data)
	if err != nil || n == 0 {
		return "", 0, err
	}
	o, err := openRecord(record)
	for err == nil && o.more {
		name, i, nameErr := o.name()
		if nameErr != nil {
			return "", 0, nameErr
		}
		switch string(name) {
		case "type":
			return "", 0, &Error{"Expected a handshake response from the server."}
		case "error":
			errText, i, err = readJSONString(record, i, "error", "")
		default:
			_, i, err = readJSONRaw(record, i)
		}
		if err == nil {
			err = o.next(i)
		}
	}
	if err != nil {
		return "", 0, err
	}
	return errText, n, nil
}

func handshakeRecord(data []byte) (record []byte, n int, err error) {
	end := bytes.IndexByte(data[:min(len(data), MaxHandshakeBytes)], recordSeparator)
	switch {
	case end >= 0:
		return data[:end], end + 1, nil
	case len(data) >= MaxHandshakeBytes:
		return nil, 0, ErrHandshakeCanceled
	default:
		return nil, 0, nil
	}
}
