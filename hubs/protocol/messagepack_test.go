package protocol_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// framed puts the length prefix before a payload of less than 2^21 bytes.
func framed(payload string) []byte {
	n := len(payload)
	switch {
	case n < 1<<7:
		return append([]byte{byte(n)}, payload...)
	case n < 1<<14:
		return append([]byte{byte(n) | 0x80, byte(n >> 7)}, payload...)
	default:
		return append([]byte{byte(n) | 0x80, byte(n>>7) | 0x80, byte(n >> 14)}, payload...)
	}
}

func rawMP(bytes string) protocol.Raw {
	return protocol.Raw{Encoding: protocol.MessagePack, Bytes: []byte(bytes)}
}

// str8 is a MessagePack string of n times c.
func str8(n int, c string) string { return "\xd9" + string([]byte{byte(n)}) + strings.Repeat(c, n) }

func TestMessagePackRefuses(t *testing.T) {
	t.Parallel()
	const (
		broken = "Error reading MessagePack."
		nested = "\x96\x01\x80\xc0\xa1t" // an invocation up to its arguments
	)
	for _, row := range []struct{ name, payload, message string }{
		// Texts of ASP.NET's MessagePackHubProtocolTests.
		{"empty_payload", "", "Reading array length for 'message' failed."},
		{"no_array", "\x01", "Reading array length for 'message' failed."},
		{"empty_array", "\x90", "Reading 'messageType' as Int32 failed."},
		{"M-06_type_text", "\x96\xa3foo\xc0\xc0\xc0\xc0\xc0", "Reading 'messageType' as Int32 failed."},
		{"M-06_type_float", "\x91\xca\x3f\x80\x00\x00", "Reading 'messageType' as Int32 failed."},
		{"type_beyond_32_bits", "\x91\xcf\x00\x00\x00\x01\x00\x00\x00\x06", "Reading 'messageType' as Int32 failed."},
		{"type_nil", "\x91\xc0", "Reading 'messageType' as Int32 failed."},
		{"M-06_headers_no_map", "\x96\x01\xa3foo\xc0\xc0\xc0\xc0", "Reading map length for 'headers' failed."},
		{"headers_nil", "\x96\x01\xc0\xc0\xa1t\x90\x90", "Reading map length for 'headers' failed."},
		{"headers_missing", "\x91\x01", "Reading map length for 'headers' failed."},
		{"header_key_number", "\x96\x01\x81\x2a\xa1v\xc0\xa1t\x90\x90", "Reading 'headers[0].Key' as String failed."},
		{"header_value_number", "\x96\x01\x82\xa1k\xa1v\xa1l\x2a\xc0\xa1t\x90\x90", "Reading 'headers[1].Value' as String failed."},
		{"header_key_nil", "\x96\x01\x81\xc0\xa1v\xc0\xa1t\x90\x90", "Null or empty key in header."},
		{"header_value_empty", "\x96\x01\x81\xa1k\xa0\xc0\xa1t\x90\x90", "Null or empty value in header."},
		{"M-06_id_number", "\x96\x01\x80\x2a\xa1t\x90\x90", "Reading 'invocationId' as String failed."},
		{"id_missing", "\x92\x01\x80", "Reading 'invocationId' as String failed."},
		{"target_number", "\x96\x01\x80\xc0\x2a\x90\x90", "Reading 'target' as String failed."},
		{"target_bin", "\x96\x01\x80\xc0\xc4\x01t\x90\x90", "Reading 'target' as String failed."},
		{"target_nil", "\x96\x01\x80\xc0\xc0\x90\x90", "Null or empty target for Invocation message."},
		{"target_missing", "\x93\x01\x80\xc0", "Reading 'target' as String failed."},
		{"target_invalid_utf8", "\x95\x01\x80\xc0\xa1\xff\x90", "Reading 'target' as String failed."},
		{"stream_ids_number", "\x96\x01\x80\xc0\xa1t\x90\x2a", "Reading array length for 'streamIds' failed."},
		{"stream_id_number", "\x96\x01\x80\xc0\xa1t\x90\x91\x2a", "Reading 'streamIds' as String failed."},
		{"stream_id_empty", "\x96\x01\x80\xc0\xa1t\x90\x91\xa0", "Null or empty value in streamIds received."},
		{"item_id_nil", "\x94\x02\x80\xc0\x01", "Null or empty invocation ID for StreamItem message."},
		{"item_missing", "\x93\x02\x80\xa11", "Reading 'item' failed."},
		{"completion_id_empty", "\x94\x03\x80\xa0\x02", "Null or empty invocation ID for Completion message."},
		{"result_kind_text", "\x94\x03\x80\xa11\xa12", "Reading 'resultKind' as Int32 failed."},
		{"M-06_result_kind_unknown", "\x94\x03\x80\xa11\x2a", "Invalid invocation result kind."},
		{"completion_error_number", "\x95\x03\x80\xa11\x01\x2a", "Reading 'error' as String failed."},
		{"completion_error_missing", "\x94\x03\x80\xa11\x01", "Reading 'error' as String failed."},
		{"completion_result_missing", "\x94\x03\x80\xa11\x03", "Reading 'result' failed."},
		{"stream_invocation_id_nil", "\x96\x04\x80\xc0\xa1t\x90\x90", "Null or empty invocation ID for StreamInvocation message."},
		{"stream_invocation_target_nil", "\x96\x04\x80\xa11\xc0\x90\x90", "Null or empty target for StreamInvocation message."},
		{"cancel_id_nil", "\x93\x05\x80\xc0", "Null or empty invocation ID for CancelInvocation message."},
		{"close_error_number", "\x93\x07\x2a\xc2", "Reading 'error' as String failed."},
		{"close_error_missing", "\x91\x07", "Reading 'error' as String failed."},
		{"close_allow_reconnect_number", "\x93\x07\xc0\x01", "Reading 'allowReconnect' as Boolean failed."},
		{"ack_text", "\x92\x08\xa15", "Reading 'sequenceId' as Int64 failed."},
		{"ack_float", "\x92\x08\xcb\x40\x14\x00\x00\x00\x00\x00\x00", "Reading 'sequenceId' as Int64 failed."},
		{"ack_missing", "\x91\x08", "Reading 'sequenceId' as Int64 failed."},
		{"sequence_beyond_64_bits", "\x92\x09\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "Reading 'sequenceId' as Int64 failed."},

		{"SEC-22_array32_head_for_a_message", "\xdd\x7f\xff\xff\xff", "Reading array length for 'message' failed."},
		{"SEC-22_array32_of_300_million", "\xdd\x00\xff\xff\xff", "Reading array length for 'message' failed."},
		{"SEC-22_map32_for_headers", "\x96\x01\xdf\x00\xff\xff\xff", "Reading map length for 'headers' failed."},
		{"SEC-22_map32_for_headers_in_a_long_frame", "\x96\x01\xdf\x7f\xff\xff\xff" + strings.Repeat("\xa1k", 100), "Reading map length for 'headers' failed."},
		{"SEC-22_array32_argument", nested + "\x91\xdd\x7f\xff\xff\xff\x90", broken},
		{"SEC-22_map32_argument", nested + "\x91\xdf\x7f\xff\xff\xff\x90", broken},
		{"SEC-22_bin32_argument", nested + "\x91\xc6\x0f\xff\xff\xff\x90", broken},
		{"SEC-22_str32_argument", nested + "\x91\xdb\xff\xff\xff\xff\x90", broken},
		{"SEC-22_ext32_argument", nested + "\x91\xc9\xff\xff\xff\xff\x01\x90", broken},
		{"SEC-22_str32_target", "\x96\x01\x80\xc0\xdb\xff\xff\xff\xff", "Reading 'target' as String failed."},
		{"SEC-22_array32_stream_ids", nested + "\x90\xdd\x7f\xff\xff\xff", "Reading array length for 'streamIds' failed."},
		{"SEC-22_array16_heads_nested", nested + strings.Repeat("\xdc\xff\xff", 10000), broken},
		{"SEC-22_promise_repeated", nested + "\x93" + strings.Repeat("\xdc\x00\x20"+strings.Repeat("\xc0", 8), 30) + "\x90", broken},
		{"V2_depth_32768", nested + strings.Repeat("\x91", 32768), broken},
		{"depth_65", nested + strings.Repeat("\x91", 63) + "\x90" + "\x90", broken},
		{"depth_65_of_maps", nested + "\x91" + strings.Repeat("\x81\x01", 62) + "\x80" + "\x90", broken},
		{"never_used_byte", nested + "\x91\xc1\x90", broken},
		{"broken_extra_element", "\x92\x06\xc1", broken},
		{"trailing_bytes", "\x91\x06\x00", "Unexpected bytes after the message."},

		{"arguments_65", nested + "\xdc\x00\x41" + strings.Repeat("\x01", 65) + "\x90", "The message has more than 64 arguments."},
		{"headers_17", "\x93\x05\xde\x00\x11" + strings.Repeat("\xa1k\xa1v", 17) + "\xa11", "The message has more than 16 headers."},
		{"header_too_long", "\x93\x05\x81\xa1k\xda\x04\x00" + strings.Repeat("v", 1024) + "\xa11", "A header is longer than 1024 bytes."},
		{"stream_ids_11", nested + "\x90\x9b" + strings.Repeat("\xa11", 11), "The message has more than 10 stream ids."},
		{"stream_id_too_long", nested + "\x90\x91" + str8(129, "i"), "A stream id is longer than 128 bytes."},
		{"target_too_long", "\x96\x01\x80\xc0\xda\x01\x01" + strings.Repeat("t", 257) + "\x90\x90", "The target is longer than 256 bytes."},
		{"invocation_id_too_long", "\x93\x05\x80" + str8(129, "i"), "The invocation id is longer than 128 bytes."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var m protocol.Message
			n, err := protocol.NewMessagePack().Parse(framed(row.payload), &m)
			if n != 0 {
				t.Errorf("took %d bytes of a broken message", n)
			}
			wantError(t, err, row.message)
		})
	}
}

