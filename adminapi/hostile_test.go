package adminapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// keywords are the words of a schema that the values below are made by. One that
// isn't here makes an operation that nothing is known of.
var keywords = map[string]bool{
	"type": true, "properties": true, "required": true, "additionalProperties": true, "items": true, "enum": true, "pattern": true, "format": true,
	"minLength": true, "maxLength": true, "minimum": true, "maximum": true, "minItems": true, "maxItems": true, "uniqueItems": true, "minProperties": true, "maxProperties": true,
	"allOf": true, "description": true, "example": true, "default": true,
}

// checkSchema fails the test when a schema has words that aren't known.
func checkSchema(t *testing.T, where string, s *openapi3.Schema) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var words map[string]any
	if err := json.Unmarshal(text, &words); err != nil {
		t.Fatal(err)
	}
	for word := range words {
		if !keywords[word] {
			t.Errorf("%s: the walk can make no values by the word %s", where, word)
		}
	}
	for name, p := range s.Properties {
		checkSchema(t, where+"."+name, p.Value)
	}
	if more := s.AdditionalProperties.Schema; more != nil {
		checkSchema(t, where+".*", more.Value)
	}
	if s.Items != nil {
		checkSchema(t, where+"[]", s.Items.Value)
	}
	for _, part := range s.AllOf {
		checkSchema(t, where, part.Value)
	}
}

// texts are what strings are made of that wish nobody well.
var texts = []string{
	`"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"\u202e\u2066abc"`, `"é́́́́́́"`, `"😀👩‍👩‍👧‍👦"`, `"   "`, `"\t\r\n"`, `"../../../../etc/hosts"`, `"..%2f..%2f"`, `"a\r\nX-Injected: yes"`,
	`"'; DROP TABLE tenants; --"`, `"%s%n%d"`, `"${jndi:ldap://x}"`, `"{{7*7}}"`, `"<script>alert(1)</script>"`, `"\\\\host\\share"`, `"-1"`, `"null"`, `"0x41"`, `"\uFEFFx"`, `"\u007f\u0080"`,
}

// numbers are such that somebody will read otherwise.
var numbers = []string{`-0`, `0`, `-1`, `1.5`, `1e1`, `1e400`, `-1e400`, `9007199254740993`, `9223372036854775808`, `-9223372036854775809`, `1e-400`, strings.Repeat("9", 100)}

// input is a text in JSON that somebody may send, and the part of a schema that it tries.
type input struct{ part, text string }

// values makes texts in JSON that a schema may refuse: each word of it just kept and
// just broken, other types, and what is hostile in general.
func values(s *openapi3.Schema) (all []input) {
	for _, part := range s.AllOf {
		all = append(all, values(part.Value)...)
	}
	add := func(texts ...string) {
		for _, text := range texts {
			all = append(all, input{"", text})
		}
	}
	add(`null`)
	switch {
	case s.Type.Is("string"):
		add(`1`, `true`, `[]`, `{}`, `""`)
		add(texts...)
		if s.MinLength > 0 {
			add(quote(strings.Repeat("a", int(s.MinLength)-1)), quote(strings.Repeat("a", int(s.MinLength))))
		}
		if s.MaxLength != nil {
			add(quote(strings.Repeat("a", int(*s.MaxLength))), quote(strings.Repeat("a", int(*s.MaxLength)+1)), quote(strings.Repeat("ü", int(*s.MaxLength))))
		} else {
			add(quote(strings.Repeat("a", 10_000)))
		}
		for _, v := range s.Enum {
			add(quote(fmt.Sprint(v)), quote(strings.ToUpper(fmt.Sprint(v))), quote(fmt.Sprint(v)+" "))
		}
		if s.Format == "date-time" {
			add(`"2026-02-30T00:00:00Z"`, `"0000-01-01T00:00:00Z"`, `"9999-12-31T23:59:60Z"`, `"2026-01-02"`, `"2026-01-02T15:04:05+99:99"`, `"9999-12-31T23:59:59Z"`)
		}
	case s.Type.Is("integer"), s.Type.Is("number"):
		add(`"1"`, `true`, `[]`, `{}`)
		add(numbers...)
		if s.Min != nil {
			add(fmt.Sprintf("%.0f", *s.Min), fmt.Sprintf("%.0f", *s.Min-1))
		}
		if s.Max != nil {
			add(fmt.Sprintf("%.0f", *s.Max), fmt.Sprintf("%.0f", *s.Max+1))
		}
	case s.Type.Is("boolean"):
		add(`"true"`, `0`, `1`, `[]`, `{}`, `true`, `false`)
	case s.Type.Is("array"):
		add(`{}`, `"a"`, `1`, `[null]`, `[[[]]]`, `[]`)
		for _, v := range values(s.Items.Value) {
			all = append(all, input{"[]" + v.part, `[` + v.text + `]`})
		}
		add(`["a","a"]`)
		if s.MaxItems != nil {
			add(`[` + strings.TrimSuffix(strings.Repeat(`"a",`, int(*s.MaxItems)+1), ",") + `]`)
		}
	case s.Type.Is("object"):
		add(`[]`, `"a"`, `1`, `{}`, `{"unknown_name":1}`)
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			for _, v := range values(s.Properties[name].Value) {
				all = append(all, input{"." + name + v.part, `{` + quote(name) + `:` + v.text + `}`})
			}
		}
		more := s.AdditionalProperties.Schema
		if more == nil {
			break
		}
		for _, v := range values(more.Value) {
			all = append(all, input{".*" + v.part, `{"any":` + v.text + `}`}, input{".*" + v.part, `{` + quote(strings.Repeat("n", 2000)) + `:` + v.text + `}`})
		}
		if s.MaxProps != nil {
			var many []string
			for n := range *s.MaxProps + 1 {
				many = append(many, fmt.Sprintf(`"name%d":1`, n))
			}
			add(`{` + strings.Join(many, ",") + `}`)
		}
	}
	return all
}

