package serverlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/tenants"
)

// refusal is the reason of kindRefused.
type refusal uint8

const (
	refusedNoServer   refusal = 1
	refusedServerAway refusal = 2
	refusedUnknown    refusal = 3 // the outcome isn't known
)

// refusalOf turns what a local Open returned into a reason.
func refusalOf(err error) refusal {
	switch {
	case errors.Is(err, pairing.ErrNoServer):
		return refusedNoServer
	case errors.Is(err, pairing.ErrServerAway):
		return refusedServerAway
	}
	return refusedUnknown
}

// err is that reason on the other side.
func (r refusal) err(text string) error {
	switch r {
	case refusedNoServer:
		return pairing.ErrNoServer
	case refusedServerAway:
		return pairing.ErrServerAway
	}
	return fmt.Errorf("the app server's edge: %s", text)
}

// errClientTooLarge refuses a client that no frame can hold. Edges bound the
// head of a request to a fraction of it.
var errClientTooLarge = fmt.Errorf("headers and claims of the client have more than %d bytes", maxFrame)

// appendOpen appends the frame that opens a pairing.
func appendOpen(b []byte, session uint64, c *pairing.Client) ([]byte, error) {
	if len(c.Claims) > maxList || len(c.Headers) > maxList {
		return nil, errClientTooLarge
	}
	b = begin(b, kindOpen, session)
	b = appendString(b, string(c.Hub.Tenant))
	b = appendString(b, c.Hub.Name)
	b = appendString(b, c.ConnectionID)
	b = binary.AppendUvarint(b, uint64(len(c.Claims)))
	for _, claim := range c.Claims {
		b = appendString(b, claim.Type)
		b = appendString(b, claim.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Headers)))
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		values := c.Headers[name]
		if len(values) > maxList {
			return nil, errClientTooLarge
		}
		b = appendString(b, name)
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = appendString(b, v)
		}
	}
	b = appendString(b, c.Query)
	b = appendString(b, c.Protocol)
	b = appendString(b, c.Handshake)
	b = append(b, byte(c.Sticky))
	b = appendString(b, c.Server)
	b = appendString(b, c.MovedFrom)
	if len(b)-lengthSize > maxFrame {
		return nil, errClientTooLarge
	}
	return finish(b, 0), nil
}

func decodeOpen(body []byte) (*pairing.Client, error) {
	f := fields{rest: body}
	long := func() string { return string(f.bytes(maxFrame)) }
	c := &pairing.Client{Hub: pairing.Hub{Tenant: tenants.ID(f.string()), Name: f.string()}, ConnectionID: f.string()}
	for range f.count(maxList) {
		if f.err != nil {
			break
		}
		c.Claims = append(c.Claims, hubs.Claim{Type: long(), Value: long()})
	}
	for range f.count(maxList) {
		if f.err != nil {
			break
		}
		name := long()
		var values []string
		for range f.count(maxList) {
			if f.err != nil {
				break
			}
			values = append(values, long())
		}
		if c.Headers == nil {
			c.Headers = make(map[string][]string)
		}
		c.Headers[name] = values
	}
	c.Query, c.Protocol = long(), f.string()
	c.Handshake = append([]byte(nil), f.bytes(maxFrame)...)
	c.Sticky = pairing.Sticky(f.byte())
	c.Server, c.MovedFrom = f.string(), f.string()
	return c, f.end()
}

// appendData appends the head of a piece of a client's message.
func appendData(b []byte, session uint64, t pairing.DataType, more bool, payload int) []byte {
	var flags byte
	if more {
		flags = flagMore
	}
	return finish(append(begin(b, kindData, session), flags, byte(t)), payload)
}

func decodeData(body []byte) (t pairing.DataType, more bool, payload []byte, err error) {
	f := fields{rest: body}
	flags := f.byte()
	t = pairing.DataType(f.byte())
	return t, flags&flagMore != 0, f.rest, f.end()
}

func appendBare(b []byte, k kind, session uint64) []byte { return finish(begin(b, k, session), 0) }

func appendText(b []byte, k kind, session uint64, text string) []byte {
	return finish(appendString(begin(b, k, session), cut(text)), 0)
}

func decodeText(body []byte) (string, error) {
	f := fields{rest: body}
	return f.string(), f.end()
}

func appendEnd(b []byte, session uint64, reason, movedTo string) []byte {
	return finish(appendString(appendString(begin(b, kindEnd, session), cut(reason)), cut(movedTo)), 0)
}

func decodeEnd(body []byte) (reason, movedTo string, err error) {
	f := fields{rest: body}
	return f.string(), f.string(), f.end()
}

func appendRefused(b []byte, session uint64, r refusal, text string) []byte {
	return finish(appendString(append(begin(b, kindRefused, session), byte(r)), cut(text)), 0)
}

func decodeRefused(body []byte) (r refusal, text string, err error) {
	f := fields{rest: body}
	return refusal(f.byte()), f.string(), f.end()
}

func appendProgress(b []byte, session uint64, consumed, settled int) []byte {
	b = binary.AppendUvarint(begin(b, kindProgress, session), uint64(consumed))
	return finish(binary.AppendUvarint(b, uint64(settled)), 0)
}

func decodeProgress(body []byte) (consumed, settled int, err error) {
	f := fields{rest: body}
	return f.count(1 << 30), f.count(1 << 30), f.end()
}

func appendNumber(b []byte, k kind, n uint64) []byte {
	return finish(binary.AppendUvarint(begin(b, k, 0), n), 0)
}

// positions is one direction's memory of the last epoch: epochs change rarely.
type positions struct{ epoch string }

// append appends flags and position.
func (p *positions) append(b []byte, at hubs.Position) []byte {
	switch {
	case at.Number == 0:
		return append(b, 0)
	case at.Epoch == p.epoch:
		return binary.AppendUvarint(append(b, flagAfter), at.Number)
	}
	p.epoch = at.Epoch
	b = appendString(append(b, flagAfter|flagEpoch), at.Epoch)
	return binary.AppendUvarint(b, at.Number)
}

// read reads flags and position.
func (p *positions) read(f *fields) (at hubs.Position) {
	flags := f.byte()
	if flags&flagEpoch != 0 {
		p.epoch = f.string()
	}
	if flags&flagAfter != 0 {
		at = hubs.Position{Epoch: p.epoch, Number: f.uvarint()}
	}
	return at
}

// appendDeliver appends the head of a piece of what an app server says.
func appendDeliver(b []byte, session uint64, p *positions, after hubs.Position, payload int) []byte {
	return finish(p.append(begin(b, kindDeliver, session), after), payload)
}

func appendClose(b []byte, session uint64, p *positions, after hubs.Position, reason string) []byte {
	return finish(appendString(p.append(begin(b, kindClose, session), after), cut(reason)), 0)
}
