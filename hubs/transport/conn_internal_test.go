package transport

import "testing"

func TestFrameBuffersAreEmptied(t *testing.T) {
	t.Parallel()
	for range 100 { // a pool may give back any of its buffers, or none
		b := getFrameBuffer()
		if len(*b) != 0 {
			t.Fatalf("a buffer holds %q of another connection", *b)
		}
		*b = append(*b, "secret"...)
		putFrameBuffer(b)
	}
}
