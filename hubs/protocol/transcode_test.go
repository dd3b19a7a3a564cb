package protocol_test

import (
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestJSONToMessagePack(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, json, want string }{
		{"literals", ` [ null , true , false ] `, "\x93\xc0\xc3\xc2"},
		{"smallest_int64", `-9223372036854775808`, "\xd3\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"largest_int64", `9223372036854775807`, "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"},
		{"largest_uint64", `18446744073709551615`, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"integer_beyond_uint64", `18446744073709551616`, "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"},
		{"negative_beyond_int64", `-9223372036854775809`, "\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00"},
		{"minus_zero", `-0`, "\x00"},
		{"fraction", `1.5`, "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"},
		{"whole_number_with_a_point_stays_a_float", `1.0`, "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"},
		{"too_small_is_zero", `1e-999`, "\xcb\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"escapes", `"\u0041\n\ud83d\ude00\\"`, "\xa7A\n\xf0\x9f\x98\x80\\"},
		{"lone_surrogate", `"\ud83d"`, "\xa3\xef\xbf\xbd"},
		{"escaped_text_of_40_bytes", `"\n` + strings.Repeat("x", 39) + `"`, "\xd9\x28\n" + strings.Repeat("x", 39)},
		{"escaped_text_of_256_bytes", `"\n` + strings.Repeat("x", 255) + `"`, "\xda\x01\x00\n" + strings.Repeat("x", 255)},
		{"escaped_text_of_65536_bytes", `"\n` + strings.Repeat("x", 65535) + `"`, "\xdb\x00\x01\x00\x00\n" + strings.Repeat("x", 65535)},
		{"empty", `[[],{},""]`, "\x93\x90\x80\xa0"},
		{"array_of_16", `[` + list(16, "7") + `]`, "\xdc\x00\x10" + strings.Repeat("\x07", 16)},
		{"array_of_65536", `[` + list(65536, "7") + `]`, "\xdd\x00\x01\x00\x00" + strings.Repeat("\x07", 65536)},
		{"object", "{\n\"a\" : {\"b\\u0063\":[1]} , \"d\":null }", "\x82\xa1a\x81\xa2bc\x91\x01\xa1d\xc0"},
		{"object_of_16", `{` + numbered(16, "1") + `}`, "\xde\x00\x10" + "\xa2k0\x01\xa2k1\x01\xa2k2\x01\xa2k3\x01\xa2k4\x01\xa2k5\x01\xa2k6\x01\xa2k7\x01\xa2k8\x01\xa2k9\x01" +
			"\xa3k10\x01\xa3k11\x01\xa3k12\x01\xa3k13\x01\xa3k14\x01\xa3k15\x01"},
		{"depth_63", strings.Repeat("[", 63) + strings.Repeat("]", 63), strings.Repeat("\x91", 62) + "\x90"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := protocol.AppendMessagePack([]byte("before"), rawJSON(row.json))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != "before"+row.want {
				t.Errorf("\n got %q\nwant %q", got, "before"+row.want)
			}
		})
	}
}

func TestJSONToMessagePackRefuses(t *testing.T) {
	t.Parallel()
	const broken = "Error reading JSON."
	for _, row := range []struct{ name, json, message string }{
		{"nothing", ``, broken},
		{"array_cut_off", `[1`, broken},
		{"array_with_comma_at_the_end", `[1,]`, broken},
		{"array_without_comma", `[1 2]`, broken},
		{"object_cut_off", `{"a":1`, broken},
		{"object_without_value", `{"a"}`, broken},
		{"object_with_comma_at_the_end", `{"a":1,}`, broken},
		{"number_as_name", `{1:1}`, broken},
		{"text_cut_off", `"a`, broken},
		{"literal_cut_off", `tru`, broken},
		{"no_number", `-`, broken},
		{"two_values", `1 1`, broken},
		{"invalid_utf8", "\"\xff\"", broken},
		{"number_too_large", `-1e999`, "A number is out of range."},
		{"equal_names", `[{"a":1,"\u0061":2}]`, "Two properties of an object have the same name."},
		{"depth_64", strings.Repeat("[", 64) + strings.Repeat("]", 64), "The value is nested too deep."},
		{"depth_64_of_objects", strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64), "The value is nested too deep."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := protocol.AppendMessagePack([]byte("before"), rawJSON(row.json))
			if string(got) != "before" {
				t.Errorf("dst came back as %q", got)
			}
			wantError(t, err, row.message)
		})
	}
}

