package serviceprotocol_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

func parse(t *testing.T, body string) serviceprotocol.Message {
	t.Helper()
	m, err := serviceprotocol.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParse_passes_over_what_it_does_not_know(t *testing.T) {
	t.Parallel()
	data := &serviceprotocol.ConnectionData{ConnectionID: "j", Payload: []byte{1}}
	for name, tt := range map[string]struct {
		body string
		want serviceprotocol.Message
	}{
		"type":                          {"\x92\x63\xa1a", &serviceprotocol.Unknown{Kind: 99}},
		"negative_type":                 {"\x91\xff", &serviceprotocol.Unknown{Kind: -1}},
		"refresh_with_ticks":            {"\x96\x29\xa1a\x80\xcf\x08\xdc\x00\x00\x00\x00\x00\x00\x07\x80", &serviceprotocol.RefreshAuth{ConnectionToken: "a", AckID: 7}},
		"refresh_with_a_timestamp":      {"\x96\x29\xa1a\xc0\xd6\xff\x00\x00\x00\x00\x07\x80", &serviceprotocol.RefreshAuth{ConnectionToken: "a", AckID: 7}},
		"refresh_with_claims_as_a_list": {"\x96\x29\xa1a\x91\x92\xa1r\xa1s\x05\x07\x80", &serviceprotocol.RefreshAuth{ConnectionToken: "a", AckID: 7}},
		"refresh_in_another_order":      {"\x96\x29\xa1a\x80\x07\xd6\xff\x00\x00\x00\x00\x80", &serviceprotocol.RefreshAuth{ConnectionToken: "a"}},
		"extension_key":                 {"\x94\x06\xa1j\xc4\x01\x01\x81\x63\x92\x01\x81\xa1a\xc0", data},
		"extension_key_that_is_no_int":  {"\x94\x06\xa1j\xc4\x01\x01\x81\xa1a\x01", data},
		"extension_that_does_not_apply": {"\x94\x06\xa1j\xc4\x01\x01\x82\x02\x05\x04\xa1f", data},
		"timestamp_as_an_extension":     {"\x94\x06\xa1j\xc4\x01\x01\x81\x63\xd6\xff\x00\x00\x00\x00", data},
		"items_at_the_end":              {"\x96\x06\xa1j\xc4\x01\x01\x80\x93\x01\x02\x03\xc0", data},
		"nil_for_lists_and_maps":        {"\x94\x0a\xc0\xc0\xc0", &serviceprotocol.BroadcastData{}},
		"nil_for_a_text":                {"\x95\x05\xa1j\xc0\x80\x80", &serviceprotocol.CloseConnection{ConnectionID: "j"}},
		"wide_integers":                 {"\x95\xd3\x00\x00\x00\x00\x00\x00\x00\x14\xcf\x00\x00\x00\x00\x00\x00\x00\x01\xd1\x00\x02\xa0\x80", &serviceprotocol.Ack{AckID: 1, Status: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, parse(t, tt.body), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse_refuses_what_is_not_a_message(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, want string }{
		"too_few_items":           {"\x92\x12\xa1j", "too few items"},
		"number_for_a_text":       {"\x94\x0b\x01\xa1g\x80", "a text"},
		"text_for_a_number":       {"\x94\x14\xa11\x01\xa0", "an integer"},
		"number_over_32_bits":     {"\x94\x14\xce\xff\xff\xff\xff\x01\xa0", "an integer"},
		"float_for_a_number":      {"\x94\x14\xca\x00\x00\x00\x00\x01\xa0", "an integer"},
		"text_for_bytes":          {"\x94\x06\xa1j\xa1a\x80", "bytes"},
		"map_for_a_list":          {"\x94\x0a\x80\x80\x80", "a list"},
		"number_for_a_boolean":    {"\x97\x01\x01\x00\xa0\x00\x80\x01", "a boolean"},
		"text_that_is_not_UTF-8":  {"\x92\x0f\xa1\xff", "a text"},
		"extension_of_wrong_type": {"\x94\x0b\xa1j\xa1g\x81\x01\xa1a", "an integer"},
		"end_within_a_text":       {"\x92\x0f\xa5a", "a text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := serviceprotocol.Parse([]byte(tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v and %v, want an error with %q", m, err, tt.want)
			}
		})
	}
}

func TestReader_cuts_a_stream_wherever_its_frames_end(t *testing.T) {
	t.Parallel()
	want := []serviceprotocol.Message{
		&serviceprotocol.Ping{},
		&serviceprotocol.ConnectionData{ConnectionID: "a", Payload: bytes.Repeat([]byte{1}, 200_000)},
		&serviceprotocol.Ack{AckID: 1, Status: serviceprotocol.AckOK},
		&serviceprotocol.ConnectionData{ConnectionID: "b", Payload: bytes.Repeat([]byte{2}, 127)},
		&serviceprotocol.ConnectionData{ConnectionID: "c", Payload: bytes.Repeat([]byte{3}, 20_000)},
		&serviceprotocol.ServiceError{Message: "end"},
	}
	var stream []byte
	for _, m := range want {
		stream = serviceprotocol.Append(stream, m)
	}
	for name, source := range map[string]io.Reader{
		"byte_by_byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"all_at_once":  bytes.NewReader(stream),
		"in_halves":    iotest.HalfReader(bytes.NewReader(stream)),
		"with_its_end": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := serviceprotocol.NewReader(source, 1<<20)
			for i, m := range want {
				got, err := r.Next()
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				if diff := cmp.Diff(m, got, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("message %d: %s", i, diff)
				}
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

func TestReader_refuses_a_message_before_it_has_come(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ stream, want string }{
		"longer_than_the_limit": {"\x81\x08", "longer than 1024 bytes"},
		"prefix_of_six_bytes":   {"\x80\x80\x80\x80\x80\x00", "length prefix"},
		"longer_than_2G":        {"\xff\xff\xff\xff\x0f", "length prefix"},
		"end_in_a_prefix":       {"\x80", "unexpected EOF"},
		"end_in_a_message":      {"\x05\x91", "unexpected EOF"},
		"empty_message":         {"\x00", "MessagePack"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := serviceprotocol.NewReader(strings.NewReader(tt.stream), 1024).Next()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestReader_does_not_trust_an_announced_length(t *testing.T) {
	stream := append([]byte("\xff\xff\xff\x7f"), make([]byte, 3000)...) // 256 MiB announced
	allocated := allocatedBy(func() {
		if _, err := serviceprotocol.NewReader(bytes.NewReader(stream), 1<<30).Next(); err == nil {
			t.Error("read a message that hasn't come")
		}
	})
	if allocated > 64<<10 {
		t.Errorf("%d bytes were allocated for %d received", allocated, len(stream))
	}
}

func TestAppend_repairs_text_and_appends(t *testing.T) {
	t.Parallel()
	got := serviceprotocol.Append([]byte("before"), &serviceprotocol.ServiceError{Message: "a\xffb"})
	if want := "before\x08\x92\x0f\xa5a\uFFFDb"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestQueries_carry_members_and_claims(t *testing.T) {
	t.Parallel()
	members := []serviceprotocol.GroupMember{{ConnectionID: "a", UserID: "ann"}, {ConnectionID: "b"}}
	payload := serviceprotocol.AppendGroupMembers(nil, members, "next")
	if want := "\x92\x92\x92\xa1a\xa3ann\x92\xa1b\xc0\xa4next"; string(payload) != want {
		t.Errorf("got %q, want %q", payload, want)
	}
	got, next, err := serviceprotocol.ParseGroupMembers(payload)
	if diff := cmp.Diff(members, got); diff != "" || next != "next" || err != nil {
		t.Error(diff, next, err)
	}
	for i := range payload {
		if _, _, err := serviceprotocol.ParseGroupMembers(payload[:i]); err == nil {
			t.Errorf("read the first %d bytes", i)
		}
	}
	claims := []serviceprotocol.Claim{{Type: "role", Value: "a"}, {Type: "role", Value: "b"}}
	read, err := serviceprotocol.ParseClaims(serviceprotocol.AppendClaims(nil, claims))
	if diff := cmp.Diff(claims, read); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