func TestMessagePackAccepts(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("\x91", 62) + "\x90"
	for _, row := range []struct {
		name, payload string
		want          protocol.Message
	}{
		{
			"M-02_without_stream_ids", "\x95\x01\x80\xc0\xa1t\x92\x01\xa1a",
			protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawMP("\x92\x01\xa1a"), ArgumentCount: 2},
		},
		{
			"with_stream_ids", "\x96\x01\x81\xa1k\xa1v\xa17\xa1t\x90\x92\xa18\xa19",
			protocol.Message{
				Type: protocol.Invocation, InvocationID: "7", Target: "t", Arguments: rawMP("\x90"),
				Headers: []protocol.Header{{Name: "k", Value: "v"}}, StreamIDs: []string{"8", "9"},
			},
		},
		{"empty_id_is_no_id", "\x95\x01\x80\xa0\xa1t\x90", protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawMP("\x90")}},
		{"M-05_extra_elements", "\x98\x01\x80\xc0\xa1t\x90\x90\xa5extra\x81\x01\x02", protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawMP("\x90")}},
		{"M-05_ping_with_extra_elements", "\x93\x06\x01\xa5extra", protocol.Message{Type: protocol.Ping}},
		{"wide_type", "\x91\xd3\x00\x00\x00\x00\x00\x00\x00\x06", protocol.Message{Type: protocol.Ping}},
		{"array32_head", "\xdd\x00\x00\x00\x01\x06", protocol.Message{Type: protocol.Ping}},
		{
			"M-07_arguments_no_array", "\x96\x01\x80\xa17\xa1t\xa3abc\x90",
			protocol.Message{Type: protocol.Invocation, InvocationID: "7", Target: "t", BindingError: "Reading array length for 'arguments' failed."},
		},
		{
			"M-07_arguments_missing", "\x94\x01\x80\xa17\xa1t",
			protocol.Message{Type: protocol.Invocation, InvocationID: "7", Target: "t", BindingError: "Reading array length for 'arguments' failed."},
		},
		{
			"depth_64", "\x95\x01\x80\xc0\xa1t" + deep,
			protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawMP(deep), ArgumentCount: 1},
		},
		{
			"every_kind_of_value", "\x94\x02\x80\xa11\x9d\xc4\x01b\xc7\x02\x01ab\xd4\x05a\xd6\xff\x00\x00\x00\x00\xca\x3f\x80\x00\x00\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xcc\xff\xd1\x80\x00\xd2\x80\x00\x00\x00\xd9\x01s\xde\x00\x01\x01\xc3\xdc\x00\x00\xe0",
			protocol.Message{Type: protocol.StreamItem, InvocationID: "1", Item: rawMP("\x9d\xc4\x01b\xc7\x02\x01ab\xd4\x05a\xd6\xff\x00\x00\x00\x00\xca\x3f\x80\x00\x00\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xcc\xff\xd1\x80\x00\xd2\x80\x00\x00\x00\xd9\x01s\xde\x00\x01\x01\xc3\xdc\x00\x00\xe0")},
		},
		{"completion_with_null_error", "\x95\x03\x80\xa11\x01\xc0", protocol.Message{Type: protocol.Completion, InvocationID: "1"}},
		{"close_with_empty_error", "\x93\x07\xa0\xc3", protocol.Message{Type: protocol.Close, HasError: true, AllowReconnect: true}},
		{"E-15_unknown_type", "\x93\x64\x01\x02", protocol.Message{Type: 100}},
		{"unknown_type_beyond_a_byte", "\x91\xcd\x03\xe8", protocol.Message{Type: protocol.Unknown}},
		{"negative_type", "\x91\xff", protocol.Message{Type: -1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			data := append(framed(row.payload), 0x80)
			var m protocol.Message
			n, err := protocol.NewMessagePack().Parse(data, &m)
			if err != nil || n != len(data)-1 {
				t.Fatalf("took %d of %d bytes, err %v", n, len(data)-1, err)
			}
			if diff := cmp.Diff(row.want, m, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessagePackAppend(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, want string
		message    protocol.Message
	}{
		{"absent_arguments_are_none", "\x96\x01\x80\xc0\xa1t\x90\x90", protocol.Message{Type: protocol.Invocation, Target: "t"}},
		{"absent_item_is_nil", "\x94\x02\x80\xa11\xc0", protocol.Message{Type: protocol.StreamItem, InvocationID: "1"}},
		{"empty_error_is_an_error", "\x95\x03\x80\xa11\x01\xa0", protocol.Message{Type: protocol.Completion, InvocationID: "1", HasError: true}},
		{"close", "\x93\x07\xc0\xc2", protocol.Message{Type: protocol.Close}},
		{"close_with_error", "\x93\x07\xa1e\xc3", protocol.Message{Type: protocol.Close, Error: "e", AllowReconnect: true}},
		{"R-17_ack", "\x92\x08\xcc\x80", protocol.Message{Type: protocol.Ack, SequenceID: 128}},
		{"R-17_sequence", "\x92\x09\xcd\x01\x00", protocol.Message{Type: protocol.Sequence, SequenceID: 256}},
		{"unknown_type", "\x91\xd0\x80", protocol.Message{Type: -128}},
		{
			"length_of_128_takes_two_bytes", "\x96\x01\x80\xc0\xa1t\x91" + str8(118, "x") + "\x90",
			protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawMP("\x91" + str8(118, "x"))},
		},
		{
			"length_of_2_to_the_14_takes_three_bytes", "\x96\x01\x80\xc0\xa1t\x91\xc5\x40\x00" + strings.Repeat("x", 1<<14) + "\x90",
			protocol.Message{Type: protocol.Invocation, Target: "t", Arguments: rawMP("\x91\xc5\x40\x00" + strings.Repeat("x", 1<<14))},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := protocol.NewMessagePack().Append([]byte("before"), &row.message)
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("before"), framed(row.want)...); !bytes.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

func TestLengthPrefix(t *testing.T) {
	t.Parallel()
	const tooBig = "Messages over 2GB in size are not supported."
	for _, row := range []struct{ name, data, message string }{
		{"incomplete_after_0_bytes", "", ""},
		{"incomplete_after_1_byte", "\x80", ""},
		{"incomplete_after_4_bytes", "\x80\x80\x80\x80", ""},
		{"payload_missing", "\x02\x91", ""},
		{"largest_size_payload_missing", "\xff\xff\xff\xff\x07", ""},
		{"SEC-22_size_beyond_2_to_the_31", "\xff\xff\xff\xff\x0f", tooBig},
		{"SEC-22_prefix_of_6_bytes", "\x80\x80\x80\x80\x80", tooBig},
		{"SEC-22_prefix_of_6_bytes_with_end", "\x80\x80\x80\x80\x80\x01", tooBig},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var m protocol.Message
			n, err := protocol.NewMessagePack().Parse([]byte(row.data), &m)
			if n != 0 {
				t.Errorf("took %d bytes", n)
			}
			if row.message != "" {
				wantError(t, err, row.message)
			} else if err != nil {
				t.Errorf("err = %v, want none before the message is complete", err)
			}
		})
	}
	t.Run("longer_than_needed", func(t *testing.T) {
		t.Parallel()
		var m protocol.Message
		if n, err := protocol.NewMessagePack().Parse([]byte("\x82\x80\x80\x80\x00\x91\x06"), &m); n != 7 || err != nil || m.Type != protocol.Ping {
			t.Errorf("took %d bytes as %+v, err %v", n, m, err)
		}
	})
}
