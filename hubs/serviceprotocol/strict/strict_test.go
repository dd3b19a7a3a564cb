package strict_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol/strict"
)

func TestSDK_and_service_read_every_current_message_alike(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../testdata/current.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got, want int
	tap := &strict.Tap{Got: func(strict.Message) { got++ }}
	for line := range strings.Lines(string(content)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		body, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		m, err := serviceprotocol.Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		want++
		for _, b := range serviceprotocol.Append(nil, m) { // byte by byte
			if _, err := tap.Write([]byte{b}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if got != want || want == 0 {
		t.Errorf("read %d messages of %d", got, want)
	}
}

func TestParse_refuses_what_would_mislead_the_SDK(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, want string }{
		"extension_key_that_does_not_apply":     {"9406a16ac4010181" + "02" + "05", "loses its place"},
		"extension_key_of_the_future":           {"9406a16ac4010181" + "07" + "05", "March 2024"},
		"protocol_in_connection_data":           {"9406a16ac4010181" + "03" + "a46a736f6e", "loses its place"},
		"map_instead_of_list":                   {"940a8080" + "80", "array"},
		"too_few_items":                         {"9306a16ac40101", "items"},
		"too_many_items":                        {"9506a16ac4010180c0", "items"},
		"bytes_left":                            {"9406a16ac401018000", "left unread"},
		"text_instead_of_number":                {"9614a1310180", "integer"},
		"number_out_of_range":                   {"9614cf000000010000000001a080c0", "range"},
		"header_twice_in_different_case":        {"9604a16a80" + "82a14190a16190" + "a080", "twice"},
		"payload_twice":                         {"940a9082a46a736f6ec40101a44a534f4ec4010180", "twice"},
		"flow_control_numbered_from_zero":       {"9527a16ad200000000d20000000180", "range"},
		"flow_control_in_the_fewest_bytes":      {"9527a16a010180", "four bytes"},
		"bool_where_text_belongs":               {"9205c3", "items"},
		"nil_where_a_map_belongs":               {"9406a16ac40101c0", "map"},
		"handshake_response_of_the_wrong_order": {"9402a0c080", "map"},
		"text_that_ends_early":                  {"920fd9ff61", "too few bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := hex.DecodeString(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := strict.Parse(body); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestTap_fails_at_the_message_that_is_wrong(t *testing.T) {
	t.Parallel()
	tap := &strict.Tap{}
	if _, err := tap.Write(serviceprotocol.Append(nil, serviceprotocol.KeepAlive())); err != nil {
		t.Fatal(err)
	}
	if _, err := tap.Write([]byte{0x02, 0x92, 0x0F}); err == nil {
		t.Error("a message with an item too few came through")
	}
	if _, err := tap.Write(serviceprotocol.Append(nil, serviceprotocol.KeepAlive())); err == nil {
		t.Error("the tap forgot what was wrong")
	}
}
