package serviceprotocol

import "github.com/tinylib/msgp/msgp"

// The keys of the extension map.
const (
	keyTracingID = 1
	keyTTL       = 2
	keyProtocol  = 3
	keyFilter    = 4
	keyDataType  = 5
	keyPartial   = 6
)

// extensions are the fields that a message keeps in its extension map. A field
// that is nil doesn't apply to the message: it isn't written, and passed over
// when a peer sends it nevertheless.
type extensions struct {
	tracing  *uint64
	ttl      *int32
	hasTTL   *bool // goes with ttl: 0 seconds has a meaning
	protocol *string
	filter   *string
	dataType *DataType
	partial  *bool
}

// tracing is the extension map, from length n on, of messages that only have a
// tracing id.
func (c *codec) tracing(n int, id *uint64) {
	if c.has(n) {
		c.extensions(extensions{tracing: id})
	}
}

// filter is the extension map, from length n on, of messages to many clients.
func (c *codec) filter(n int, id *uint64, filter *string) {
	if c.has(n) {
		c.extensions(extensions{tracing: id, filter: filter})
	}
}

func (c *codec) extensions(e extensions) {
	if c.reading {
		if c.item() {
			c.readExtensions(e)
		}
		return
	}
	tracing := e.tracing != nil && *e.tracing != 0
	ttl := e.ttl != nil && *e.hasTTL
	protocol := e.protocol != nil && *e.protocol != ""
	filter := e.filter != nil && *e.filter != ""
	dataType := e.dataType != nil && *e.dataType != DataUnknown
	partial := e.partial != nil && *e.partial
	var n uint32
	for _, present := range [...]bool{tracing, ttl, protocol, filter, dataType, partial} {
		if present {
			n++
		}
	}
	c.out = msgp.AppendMapHeader(c.out, n)
	if tracing {
		c.out = msgp.AppendUint64(append(c.out, keyTracingID), *e.tracing)
	}
	if ttl {
		c.out = appendInt(append(c.out, keyTTL), int64(*e.ttl))
	}
	if protocol {
		c.out = appendText(append(c.out, keyProtocol), *e.protocol)
	}
	if filter {
		c.out = appendText(append(c.out, keyFilter), *e.filter)
	}
	if dataType {
		c.out = appendInt(append(c.out, keyDataType), int64(*e.dataType))
	}
	if partial {
		c.out = msgp.AppendBool(append(c.out, keyPartial), true)
	}
}

func (c *codec) readExtensions(e extensions) {
	for range c.readMap() {
		key, ok := c.in.integer()
		if !ok {
			key = 0 // not one of ours, whatever it is
			if !c.in.skip() {
				c.fail(errMalformed)
			}
		}
		switch {
		case key == keyTracingID && e.tracing != nil:
			if *e.tracing, ok = c.in.unsigned(); !ok {
				c.fail(errInteger)
			}
		case key == keyTTL && e.ttl != nil:
			*e.ttl, *e.hasTTL = c.readInt32(), true
		case key == keyProtocol && e.protocol != nil:
			*e.protocol = c.readText()
		case key == keyFilter && e.filter != nil:
			*e.filter = c.readText()
		case key == keyDataType && e.dataType != nil:
			*e.dataType = DataType(c.readInt32())
		case key == keyPartial && e.partial != nil:
			*e.partial = c.readBool()
		case !c.in.skip():
			c.fail(errMalformed)
		}
		if c.err != nil {
			return
		}
	}
}
