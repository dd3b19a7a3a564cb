package httpserver_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

var dateLine = regexp.MustCompile(`\r\nDate: [^\r]*`)

// saidOf is all that a server answers to what is sent, but for the time. It sees the
// end of it, as it sees that of a client that goes away.
func saidOf(t testing.TB, addr string, sent []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = conn.Write(sent)
	_ = conn.(*net.TCPConn).CloseWrite()
	said, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%q: %v", sent, err)
	}
	return dateLine.ReplaceAllString(string(said), "")
}

// echo answers with what it was asked, and a hijacker with all that comes after it.
func echo(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "hijack") {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err == nil {
			rest, err := io.ReadAll(rw)
			_, _ = fmt.Fprintf(conn, "hijacked %q %v", rest, err)
			_ = conn.Close()
		}
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	w.Header().Set("X-Asked", r.Method)
	if strings.Contains(r.URL.Path, "teapot") {
		w.WriteHeader(http.StatusTeapot)
	}
	seen := fmt.Sprintf("%s %q %q %q %s %q %d %q %t %v %q %v", r.Method, r.URL.String(), r.RequestURI, r.Host, r.Proto, r.Header,
		r.ContentLength, r.TransferEncoding, r.Close, r.Trailer, body, err)
	if len(seen) > 2000 { // net/http would send it in chunks
		seen = fmt.Sprintf("%s %x", seen[:1000], sha256.Sum256([]byte(seen)))
	}
	_, _ = io.WriteString(w, seen)
}

// SEC-33: whatever is sent, a server that serves some requests directly answers to the
// byte what one answers that doesn't.
func FuzzDirectAnswers(f *testing.F) {
	const ask, get = "POST /a?hub=a HTTP/1.1\r\nHost: a\r\n", "GET /hijack?id=b HTTP/1.1\r\nHost: a:80\r\n"
	for _, seed := range []string{
		ask + "\r\n", ask + "\r\n" + ask + "\r\n", ask + "\r\n" + ask, ask + "\r\nGET /x HTTP/1.1\r\nHost: b\r\n\r\n" + ask + "\r\n",
		get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80abcd", get + "Connection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\n\r\n", get + "\r\nrest",
		ask + "\r\n" + get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + ask + "\r\n",
		ask + "Content-Length: 0\r\n\r\n", ask + "Content-Length: 3\r\n\r\nabc" + ask + "\r\n", ask + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		ask + "Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde", ask + "Content-Length: +0\r\n\r\n", ask + "Content-Length: 0, 0\r\n\r\n", ask + "Content-Length:\r\n\r\n",
		ask + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ask + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + ask + "\r\n",
		ask + "X: a\r\n b\r\n\r\n", ask + " X: a\r\n\r\n", ask + "X : a\r\n\r\n", ask + "X: a\nY: b\r\n\r\n", ask + "X: a\rY: b\r\n\r\n", ask + "X: a\x00\r\n\r\n", ask + "X\r\n\r\n", ask + ": a\r\n\r\n", ask + "X: \xe4\r\n\r\n",
		ask + "Host: b\r\n\r\n", ask + "host: a\r\n\r\n", "POST /a HTTP/1.1\r\n\r\n", "POST /a HTTP/1.1\r\nHost:\r\n\r\n", "POST /a HTTP/1.1\r\nHost: a b\r\n\r\n", "POST /a HTTP/1.1\r\nHost: u@a/\r\n\r\n",
		ask + "Connection: close\r\n\r\n" + ask + "\r\n", ask + "Connection: keep-alive\r\nConnection: close\r\n\r\n", ask + "Connection: X\r\nX: y\r\n\r\n", ask + "Connection: ,\r\n\r\n",
		ask + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\na", ask + "Expect: other\r\n\r\n", ask + "Trailer: X\r\n\r\n", ask + "Pragma: no-cache\r\n\r\n",
		ask + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"POST http://b/a HTTP/1.1\r\nHost: a\r\n\r\n", "POST //b/a HTTP/1.1\r\nHost: a\r\n\r\n", "POST /%2e%2f/../teapot?%zz;a#x HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", "POST /%z HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a b HTTP/1.1\r\nHost: a\r\n\r\n", "POST  /a HTTP/1.1\r\nHost: a\r\n\r\n", "POST\t/a HTTP/1.1\r\nHost: a\r\n\r\n", "POST * HTTP/1.1\r\nHost: a\r\n\r\n", "POST /a HTTP/1.1 \r\nHost: a\r\n\r\n",
		"POST /a HTTP/1.0\r\nHost: a\r\n\r\n", "POST /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "POST /a HTTP/1.2\r\nHost: a\r\n\r\n", "POST /a HTTP/2.0\r\nHost: a\r\n\r\n", "POST /a\r\n\r\n",
		"HEAD /teapot HTTP/1.1\r\nHost: a\r\n\r\n", "post /a HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n" + ask + "\r\n", ask + "\n", "\x16\x03\x01\r\n\r\n", "",
		ask + "X: " + strings.Repeat("x", 2500) + "\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	theirs, _ := serve(f, false, echo)
	direct, _ := serve(f, true, echo)
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) > 3000 {
			return // it would come in two reads, and what isn't read would cost the answer
		}
		if got, want := saidOf(t, direct.Addr(), sent), saidOf(t, theirs.Addr(), sent); got != want {
			t.Errorf("%q is answered\n%s\nnet/http answers\n%s", sent, got, want)
		}
	})
}