func quote(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// bodiesOf makes bodies out of a good one: each field with each of its values, and
// what no schema can speak of.
func bodiesOf(s *openapi3.Schema, good map[string]any) (all []input) {
	text := func(in map[string]any) string {
		b, _ := json.Marshal(in)
		return string(b)
	}
	base := text(good)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		for _, v := range values(s.Properties[name].Value) {
			with := maps.Clone(good)
			with[name] = json.RawMessage(`"HERE"`)
			all = append(all, input{name + v.part, strings.Replace(text(with), `"HERE"`, v.text, 1)})
		}
		without := maps.Clone(good)
		delete(without, name)
		all = append(all, input{name, text(without)})
	}
	first := `"x":1`
	if names := slices.Sorted(maps.Keys(s.Properties)); len(names) > 0 {
		first = quote(names[0]) + `:"a",` + quote(names[0]) + `:"b"`
	}
	deep := strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000)
	with := func(field string) string {
		return strings.TrimSuffix(base, "}") + strings.TrimPrefix(","+field, map[bool]string{true: ",", false: ""}[base == "{}"]) + "}"
	}
	for _, b := range []string{
		``, ` `, `null`, `[]`, `""`, `0`, `tru`, `{`, `{"a"`, base[:len(base)-1], base + base, base + ` x`, "\ufeff" + base, base + "\x00", `{"` + "\xff\xfe" + `":1}`,
		`{` + first + `}`, with(`"unknown_name":1`), with(`"__proto__":{}`), with(`"":1`), with(`"a\u0000":1`), with(`"` + strings.Repeat("n", 5000) + `":1`), with(`"deep":` + deep),
		with(`"deep":` + strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat(`}`, 100)), with(`"many":"` + strings.Repeat("x", 70_000) + `"`), deep, `<?xml version="1.0"?><a/>`, `a=1&b=2`,
	} {
		all = append(all, input{"", b})
	}
	return all
}

// segments stand in paths where an id should.
var segments = []string{
	"..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc", "a%2Fb", "a%5Cb", "%00", "a%00b", "%ff%fe", "%c0%ae", "'", "%27%20OR%201=1--", "%0d%0aX-Injected:%20yes", "*", "%25", "%20", "a;b=c", "~", "%F0%9F%98%80", "-1",
	"99999999999999999999", "null", strings.Repeat("a", 3000), ".git", "01ARZ3NDEKTSV4RRFFQ69G5FAV",
}

// queries are such as no operation takes.
var queries = []string{"unknown_name=1", "%zz", "a=%zz", "a;b", "%00=1", "=", "limit[]=1", strings.Repeat("a", 5000) + "=1", "cursor=%00", "_method=DELETE", "\xff=1"}

// fields are header fields that don't belong, by name and value.
var headerFields = [][2]string{
	{"X-Request-Id", "a\r\nX-Injected: yes"}, {"X-Request-Id", strings.Repeat("a", 65)}, {"X-Request-Id", "ä"}, {"X-Request-Id", ""}, {"If-Match", "stale"}, {"If-Match", `"` + strings.Repeat("a", 2000) + `"`},
	{"If-None-Match", "\x00"}, {"Idempotency-Key", ""}, {"Idempotency-Key", strings.Repeat("a", 129)}, {"Idempotency-Key", "a\nb"}, {"Accept", "text/html"}, {"Accept", "application/json;q=0"},
	{"Content-Encoding", "gzip"}, {"Content-Type", "text/plain"}, {"Content-Type", "application/json; charset=latin1"}, {"Content-Type", "multipart/form-data"}, {"Authorization", "Basic YTpi"},
	{"Authorization", "Bearer " + strings.Repeat("a", 5000)}, {"Authorization", "Bearer sbt_\x00"}, {"Cookie", "signalbox=forged"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"},
}
