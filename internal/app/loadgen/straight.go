package loadgen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Straight makes the requests of one client over one connection, one after another,
// up to the one that makes it a WebSocket. net/http's Transport has two goroutines and
// two buffers for each connection, and passes every request through both: opening
// clients would take the generator as long as the service. It is for http:// only, and
// for one goroutine. The zero value is ready; who made it calls Close unless the last
// request has become a WebSocket.
type Straight struct {
	conn net.Conn
	host string // of conn
	in   *bufio.Reader
	last bool // the server ends conn after the answer that is being read
}

var (
	straightDialer = net.Dialer{Timeout: 10 * time.Second}
	readers        = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2<<10) }}
	writers        = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 2<<10) }}
)

// RoundTrip implements http.RoundTripper. The body of the answer before has to be
// closed.
func (s *Straight) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := s.reach(ctx, req.URL.Scheme, req.URL.Host); err != nil {
		return nil, errors.Join(err, closed(req.Body))
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	res, err := s.exchange(req)
	if !stop() { // the deadline is over
		if err == nil {
			_ = res.Body.Close()
		}
		err = context.Cause(ctx)
	}
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		s.last = res.Close
		return res, nil
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	res.Body = &upgraded{Conn: s.conn, in: s.in}
	s.conn, s.in = nil, nil
	return res, nil
}

// reach connects to a host, unless it is connected already.
func (s *Straight) reach(ctx context.Context, scheme, host string) error {
	if scheme != "http" {
		return errors.New("only http:// can be asked straight, not " + scheme + "://")
	}
	if s.conn != nil && s.host == host && !s.last {
		return nil
	}
	s.Close()
	address := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		address = net.JoinHostPort(host, "80")
	}
	conn, err := straightDialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	s.conn, s.host, s.in, s.last = conn, host, readers.Get().(*bufio.Reader), false
	s.in.Reset(conn)
	return nil
}

func (s *Straight) exchange(req *http.Request) (*http.Response, error) {
	out := writers.Get().(*bufio.Writer)
	defer writers.Put(out)
	out.Reset(s.conn)
	err := req.Write(out)
	if err == nil {
		err = out.Flush()
	}
	out.Reset(nil)
	if err != nil {
		return nil, err
	}
	return http.ReadResponse(s.in, req)
}

// Close ends the connection; what has become a WebSocket stays.
func (s *Straight) Close() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close()
	s.in.Reset(nil)
	readers.Put(s.in)
	s.conn, s.in = nil, nil
}

func closed(body io.Closer) error {
	if body == nil {
		return nil
	}
	return body.Close()
}

// upgraded is the connection after the answer, of which some may have been read.
type upgraded struct {
	net.Conn
	in *bufio.Reader // nil once what it had is read
}

// Read implements io.Reader.
func (u *upgraded) Read(p []byte) (int, error) {
	if u.in == nil {
		return u.Conn.Read(p)
	}
	if u.in.Buffered() > 0 {
		return u.in.Read(p)
	}
	u.in.Reset(nil)
	readers.Put(u.in)
	u.in = nil
	return u.Conn.Read(p)
}
