package accesstoken

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// form is a token that has the form of one, before any key was looked for.
type form struct {
	header, claims map[string]jsontext.Value
}

// read refuses what needs no key to be refused, before anything is allocated for
// it.
func read(token string) (form, error) {
	if len(token) > MaxLength {
		return form{}, invalid(fmt.Sprintf("longer than %d bytes", MaxLength))
	}
	dots := 0
	for i := range len(token) {
		switch c := token[i]; {
		case c == '.':
			dots++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default: // the decoder would skip line breaks
			return form{}, invalid("a character outside of base64url")
		}
	}
	if dots != 2 {
		return form{}, invalid("not three segments")
	}
	head, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	var f form
	var err error
	if f.header, err = members(head); err != nil {
		return form{}, err
	}
	f.claims, err = members(body)
	return f, err
}

// sharedKeyHeader refuses header parameters that nothing signed with a shared
// key needs: jku, x5u, jwk, crit and all that isn't known.
func (f form) sharedKeyHeader() error {
	for name, value := range f.header {
		switch name {
		case "alg", "typ", "cty":
		case "kid":
			if !plainKeyID(value, "") {
				return invalid("kid is no plain identifier")
			}
		default:
			return invalid("header " + name + " is not supported")
		}
	}
	return nil
}

// issuedHeader does the same for tokens of issuers. Thumbprints of certificates
// say nothing that kid doesn't; what would bring or fetch a key is refused.
func (f form) issuedHeader() error {
	for name, value := range f.header {
		switch name {
		case "alg", "cty", "x5t", "x5t#S256":
		case "typ":
			// Other tokens of the same provider are told apart by it (RFC 8725, 3.11).
			switch strings.ToLower(textOf(value)) {
			case "jwt", "at+jwt", "application/at+jwt":
			default:
				return invalid("typ is not one of JWT, at+jwt")
			}
		case "kid":
			if !plainKeyID(value, "/") {
				return invalid("kid is no plain identifier")
			}
		default:
			return invalid("header " + name + " is not supported")
		}
	}
	return nil
}

// textOf returns a JSON text without its quotes and escapes, "" for other values.
func textOf(v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	s, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(s)
}

// members returns the members of the JSON object in a segment. Names must be
// unique: parsers differ in which of two they believe.
func members(segment string) (map[string]jsontext.Value, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, invalid("a segment is not base64url")
	}
	d := jsontext.NewDecoder(strings.NewReader(string(data)))
	if d.PeekKind() != '{' {
		return nil, invalid("a segment is no JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, invalid("a segment is no JSON object")
	}
	found := make(map[string]jsontext.Value)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, invalid("a segment is no proper JSON object")
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, invalid("a segment is no proper JSON object")
		}
		if found[key] = value.Clone(); len(found) > MaxClaims {
			return nil, invalid(fmt.Sprintf("more than %d claims", MaxClaims))
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, invalid("a segment is no proper JSON object")
	}
	return found, nil
}

// plainKeyID reports whether a kid is harmless text, of base64url and the like
// and the signs in more. Azure's SDKs write a decimal hash, possibly negative.
func plainKeyID(v jsontext.Value, more string) bool {
	if v.Kind() != '"' || len(v) > 130 {
		return false
	}
	for _, c := range v[1 : len(v)-1] {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.=+"+more, c) >= 0:
		default:
			return false
		}
	}
	return true
}
