package api

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// smtpServer takes one mail over TLS and returns what was said.
func smtpServer(t *testing.T, cert tls.Certificate) (addr string, said <-chan string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	all := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(bound))
		all <- converse(conn)
	}()
	return listener.Addr().String(), all
}

// converse is a server's side of SMTP (RFC 5321), as much as one mail needs.
func converse(conn net.Conn) string {
	var said strings.Builder
	answer := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	answer("220 test")
	inData := false
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		line := lines.Text()
		said.WriteString(line + "\n")
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); {
		case inData && line == ".":
			inData = false
			answer("250 taken")
		case inData:
		case verb == "EHLO":
			answer("250-test")
			answer("250 AUTH PLAIN")
		case verb == "AUTH":
			answer("235 welcome")
		case verb == "DATA":
			inData = true
			answer("354 go on")
		case verb == "QUIT":
			answer("221 bye")
			return said.String()
		default:
			answer("250 ok")
		}
	}
	return said.String()
}

func TestMail_goes_out_over_TLS_with_the_operators_sender(t *testing.T) {
	t.Parallel()
	// Only for its certificate, which is good for 127.0.0.1, and its authority.
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	addr, said := smtpServer(t, certified.TLS.Certificates[0])
	client, err := newSMTPClient("smtps://user:hunter2@"+addr, certified.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
	if err != nil {
		t.Fatal(err)
	}
	err = smtpSender(client, "Signalbox <no-reply@example.com>")(t.Context(), tenants.Mail{
		To: "ada@example.com", Subject: "Confirm", Text: "Open https://console.example.com/verify-email?token=abc\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	text := <-said
	for _, part := range []string{"MAIL FROM:<no-reply@example.com>", "RCPT TO:<ada@example.com>", "Subject: Confirm", "verify-email?token"} {
		if !strings.Contains(text, part) {
			t.Errorf("the server did not hear %q: %s", part, text)
		}
	}
}

func TestMail_without_a_server_stays_in_the_outbox(t *testing.T) {
	t.Parallel()
	send, err := newSender(Config{}, new(syncBuffer))
	if err != nil {
		t.Fatal(err)
	}
	if err := send(t.Context(), tenants.Mail{}); !errors.Is(err, errNoMailServer) {
		t.Errorf("error = %v", err)
	}
	if _, err := newSMTPClient("smtp://user:hunter2@%zz", nil); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
}
