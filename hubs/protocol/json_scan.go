package protocol

import (
	"encoding/binary"
	"math/bits"

	"github.com/go-json-experiment/json/jsontext"
)

// The scanners below walk JSON (RFC 8259) without building anything. Each takes
// the index at which its value starts and returns the index after it, or -1
// when the value is broken, incomplete or nested too deep. UTF-8 is checked by
// the caller for the whole message at once.
//
// They stand in for jsontext.Decoder on the path of every message: it takes
// 290 ns only to pass over what Parse reads in 207 ns (BenchmarkParse, 250
// bytes), and can't both take equal names, as ASP.NET does, and count arguments.

// skipSpace returns the index of the first byte from i on that is no white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scanValue passes over one value in which depth more levels may nest.
func scanValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; {
	case c == '"':
		end, _ := scanString(b, i)
		return end
	case c == '{':
		end, _ := scanObject(b, i, depth)
		return end
	case c == '[':
		end, _ := scanArray(b, i, depth)
		return end
	case c == 't':
		return scanLiteral(b, i, "true")
	case c == 'f':
		return scanLiteral(b, i, "false")
	case c == 'n':
		return scanLiteral(b, i, "null")
	default:
		return scanNumber(b, i)
	}
}

func scanLiteral(b []byte, i int, literal string) int {
	if len(b)-i < len(literal) || string(b[i:i+len(literal)]) != literal {
		return -1
	}
	return i + len(literal)
}

// scanString passes over the string whose opening quote is b[i]. escaped tells
// whether its content differs from the bytes between the quotes. An escaped
// surrogate without its partner passes, as in any JSON grammar; JavaScript
// writes it for strings cut in the middle of a character.
func scanString(b []byte, i int) (end int, escaped bool) {
	if i >= len(b) || b[i] != '"' {
		return -1, false
	}
	for i++; ; i++ {
		if i = skipPlain(b, i); i >= len(b) {
			return -1, false
		}
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			if i = scanEscape(b, i+1); i < 0 {
				return -1, false
			}
		default: // a control character
			return -1, false
		}
	}
}

// scanEscape passes over what follows a backslash and returns the index of its
// last byte.
func scanEscape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
		if len(b)-i >= 5 && isHex(b[i+1]) && isHex(b[i+2]) && isHex(b[i+3]) && isHex(b[i+4]) {
			return i + 4
		}
	}
	return -1
}

// skipPlain returns the index of the first quote, backslash or control
// character from i on. It looks at eight bytes at a time: borrows can mark a
// byte wrongly, but only behind the first that is marked rightly.
func skipPlain(b []byte, i int) int {
	const (
		ones = 0x0101010101010101
		tops = 0x80 * ones
	)
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := x^('"'*ones), x^('\\'*ones)
		found := ((x-' '*ones)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash) & tops
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func scanNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b) || !isDigit(b[i]):
		return -1
	case b[i] == '0':
		i++
	default:
		i = scanDigits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		if i = scanDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		i = scanDigits(b, i)
	}
	return i
}

// scanDigits passes over one or more digits.
func scanDigits(b []byte, i int) int {
	start := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// scanArray passes over the array whose bracket is b[i] and counts its elements.
func scanArray(b []byte, i, depth int) (end, count int) {
	if depth <= 0 {
		return -1, 0
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, 0
	}
	for {
		if i = scanValue(b, i, depth-1); i < 0 {
			return -1, 0
		}
		count++
		i = skipSpace(b, i)
		if i >= len(b) {
			return -1, 0
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case ']':
			return i + 1, count
		default:
			return -1, 0
		}
	}
}

// scanObject passes over the object whose brace is b[i] and counts its members.
func scanObject(b []byte, i, depth int) (end, count int) {
	if depth <= 0 {
		return -1, 0
	}
	for i, more := openObject(b, i); i >= 0; i, more = nextMember(b, i) {
		if !more {
			return i, count
		}
		_, _, value := scanName(b, i)
		if value < 0 {
			return -1, 0
		}
		if i = scanValue(b, value, depth-1); i < 0 {
			return -1, 0
		}
		count++
	}
	return -1, 0
}

// openObject steps over the brace b[i] to the first name; more is false when
// there is none, and then the result is the index after the object.
func openObject(b []byte, i int) (at int, more bool) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, false
	}
	return i, true
}

// nextMember steps from the end of a member to the next name, or out of the object.
func nextMember(b []byte, i int) (at int, more bool) {
	i = skipSpace(b, i)
	switch {
	case i < len(b) && b[i] == ',':
		return skipSpace(b, i+1), true
	case i < len(b) && b[i] == '}':
		return i + 1, false
	default:
		return -1, false
	}
}

// scanName passes over a member's name and colon. name holds the quotes; value
// is where the member's value starts.
func scanName(b []byte, i int) (name []byte, escaped bool, value int) {
	end, escaped := scanString(b, i)
	if end < 0 {
		return nil, false, -1
	}
	colon := skipSpace(b, end)
	if colon >= len(b) || b[colon] != ':' {
		return nil, false, -1
	}
	return b[i:end], escaped, skipSpace(b, colon+1)
}

// unquote returns the content of a scanned string. It fails on a surrogate
// without its partner, of which UTF-8 has no form.
func unquote(quoted []byte, escaped bool) ([]byte, bool) {
	if !escaped {
		return quoted[1 : len(quoted)-1], true
	}
	content, err := jsontext.AppendUnquote(nil, quoted)
	return content, err == nil
}
