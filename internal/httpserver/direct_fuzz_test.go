package httpserver

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"testing"
	"unsafe"
)

// A host is kept longer than its request: it doesn't keep the rest of the head, in
// which tokens are.
func TestDirectRequest_host_is_apart(t *testing.T) {
	r, _ := directRequest(t.Context(), []byte("POST /a HTTP/1.1\r\nHost: tenant\r\nX: b\r\n\r\n"))
	host, head := uintptr(unsafe.Pointer(unsafe.StringData(r.Host))), uintptr(unsafe.Pointer(unsafe.StringData(r.RequestURI)))
	if r.Host != "tenant" || host > head && host < head+100 {
		t.Errorf("%q is a part of the head", r.Host)
	}
}

// SEC-33: what is served directly is read as net/http reads it, to the same byte.
func FuzzDirectRequest(f *testing.F) {
	const ask, upgrade = "POST /client/negotiate?hub=a HTTP/1.1\r\nHost: a\r\n", "GET /client/?hub=a&id=b HTTP/1.1\r\nHost: a:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	for _, seed := range []string{
		ask + "\r\n", ask + "Content-Length: 0\r\n\r\nGET / HTTP/1.1\r\n", upgrade + "\r\n\x81\x80abcd", upgrade + "X: a\r\nx: \t b \r\nCookie: c=\"d\"\r\n\r\n",
		ask + "Content-Length: 3\r\n\r\nabc", ask + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n", ask + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		ask + "X: a\r\n b\r\n\r\n", ask + "X : a\r\n\r\n", ask + "X: a\nY: b\r\n\r\n", ask + "Host: b\r\n\r\n", ask + "Pragma: no-cache\r\n\r\n",
		ask + "Connection: close\r\n\r\n", ask + "Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", ask + "Expect: 100-continue\r\n\r\n",
		"POST //a/../%2e%2f?%zz#x HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", "POST http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "POST /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.0\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\n\r\n", "\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size := directRequest(t.Context(), b)
		if r == nil {
			return
		}
		in := bytes.NewReader(b)
		buffered := bufio.NewReaderSize(in, 1<<20)
		theirs, err := http.ReadRequest(buffered)
		if err != nil {
			t.Fatalf("net/http: %v", err)
		}
		if read := len(b) - buffered.Buffered() - in.Len(); read != size {
			t.Errorf("%d bytes are read, net/http reads %d", size, read)
		}
		if theirs.ContentLength != 0 || theirs.Close || theirs.TransferEncoding != nil || theirs.Trailer != nil || theirs.Body != http.NoBody {
			t.Errorf("to net/http it is more: %+v", theirs)
		}
		if r.Method != theirs.Method || r.RequestURI != theirs.RequestURI || r.Host != theirs.Host || r.Proto != theirs.Proto || !reflect.DeepEqual(r.URL, theirs.URL) {
			t.Errorf("read as %s %s of %s, net/http: %s %s of %s", r.Method, r.URL, r.Host, theirs.Method, theirs.URL, theirs.Host)
		}
		if !reflect.DeepEqual(r.Header, theirs.Header) {
			t.Errorf("header %q, net/http: %q", r.Header, theirs.Header)
		}
	})
}
