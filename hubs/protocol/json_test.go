package protocol_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// wantError fails unless err is an *Error with the message.
func wantError(tb testing.TB, err error, message string) {
	tb.Helper()
	var broken *protocol.Error
	if !errors.As(err, &broken) {
		tb.Fatalf("err = %v, want *Error %q", err, message)
	}
	if broken.Message != message {
		tb.Errorf("err = %q, want %q", broken.Message, message)
	}
}

// list is n times item, joined with commas.
func list(n int, item string) string {
	return strings.TrimSuffix(strings.Repeat(item+",", n), ",")
}

// numbered is n members "k0":v, "k1":v and so on.
func numbered(n int, value string) string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprintf(`"k%d":%s`, i, value))
	}
	return strings.Join(s, ",")
}

func TestJSONRefuses(t *testing.T) {
	t.Parallel()
	const broken = "Error reading JSON."
	for _, row := range []struct{ name, record, message string }{
		// Texts of ASP.NET's JsonHubProtocolTests.
		{"null_for_a_message", `null`, "Unexpected JSON Token Type 'Null'. Expected a JSON Object."},
		{"text_for_a_message", `"foo"`, "Unexpected JSON Token Type 'String'. Expected a JSON Object."},
		{"number_for_a_message", `42`, "Unexpected JSON Token Type 'Number'. Expected a JSON Object."},
		{"true_for_a_message", `true`, "Unexpected JSON Token Type 'True'. Expected a JSON Object."},
		{"false_for_a_message", `false`, "Unexpected JSON Token Type 'False'. Expected a JSON Object."},
		{"array_for_a_message", `[42]`, "Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
		{"no_type", `{}`, "Missing required property 'type'."},
		{"header_number", `{"type":1,"headers":{"Foo": 42},"target":"test",arguments:[]}`, "Expected header 'Foo' to be of type String."},
		{"header_true", `{"type":1,"headers":{"Foo": true}}`, "Expected header 'Foo' to be of type String."},
		{"header_null", `{"type":1,"headers":{"Foo": null}}`, "Expected header 'Foo' to be of type String."},
		{"header_array", `{"type":1,"headers":{"Foo": []}}`, "Expected header 'Foo' to be of type String."},
		{"header_cut_off", `{"type":1,"headers":{"Foo":"b`, broken},
		{"header_without_comma", `{"type":1,"headers":{"Foo":"b" "Bar":"c"}}`, broken},
		{"header_name_lone_surrogate", `{"type":1,"headers":{"\ud83d":"b"}}`, broken},
		{"array_cut_off", `{"type":1,"arguments":[1`, broken},
		{"array_without_comma", `{"type":1,"arguments":[1 2]}`, broken},
		{"object_without_colon", `{"type":1,"arguments":[{"a" 1}]}`, broken},
		{"headers_null", `{"type":1,"headers":null}`, "Expected 'headers' to be of type StartObject."},
		{"invocation_without_target", `{"type":1}`, "Missing required property 'target'."},
		{"invocation_id_number", `{"type":1,"invocationId":42}`, "Expected 'invocationId' to be of type String."},
		{"invocation_with_id_without_target", `{"type":1,"invocationId":"42"}`, "Missing required property 'target'."},
		{"target_number", `{"type":1,"invocationId":"42","target":42}`, "Expected 'target' to be of type String."},
		{"target_null", `{"type":1,"target":null}`, "Expected 'target' to be of type String."},
		{"target_empty", `{"type":1,"target":"","arguments":[]}`, "Missing required property 'target'."},
		{"invocation_without_arguments", `{"type":1,"invocationId":"42","target":"foo"}`, "Missing required property 'arguments'."},
		{"arguments_object", `{"type":1,"invocationId":"42","target":"foo","arguments":{}}`, "Expected 'arguments' to be of type Array."},
		{"stream_ids_null", `{"type":1,"target":"foo","arguments":[],"streamIds":null}`, "Expected 'streamIds' to be of type Array."},
		{"stream_id_null", `{"type":1,"target":"foo","arguments":[],"streamIds":["1", null]}`, "Null value for 'streamIds' is not valid."},
		{"stream_id_number", `{"type":1,"target":"foo","arguments":[],"streamIds":[1]}`, "Expected 'streamIds' to be of type String."},
		{"item_without_id", `{"type":2}`, "Missing required property 'invocationId'."},
		{"item_id_number", `{"type":2,"invocationId":42}`, "Expected 'invocationId' to be of type String."},
		{"item_missing", `{"type":2,"invocationId":"42"}`, "Missing required property 'item'."},
		{"completion_without_id", `{"type":3}`, "Missing required property 'invocationId'."},
		{"completion_error_array", `{"type":3,"invocationId":"42","error":[]}`, "Expected 'error' to be of type String."},
		{"completion_error_null", `{"type":3,"invocationId":"42","error":null}`, "Expected 'error' to be of type String."},
		{"E-13_SEC-24_error_and_result", `{"type":3,"invocationId":"42","error":"foo","result":true}`, "The 'error' and 'result' properties are mutually exclusive."},
		{"stream_invocation_without_target", `{"type":4,"invocationId":"42"}`, "Missing required property 'target'."},
		{"stream_invocation_without_id", `{"type":4,"target":"foo","arguments":[]}`, "Missing required property 'invocationId'."},
		{"stream_invocation_without_arguments", `{"type":4,"invocationId":"42","target":"foo"}`, "Missing required property 'arguments'."},
		{"cancel_without_id", `{"type":5}`, "Missing required property 'invocationId'."},
		{"cancel_with_empty_id", `{"type":5,"invocationId":""}`, "Missing required property 'invocationId'."},
		{"allow_reconnect_broken", `{"type":7,"allowReconnect":tru}`, broken},
		{"allow_reconnect_number", `{"type":7,"allowReconnect":1}`, "Expected 'allowReconnect' to be true or false."},
		{"ack_without_sequence_id", `{"type":8}`, "Missing required property 'sequenceId'."},
		{"ack_text", `{"type":8,"sequenceId":"5"}`, "Expected 'sequenceId' to be of type Number."},
		{"sequence_fraction", `{"type":9,"sequenceId":5.5}`, "Expected 'sequenceId' to be of type Int64."},
		{"type_text", `{"type":"1"}`, "Expected 'type' to be of type Number."},
		{"type_null", `{"type":null}`, "Expected 'type' to be of type Number."},
		{"SEC-23_type_with_exponent", `{"type":1e0,"target":"t","arguments":[]}`, "Expected 'type' to be of type Int32."},
		{"type_too_large", `{"type":2147483648}`, "Expected 'type' to be of type Int32."},

		{"empty_record", ``, broken},
		{"white_space", " \t", broken},
		{"byte_order_mark", "\xEF\xBB\xBF" + `{"type":6}`, broken},
		{"cut_off", `{"type":3,"invocationId":"42","result":true`, broken},
		{"two_objects", `{"type":6}{"type":6}`, broken},
		{"trailing_comma", `{"type":6,}`, broken},
		{"trailing_comma_in_arguments", `{"type":1,"target":"t","arguments":[1,]}`, broken},
		{"comment", `{"type":6/**/}`, broken},
		{"no_colon", `{"type" 6}`, broken},
		{"name_without_quotes", `{type:6}`, broken},
		{"number_as_name", `{6:6}`, broken},
		{"leading_zero", `{"type":06}`, broken},
		{"plus", `{"type":+6}`, broken},
		{"minus_alone", `{"type":-}`, broken},
		{"point_without_digits", `{"type":6,"x":1.}`, broken},
		{"exponent_without_digits", `{"type":6,"x":1e+}`, broken},
		{"literal_cut_off", `{"type":6,"x":nul}`, broken},
		{"literal_in_capitals", `{"type":6,"x":NULL}`, broken},
		{"nan", `{"type":6,"x":NaN}`, broken},
		{"single_quotes", `{'type':6}`, broken},
		{"unknown_escape", `{"type":6,"x":"\x41"}`, broken},
		{"escape_cut_off", `{"type":6,"x":"\`, broken},
		{"unicode_escape_cut_off", `{"type":6,"x":"\u00"}`, broken},
		{"line_break_in_text", "{\"type\":6,\"x\":\"a\nb\"}", broken},
		{"invalid_utf8_in_arguments", "{\"type\":1,\"target\":\"t\",\"arguments\":[\"\xff\"]}", broken},
		{"surrogate_half_in_utf8", "{\"type\":1,\"target\":\"t\",\"arguments\":[\"\xed\xa0\x80\"]}", broken},
		{"lone_surrogate_in_target", `{"type":1,"target":"\ud83d","arguments":[]}`, broken},
		{"lone_surrogate_in_name", `{"type":6,"\udc00":1}`, broken},
		{"depth_65", `{"type":1,"target":"t","arguments":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, broken},
		{"depth_65_of_objects", `{"type":6,"x":` + strings.Repeat(`{"x":`, 64) + "1" + strings.Repeat("}", 64) + `}`, broken},
		{"depth_for_ever", `{"type":1,"target":"t","arguments":` + strings.Repeat("[", 1<<20), broken},

		{"arguments_65", `{"type":1,"target":"t","arguments":[` + list(65, "1") + `]}`, "The message has more than 64 arguments."},
		{"headers_17", `{"type":5,"invocationId":"1","headers":{` + numbered(17, `""`) + `}}`, "The message has more than 16 headers."},
		{"header_too_long", `{"type":5,"headers":{"k":"` + strings.Repeat("v", 1024) + `"}}`, "A header is longer than 1024 bytes."},
		{"header_name_too_long", `{"type":5,"headers":{"` + strings.Repeat("v", 1025) + `":1}}`, "A header is longer than 1024 bytes."},
		{"stream_ids_11", `{"type":1,"target":"t","arguments":[],"streamIds":[` + list(11, `"1"`) + `]}`, "The message has more than 10 stream ids."},
		{"stream_id_too_long", `{"type":1,"streamIds":["` + strings.Repeat("i", 129) + `"]}`, "A stream id is longer than 128 bytes."},
		{"target_too_long", `{"type":1,"target":"` + strings.Repeat("t", 257) + `"}`, "The target is longer than 256 bytes."},
		{"invocation_id_too_long", `{"type":1,"invocationId":"` + strings.Repeat("i", 129) + `"}`, "The invocation id is longer than 128 bytes."},
		{"properties_33", `{"type":6,` + numbered(32, `1`) + `}`, "The message has more than 32 properties."},
		{"properties_1000000", `{"type":6,` + strings.Repeat(`"a":1,`, 1_000_000) + `"b":1}`, "The message has more than 32 properties."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var m protocol.Message
			n, err := protocol.NewJSON().Parse([]byte(row.record+"\x1e"), &m)
			if n != 0 {
				t.Errorf("took %d bytes of a broken message", n)
			}
			wantError(t, err, row.message)
		})
	}
}

func TestJSONAccepts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, record string
		want         protocol.Message
	}{
		{
			"properties_in_any_order", `{ "arguments": [1,2], "target": "Method", "invocationId": "3", "type":4 }`,
			protocol.Message{Type: protocol.StreamInvocation, InvocationID: "3", Target: "Method", Arguments: rawJSON("[1,2]"), ArgumentCount: 2},
		},
		{
			"result_before_the_id", `{"type":3,"result": 10, "invocationId":"15"}`,
			protocol.Message{Type: protocol.Completion, InvocationID: "15", Result: rawJSON("10")},
		},
		{
			"unknown_properties", `{"x":{"type":9},"type":1,"target":"foo","arguments":[],"extraParameter":"1"}`,
			protocol.Message{Type: protocol.Invocation, Target: "foo", Arguments: rawJSON("[]")},
		},
		{
			"escaped_name", `{"\u0074ype":6}`, protocol.Message{Type: protocol.Ping},
		},
		{
			"last_of_two_counts",
			`{"type":6,"type":1,"target":"a","target":"b","arguments":[1],"arguments":[2,3],"headers":{"h":"1"},"headers":{"h":"2"},"streamIds":["1"],"streamIds":["2"]}`,
			protocol.Message{
				Type: protocol.Invocation, Target: "b", Arguments: rawJSON("[2,3]"), ArgumentCount: 2,
				Headers: []protocol.Header{{Name: "h", Value: "2"}}, StreamIDs: []string{"2"},
			},
		},
		{
			"empty_id_is_no_id", `{"type":1,"invocationId":"","target":"t","arguments":[]}`,
			protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawJSON("[]")},
		},
		{
			"nul_in_target", `{"type":1,"target":"\u0000","arguments":[]}`,
			protocol.Message{Type: protocol.Invocation, Target: "\x00", Arguments: rawJSON("[]")},
		},
		{
			"arguments_untouched", `{"type":1,"target":"t","arguments":[ 12345678901234567890.123 , "\ud83d" , {"a":1,"a":2} ]}`,
			protocol.Message{
				Type: protocol.Invocation, Target: "t",
				Arguments: rawJSON(`[ 12345678901234567890.123 , "\ud83d" , {"a":1,"a":2} ]`), ArgumentCount: 3,
			},
		},
		{
			"depth_64", `{"type":1,"target":"t","arguments":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
			protocol.Message{
				Type: protocol.Invocation, Target: "t", ArgumentCount: 1,
				Arguments: rawJSON(strings.Repeat("[", 63) + strings.Repeat("]", 63)),
			},
		},
		{
			"arguments_64", `{"type":1,"target":"t","arguments":[` + list(64, "{}") + `]}`,
			protocol.Message{Type: protocol.Invocation, Target: "t", ArgumentCount: 64, Arguments: rawJSON("[" + list(64, "{}") + "]")},
		},
		{
			"empty_error", `{"type":3,"invocationId":"1","error":""}`,
			protocol.Message{Type: protocol.Completion, InvocationID: "1", HasError: true},
		},
		{
			"stream_ids_with_spaces", `{"type":1,"target":"t","arguments":[],"streamIds": [ "1" , "2" ] }`,
			protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawJSON("[]"), StreamIDs: []string{"1", "2"}},
		},
		{
			"empty_headers", `{"type":5,"headers": { } ,"invocationId":"1"}`,
			protocol.Message{Type: protocol.CancelInvocation, InvocationID: "1"},
		},
		{"E-15_unknown_type", `{"type":100}`, protocol.Message{Type: 100}},
		{"unknown_type_beyond_a_byte", `{"type":1000}`, protocol.Message{Type: protocol.Unknown}},
		{"white_space_around", " \r\n{\t\"type\" : 6 } ", protocol.Message{Type: protocol.Ping}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			data := []byte(row.record + "\x1e{")
			var m protocol.Message
			n, err := protocol.NewJSON().Parse(data, &m)
			if err != nil || n != len(data)-1 {
				t.Fatalf("took %d of %d bytes, err %v", n, len(data)-1, err)
			}
			if diff := cmp.Diff(row.want, m, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSONAppend(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, want string
		message    protocol.Message
	}{
		{
			"properties_in_the_order_of_NET",
			`{"type":1,"headers":{"a":"1","b":"2"},"invocationId":"7","target":"t","arguments":[1],"streamIds":["8","9"]}`,
			protocol.Message{
				Type: protocol.Invocation, Headers: []protocol.Header{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}, InvocationID: "7",
				Target: "t", Arguments: rawJSON("[1]"), StreamIDs: []string{"8", "9"},
			},
		},
		{"absent_arguments_are_none", `{"type":1,"target":"t","arguments":[]}`, protocol.Message{Type: protocol.Invocation, Target: "t"}},
		{"absent_item_is_null", `{"type":2,"invocationId":"1","item":null}`, protocol.Message{Type: protocol.StreamItem, InvocationID: "1"}},
		{
			"error_wins_over_result", `{"type":3,"invocationId":"1","error":"e"}`,
			protocol.Message{Type: protocol.Completion, InvocationID: "1", Error: "e", Result: rawJSON("1")},
		},
		{
			"empty_error_is_an_error", `{"type":3,"invocationId":"1","error":""}`,
			protocol.Message{Type: protocol.Completion, InvocationID: "1", HasError: true},
		},
		{
			"SEC-29_no_line_breaks_in_texts", `{"type":7,"error":"\r\n\ndata: x` + "\u2028" + `"}`,
			protocol.Message{Type: protocol.Close, Error: "\r\n\ndata: x\u2028"},
		},
		{
			"SEC-29_no_line_breaks_in_values", `{"type":1,"target":"t","arguments":[  1,  {"a\n": 2}]}`,
			protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawJSON("[\r\n  1,\n  {\"a\\n\": 2}\r]")},
		},
		{
			"invalid_utf8_is_replaced", `{"type":7,"error":"` + "\uFFFD" + `"}`,
			protocol.Message{Type: protocol.Close, Error: "\xff"},
		},
		{"close_without_error", `{"type":7}`, protocol.Message{Type: protocol.Close}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := protocol.NewJSON().Append([]byte("before"), &row.message)
			if err != nil {
				t.Fatal(err)
			}
			if want := "before" + row.want + "\x1e"; string(got) != want {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}
