package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestHandshakeRequest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, data string
		want       protocol.HandshakeRequest
		rest       string
	}{
		{"H-01_json", `{"protocol":"json","version":1}` + "\x1e", protocol.HandshakeRequest{Protocol: "json", Version: 1}, ""},
		{"H-06_with_a_message_behind", `{"protocol":"json","version":1}` + "\x1e" + `{"type":6}`, protocol.HandshakeRequest{Protocol: "json", Version: 1}, `{"type":6}`},
		{"H-11_unknown_properties", `{"x":[{}],"version":2,"protocol":"m\u0065ssagepack","minorVersion":0} ` + "\x1e\x02", protocol.HandshakeRequest{Protocol: "messagepack", Version: 2}, "\x02"},
		{"longest", `{"protocol":"json","version":1}` + strings.Repeat(" ", 4064) + "\x1e", protocol.HandshakeRequest{Protocol: "json", Version: 1}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, n, err := protocol.ParseHandshakeRequest([]byte(row.data))
			if err != nil || got != row.want || row.data[n:] != row.rest {
				t.Errorf("got %+v, rest %q, err %v", got, row.data[n:], err)
			}
			end := strings.IndexByte(row.data, '\x1e')
			for cut := range end { // H-05: in pieces; H-14: nothing is said about a part
				if _, n, err := protocol.ParseHandshakeRequest([]byte(row.data[:cut])); n != 0 || err != nil {
					t.Fatalf("of the first %d bytes took %d, err %v", cut, n, err)
				}
			}
		})
	}
}

func TestHandshakeRequestRefused(t *testing.T) {
	t.Parallel()
	const (
		generic  = "An unexpected error occurred during connection handshake."
		detailed = generic + " InvalidDataException: "
	)
	for _, row := range []struct{ name, record, text, detailed string }{
		{"H-07_no_json", `hello`, generic, detailed + "Error reading JSON."},
		{"H-07_no_object", `[]`, generic, detailed + "Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
		{"H-07_null", `null`, generic, detailed + "Unexpected JSON Token Type 'Null'. Expected a JSON Object."},
		{"H-07_empty", ``, generic, detailed + "Error reading JSON."},
		{"H-07_protocol_missing", `{"version":1}`, generic, detailed + "Missing required property 'protocol'."},
		{"H-07_version_missing", `{"protocol":"json"}`, generic, detailed + "Missing required property 'version'."},
		{"H-07_protocol_null", `{"protocol":null,"version":1}`, generic, detailed + "Expected 'protocol' to be of type String."},
		{"H-07_protocol_number", `{"protocol":42,"version":1}`, generic, detailed + "Expected 'protocol' to be of type String."},
		{"H-07_version_text", `{"protocol":"json","version":"1"}`, generic, detailed + "Expected 'version' to be of type Number."},
		{"H-07_version_fraction", `{"protocol":"json","version":1.5}`, generic, detailed + "Expected 'version' to be of type Int32."},
		{"H-08_hub_message", `{"type":1,"target":"t","arguments":[]}`, generic, detailed + "Missing required property 'protocol'."},
		{"H-10_too_long", `{"protocol":"json","version":1}` + strings.Repeat(" ", 4065), "Handshake was canceled.", "Handshake was canceled."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, n, err := protocol.ParseHandshakeRequest([]byte(row.record + "\x1e"))
			if err == nil || n != 0 {
				t.Fatalf("took %d bytes, err %v", n, err)
			}
			if got := protocol.HandshakeErrorText(err, false); got != row.text {
				t.Errorf("text %q, want %q", got, row.text)
			}
			if got := protocol.HandshakeErrorText(err, true); got != row.detailed {
				t.Errorf("detailed text %q, want %q", got, row.detailed)
			}
		})
	}
	t.Run("other_errors_are_not_told", func(t *testing.T) {
		t.Parallel()
		if got := protocol.HandshakeErrorText(errors.New("redis at 10.0.0.1"), true); got != generic {
			t.Errorf("text %q", got)
		}
	})
	t.Run("H-10_too_long_without_end", func(t *testing.T) {
		t.Parallel()
		_, _, err := protocol.ParseHandshakeRequest(make([]byte, protocol.MaxHandshakeBytes))
		if !errors.Is(err, protocol.ErrHandshakeCanceled) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestHandshakeChoose(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		req     protocol.HandshakeRequest
		formats []protocol.TransferFormat
		chosen  string
		text    string
	}{
		{"H-01_json", protocol.HandshakeRequest{Protocol: "json", Version: 1}, []protocol.TransferFormat{protocol.Text}, "json", ""},
		{"H-13_version_2", protocol.HandshakeRequest{Protocol: "messagepack", Version: 2}, []protocol.TransferFormat{protocol.Text, protocol.Binary}, "messagepack", ""},
		{"name_in_any_case", protocol.HandshakeRequest{Protocol: "JSON", Version: 1}, []protocol.TransferFormat{protocol.Text}, "json", ""},
		{"H-02_unknown_protocol", protocol.HandshakeRequest{Protocol: "X", Version: 1}, []protocol.TransferFormat{protocol.Text}, "", "The protocol 'X' is not supported."},
		{"H-03_unknown_version", protocol.HandshakeRequest{Protocol: "json", Version: 9001}, []protocol.TransferFormat{protocol.Text}, "", "The server does not support version 9001 of the 'json' protocol."},
		{"H-03_version_0", protocol.HandshakeRequest{Protocol: "json"}, []protocol.TransferFormat{protocol.Text}, "", "The server does not support version 0 of the 'json' protocol."},
		{
			"H-04_messagepack_on_text", protocol.HandshakeRequest{Protocol: "messagepack", Version: 1}, []protocol.TransferFormat{protocol.Text}, "",
			"Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format.",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, err := row.req.Choose(row.formats...)
			if row.text == "" {
				if err != nil || p.Name() != row.chosen {
					t.Errorf("chose %v, err %v", p, err)
				}
				return
			}
			if p != nil || protocol.HandshakeErrorText(err, false) != row.text {
				t.Errorf("chose %v, err %v, want %q", p, err, row.text)
			}
		})
	}
}

func TestHandshakeResponse(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, data, text, message string }{
		{"H-01_success", "{}\x1e", "", ""},
		{"H-15_error", `{"error":"The protocol 'X' is not supported."}` + "\x1e", "The protocol 'X' is not supported.", ""},
		{"H-16_minor_version", `{"minorVersion":1}` + "\x1e", "", ""},
		{"hub_message", `{"type":6}` + "\x1e", "", "Expected a handshake response from the server."},
		{"error_null", `{"error":null}` + "\x1e", "", "Expected 'error' to be of type String."},
		{"no_object", "[]\x1e", "", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
		{"cut_off", `{"error":` + "\x1e", "", "Error reading JSON."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text, n, err := protocol.ParseHandshakeResponse([]byte(row.data + "{"))
			if row.message != "" {
				wantError(t, err, row.message)
				return
			}
			if err != nil || text != row.text || n != len(row.data) {
				t.Errorf("text %q, took %d of %d bytes, err %v", text, n, len(row.data), err)
			}
			if _, n, err := protocol.ParseHandshakeResponse([]byte(row.data[:len(row.data)-1])); n != 0 || err != nil {
				t.Errorf("of an incomplete response took %d bytes, err %v", n, err)
			}
		})
	}
}

func TestHandshakeResponse_is_escaped(t *testing.T) {
	t.Parallel()
	if got := protocol.AppendHandshakeResponse(nil, "line\n\"1\""); string(got) != `{"error":"line\n\"1\""}`+"\x1e" {
		t.Errorf("response %q", got)
	}
}
