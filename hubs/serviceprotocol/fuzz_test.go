package serviceprotocol_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// FuzzParse: whatever a peer sends is refused with an *Error or read, and what
// is read is written in a form that reads the same.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"current.txt", "older.txt"} {
		for _, body := range vectors(f, file) {
			f.Add(body)
		}
	}
	for _, attack := range attacks {
		f.Add([]byte(attack))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := serviceprotocol.Parse(body)
		if err != nil {
			if broken := new(serviceprotocol.Error); !errors.As(err, &broken) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		first := serviceprotocol.Append(nil, m)
		reader := serviceprotocol.NewReader(iotest.OneByteReader(bytes.NewReader(first)), len(first))
		again, err := reader.Next()
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		if second := serviceprotocol.Append(nil, again); !bytes.Equal(first, second) {
			t.Error(cmp.Diff(first, second))
		}
		if _, err := reader.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ends with %v", err)
		}
	})
}

// attacks announce more than they hold, or nest.
var attacks = map[string]string{
	"array_of_4G":            "\xdd\xff\xff\xff\xff\x03",
	"ping_of_2G_items":       "\xdd\x7f\xff\xff\xff\x03\xa1a",
	"claims_of_2G":           "\x96\x04\xa1j\xdf\x7f\xff\xff\xff\x80\xa0\x80",
	"payload_of_4G":          "\x94\x06\xa1j\xc6\xff\xff\xff\xff\x01\x80",
	"text_of_4G":             "\x92\x0f\xdb\xff\xff\xff\xffa",
	"list_of_64K":            "\x94\x0a\xdc\xff\xff\x80\x80",
	"headers_of_lists_of_4G": "\x95\x05\xa1j\xa0\x81\xa1a\xdd\xff\xff\xff\xff\x80",
	"extension_nests":        "\x94\x06\xa1j\xc4\x00\x81\x07" + strings.Repeat("\x91", 1000) + "\xc0",
	"extension_of_4G":        "\x94\x06\xa1j\xc4\x00\x81\x07\xc9\xff\xff\xff\xff\x00",
	"extensions_of_2G":       "\x94\x06\xa1j\xc4\x00\xdf\x7f\xff\xff\xff\x07\xc0",
	"no_array":               "\xa1a",
	"empty_array":            "\x90",
	"type_is_text":           "\x91\xa1a",
	"nothing":                "",
}

func TestParse_refuses_attacks_without_allocating_for_them(t *testing.T) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			allocated := allocatedBy(func() {
				if m, err := serviceprotocol.Parse([]byte(attack)); err == nil {
					t.Errorf("read as %#v", m)
				}
			})
			if allocated > 64<<10 {
				t.Errorf("%d bytes were allocated for %d received", allocated, len(attack))
			}
		})
	}
}

// A message as long as a server connection takes costs a small multiple of it.
func TestParse_bounds_what_a_long_message_costs(t *testing.T) {
	const size = 1 << 20
	for name, item := range map[string]string{"empty_texts": "\xa0", "short_texts": "\xa1a", "connection_ids": "\xb6" + strings.Repeat("x", 22)} {
		t.Run(name, func(t *testing.T) {
			n := size / len(item)
			body := append([]byte("\x94\x0a\xdd"), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
			body = append(append(body, strings.Repeat(item, n)...), 0x80, 0x80)
			var err error
			allocated := allocatedBy(func() { _, err = serviceprotocol.Parse(body) })
			if allocated > 4*size {
				t.Errorf("%d bytes were allocated for %d", allocated, len(body))
			}
			if (err != nil) != (n > serviceprotocol.MaxItems) {
				t.Errorf("%d items: %v", n, err)
			}
		})
	}
}

// allocatedBy measures, and is for tests that don't run in parallel.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