func TestMessagePackToJSON(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, messagePack, want string }{
		{"literals", "\x93\xc0\xc3\xc2", `[null,true,false]`},
		{"M-09_ints_of_all_widths", "\x9b\x7f\xe0\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd0\x80\xd1\x80\x00\xd2\x80\x00\x00\x00\xd3\x80\x00\x00\x00\x00\x00\x00\x00\x00",
			`[127,-32,255,65535,4294967295,18446744073709551615,-128,-32768,-2147483648,-9223372036854775808,0]`},
		{"float32_in_its_own_precision", "\xca\x3d\xcc\xcc\xcd", `0.1`},
		{"float64", "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", `0.1`},
		{"text_is_escaped", "\xa5\"\\\r\n\x00", `"\"\\\r\n\u0000"`},
		{"M-11_bin", "\xc4\x04\x00\x01\xfe\xff", `"AAH+/w=="`},
		{"bin_empty", "\xc5\x00\x00", `""`},
		{"M-08_timestamp_32", "\xd6\xff\x00\x00\x00\x01", `"1970-01-01T00:00:01Z"`},
		{"M-08_timestamp_64", "\xd7\xff\x00\x00\x01\x90\x00\x00\x00\x00", `"1970-01-01T00:00:00.0000001Z"`},
		{"M-08_timestamp_96", "\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xf1\x88\x6e\x09\x00", `"0001-01-01T00:00:00.999999999Z"`},
		{"map", "\x82\xa1a\x90\xa1b\x80", `{"a":[],"b":{}}`},
		{"map_with_other_keys", "\x86\x01\x01\xff\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x03\xc3\x04\xca\x3f\xc0\x00\x00\x05\xcb\xbf\xc0\x00\x00\x00\x00\x00\x00\x06",
			`{"1":1,"-1":2,"18446744073709551615":3,"true":4,"1.5":5,"-0.125":6}`},
		{"wide_heads", "\xdd\x00\x00\x00\x01\xdf\x00\x00\x00\x01\xdb\x00\x00\x00\x01a\xda\x00\x01b", `[{"a":"b"}]`},
		{"depth_63", strings.Repeat("\x91", 62) + "\x90", strings.Repeat("[", 63) + strings.Repeat("]", 63)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := protocol.AppendJSON([]byte("before"), rawMP(row.messagePack))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != "before"+row.want {
				t.Errorf("\n got %q\nwant %q", got, "before"+row.want)
			}
		})
	}
}

func TestMessagePackToJSONRefuses(t *testing.T) {
	t.Parallel()
	const (
		broken    = "Error reading MessagePack."
		extension = "A MessagePack extension can't be written as JSON."
		timestamp = "A timestamp is out of range."
		infinite  = "NaN and infinities can't be written as JSON."
		key       = "A map key can't be written as a JSON property name."
	)
	for _, row := range []struct{ name, messagePack, message string }{
		{"nothing", "", broken},
		{"array_cut_off", "\x92\x01", broken},
		{"map_cut_off", "\x81\xa1a", broken},
		{"map_without_second_key", "\x82\xa2aa\x01", broken},
		{"map_without_key", "\x81", broken},
		{"text_cut_off", "\xa2a", broken},
		{"bin_cut_off", "\xc4\x02a", broken},
		{"never_used_byte", "\xc1", broken},
		{"two_values", "\x01\x01", broken},
		{"V1_array32", "\xdd\x7f\xff\xff\xff", broken},
		{"V1_map32", "\xdf\x00\xff\xff\xff", broken},
		{"SEC-22_promises_add_up", "\x92\x92\x92\x92\x01\x01", broken},
		{"not_a_number", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", infinite},
		{"infinity", "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", infinite},
		{"infinity_of_32_bits", "\xca\xff\x80\x00\x00", infinite},
		{"extension", "\xd4\x05a", extension},
		{"extension_of_the_msgp_library", "\xc7\x0c\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", extension},
		{"extension_ext16", "\xc8\x00\x01\x05a", extension},
		{"timestamp_of_1_byte", "\xd4\xffa", timestamp},
		{"timestamp_of_0_bytes", "\xc7\x00\xff", timestamp},
		{"timestamp_with_too_many_nanoseconds", "\xd7\xff\xff\xff\xff\xfc\x00\x00\x00\x00", timestamp},
		{"timestamp_before_year_1", "\xc7\x0c\xff\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00", timestamp},
		{"invalid_utf8", "\xa1\xff", "A text is not valid UTF-8."},
		{"invalid_utf8_in_key", "\x81\xa1\xff\x01", "A text is not valid UTF-8."},
		{"key_nil", "\x81\xc0\x01", key},
		{"key_bin", "\x81\xc4\x01a\x01", key},
		{"key_array", "\x81\x90\x01", key},
		{"key_timestamp", "\x81\xd6\xff\x00\x00\x00\x01\x01", key},
		{"key_nan", "\x81\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01", infinite},
		{"equal_keys", "\x82\xa1a\x01\xa1a\x02", "Two properties of an object have the same name."},
		{"equal_keys_as_text", "\x82\x01\x01\xa11\x02", "Two properties of an object have the same name."},
		{"depth_64", strings.Repeat("\x91", 63) + "\x90", "The value is nested too deep."},
		{"depth_64_of_maps", strings.Repeat("\x81\x01", 63) + "\x80", "The value is nested too deep."},
		{"V2_depth_32768", strings.Repeat("\x91", 32768) + "\x01", "The value is nested too deep."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := protocol.AppendJSON([]byte("before"), rawMP(row.messagePack))
			if string(got) != "before" {
				t.Errorf("dst came back as %q", got)
			}
			wantError(t, err, row.message)
		})
	}
}

// TestSameNotationIsNotTouched: what needs no transcoding is passed on as it
// came, whatever it holds.
func TestSameNotationIsNotTouched(t *testing.T) {
	t.Parallel()
	json := `[12345678901234567890.123, "\ud83d", {"a":1,"a":2}]`
	if got, err := protocol.AppendJSON(nil, rawJSON(json)); err != nil || string(got) != json {
		t.Errorf("%q, err %v", got, err)
	}
	messagePack := "\x93\xd4\x05a\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xa1\xff"
	if got, err := protocol.AppendMessagePack(nil, rawMP(messagePack)); err != nil || string(got) != messagePack {
		t.Errorf("%q, err %v", got, err)
	}
}
