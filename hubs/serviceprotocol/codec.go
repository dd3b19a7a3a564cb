package serviceprotocol

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// codec walks the items of one message, reading them into the message or writing
// them from it, so that each layout is told once. After an error it does nothing.
type codec struct {
	out []byte // writing: what has been written

	reading bool
	in      input
	length  int // items of the message, the type included
	left    int // those that have not been read
	items   int // items of lists and maps that may still come
	err     error
}

// open begins a message that is written with n items, the type included. When
// reading, that has been done: see Parse.
func (c *codec) open(t Type, n int) {
	if !c.reading {
		c.out = msgp.AppendArrayHeader(c.out, uint32(n))
		c.out = appendInt(c.out, int64(t))
	}
}

// has tells whether the message has the items that came with length n.
func (c *codec) has(n int) bool { return !c.reading || c.length >= n }

func (c *codec) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// item counts off one item of the message that is read.
func (c *codec) item() bool {
	if c.left == 0 {
		c.fail(errTooShort)
	}
	c.left--
	return c.err == nil
}

// passOver is an item that is written as nil and read as anything.
func (c *codec) passOver() {
	if !c.reading {
		c.out = msgp.AppendNil(c.out)
	} else if c.item() && !c.in.skip() {
		c.fail(errMalformed)
	}
}

func (c *codec) int32(v *int32) {
	if !c.reading {
		c.out = appendInt(c.out, int64(*v))
	} else if c.item() {
		*v = c.readInt32()
	}
}

// wideInt32 is an integer that is written in four bytes whatever it is, as the
// SDK does in ConnectionFlowControl.
func (c *codec) wideInt32(v *int32) {
	if c.reading {
		c.int32(v)
		return
	}
	n := uint32(*v)
	c.out = append(c.out, 0xD2, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func (c *codec) boolean(v *bool) {
	if !c.reading {
		c.out = msgp.AppendBool(c.out, *v)
	} else if c.item() {
		*v = c.readBool()
	}
}

func (c *codec) text(v *string) {
	if !c.reading {
		c.out = appendText(c.out, *v)
	} else if c.item() {
		*v = c.readText()
	}
}

// optionalText is a text that is nil when it is empty.
func (c *codec) optionalText(v *string) {
	if !c.reading && *v == "" {
		c.out = msgp.AppendNil(c.out)
		return
	}
	c.text(v)
}

func (c *codec) bytes(v *[]byte) {
	if !c.reading {
		c.out = msgp.AppendBytes(c.out, *v)
	} else if c.item() {
		*v = c.readBytes()
	}
}

// optionalBytes are nil when there are none.
func (c *codec) optionalBytes(v *[]byte) {
	if !c.reading && *v == nil {
		c.out = msgp.AppendNil(c.out)
		return
	}
	c.bytes(v)
}

func (c *codec) texts(v *[]string) {
	if !c.reading {
		c.out = msgp.AppendArrayHeader(c.out, uint32(len(*v)))
		for _, s := range *v {
			c.out = appendText(c.out, s)
		}
	} else if c.item() {
		*v = c.readTexts(c.readArray())
	}
}

// rest are the items to the end of the message.
func (c *codec) rest(v *[]string) {
	if !c.reading {
		for _, s := range *v {
			c.out = appendText(c.out, s)
		}
		return
	}
	n := c.left
	c.left = 0
	if n > c.items {
		c.fail(errTooManyItems)
		return
	}
	*v = c.readTexts(n)
}

func (c *codec) claims(v *[]Claim) {
	if !c.reading {
		c.out = msgp.AppendMapHeader(c.out, uint32(len(*v)))
		for _, claim := range *v {
			c.out = appendText(appendText(c.out, claim.Type), claim.Value)
		}
	} else if c.item() {
		if n := c.readMap(); n > 0 {
			*v = make([]Claim, 0, n)
			for range n {
				*v = append(*v, Claim{Type: c.readText(), Value: c.readText()})
			}
		}
	}
}

func (c *codec) headers(v *[]Header) {
	if !c.reading {
		c.out = msgp.AppendMapHeader(c.out, uint32(len(*v)))
		for _, header := range *v {
			c.out = appendText(c.out, header.Name)
			c.out = msgp.AppendArrayHeader(c.out, uint32(len(header.Values)))
			for _, value := range header.Values {
				c.out = appendText(c.out, value)
			}
		}
	} else if c.item() {
		if n := c.readMap(); n > 0 {
			*v = make([]Header, 0, n)
			for range n {
				name := c.readText()
				*v = append(*v, Header{Name: name, Values: c.readTexts(c.readArray())})
			}
		}
	}
}

func (c *codec) payloads(v *[]Payload) {
	if !c.reading {
		c.out = msgp.AppendMapHeader(c.out, uint32(len(*v)))
		for _, payload := range *v {
			c.out = msgp.AppendBytes(appendText(c.out, payload.Protocol), payload.Data)
		}
	} else if c.item() {
		if n := c.readMap(); n > 0 {
			*v = make([]Payload, 0, n)
			for range n {
				name := c.readText()
				*v = append(*v, Payload{Protocol: name, Data: c.readBytes()})
			}
		}
	}
}

func appendText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return msgp.AppendString(dst, s)
}

// appendInt writes an integer as the SDK does: in the fewest bytes, unsigned
// when it isn't negative.
func appendInt(dst []byte, v int64) []byte {
	if v >= 0 {
		return msgp.AppendUint64(dst, uint64(v))
	}
	return msgp.AppendInt64(dst, v)
}

func (c *codec) readInt32() int32 {
	v, ok := c.in.integer()
	if !ok || v < math.MinInt32 || v > math.MaxInt32 {
		c.fail(errInteger)
		return 0
	}
	return int32(v)
}

func (c *codec) readBool() bool {
	v, ok := c.in.boolean()
	if !ok {
		c.fail(errBoolean)
	}
	return v
}

func (c *codec) readText() string {
	v, ok := c.in.text()
	if !ok {
		c.fail(errText)
	}
	return v
}

func (c *codec) readBytes() []byte {
	v, ok := c.in.bytes()
	if !ok {
		c.fail(errBytes)
	}
	return v
}

func (c *codec) readTexts(n int) []string {
	if n == 0 || c.err != nil {
		return nil
	}
	texts := make([]string, 0, n)
	for range n {
		texts = append(texts, c.readText())
		if c.err != nil {
			return nil
		}
	}
	return texts
}

// readArray returns the number of items of an array, all of which may be read.
func (c *codec) readArray() int { return c.readHead(arrayHead, 1) }

// readMap returns the number of entries of a map, all of which may be read.
func (c *codec) readMap() int { return c.readHead(mapHead, 2) }

func (c *codec) readHead(kind head, objects int) int {
	if c.err != nil {
		return 0
	}
	n, ok := c.in.open(kind)
	switch {
	case !ok || n*objects > len(c.in): // each object takes a byte at least
		c.fail(errContainer)
	case n > c.items:
		c.fail(errTooManyItems)
	default:
		c.items -= n
		return n
	}
	return 0
}
