package backplane

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// stuck is a transport whose first connections take too long to be made. It closes
// bodies that it didn't send, as those of net/http do.
type stuck struct {
	left int
	next http.RoundTripper
}

func (s *stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.left--; s.left >= 0 {
		_ = r.Body.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	return s.next.RoundTrip(r)
}

// The owner of a connection that is slow to be connected to isn't gone: the request,
// which nobody has had, is passed on once more with its whole body.
func TestRelay_tries_again_when_the_owner_was_not_reached(t *testing.T) {
	t.Parallel()
	owner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	defer owner.Close()
	for _, lost := range []int{1, relayAttempts - 1, relayAttempts} {
		p := newRelay(OwnershipConfig{EdgeRun: "b", Gone: errGone, Relay: RelayConfig{
			Scheme: "http", Transport: &stuck{left: lost, next: http.DefaultTransport},
		}}, nil)
		edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := p.pass(w, r, strings.TrimPrefix(owner.URL, "http://")); err != nil {
				http.Error(w, "gone", http.StatusNotFound)
			}
		}))
		text := strings.Repeat("payload", 10_000)
		// Behind a buffer of its own the body has no length: it is sent in chunks.
		res, err := post(t, edge.URL, io.MultiReader(bufio.NewReader(strings.NewReader(text))))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		edge.Close()
		if lost < relayAttempts && (err != nil || string(got) != text) {
			t.Errorf("after %d attempts: got %d bytes, status %d, %v; want the whole body", lost+1, len(got), res.StatusCode, err)
		}
		if lost == relayAttempts && res.StatusCode != http.StatusNotFound {
			t.Errorf("an owner that is never reached: status %d", res.StatusCode)
		}
	}
}

func post(t *testing.T, url string, body io.Reader) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return http.DefaultClient.Do(r)
}
