package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// mailServer is an SMTP server that takes mail from "user" with "hunter2", over TLS
// alone.
type mailServer struct {
	addr   string
	caFile string
	// guesses counts passwords that were sent.
	guesses atomic.Int64

	mu    sync.Mutex
	got   []received
	fails []error // of the next mails, after their content was read
	came  chan received
	hold  func() // is called when a mail's content was read; may be nil
}

type received struct {
	from, to string
	secure   bool
	raw      []byte
}

// startMailServer serves SMTP, with TLS from the start or, else, STARTTLS.
func startMailServer(t *testing.T, implicit bool) *mailServer {
	t.Helper()
	// Only for its certificate, which is good for 127.0.0.1.
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(certified.Close)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	m := serveMail(t, &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}, implicit)
	m.caFile = caFile
	return m
}

// serveMail serves SMTP; without a config there is no TLS, and passwords are asked for
// in the clear.
func serveMail(t *testing.T, config *tls.Config, implicit bool) *mailServer {
	t.Helper()
	m, server := newMailServer(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = listener.Addr().String()
	if implicit {
		listener = tls.NewListener(listener, config)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return m
}

func newMailServer(config *tls.Config) (*mailServer, *smtp.Server) {
	m := &mailServer{came: make(chan received, 10)}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &mailSession{server: m, conn: c}, nil }))
	server.AllowInsecureAuth = config == nil
	server.TLSConfig, server.Domain, server.ErrorLog = config, "127.0.0.1", slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	return m, server
}

// wait returns the next mail that was taken.
func (m *mailServer) wait(t *testing.T) received {
	t.Helper()
	select {
	case r := <-m.came:
		return r
	case <-time.After(bound):
		t.Fatal("no mail came")
		return received{}
	}
}

func (m *mailServer) all() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]received{}, m.got...)
}

type mailSession struct {
	server *mailServer
	conn   *smtp.Conn
	mail   received
	proved bool
}

func (*mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.server.guesses.Add(1)
		if _, secure := s.conn.TLSConnectionState(); !secure || user != "user" || password != "hunter2" {
			return smtp.ErrAuthFailed
		}
		s.proved = true
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if !s.proved {
		return smtp.ErrAuthRequired
	}
	s.mail.from = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = to
	return nil
}

// Data keeps what came, also when the answer is a failure: that is how it is when
// an answer is lost.
func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.raw = raw
	_, s.mail.secure = s.conn.TLSConnectionState()
	s.server.mu.Lock()
	s.server.got = append(s.server.got, s.mail)
	var fail error
	if len(s.server.fails) > 0 {
		fail, s.server.fails = s.server.fails[0], s.server.fails[1:]
	}
	s.server.mu.Unlock()
	if s.server.hold != nil {
		s.server.hold()
	}
	if fail == nil {
		s.server.came <- s.mail
	}
	return fail
}

func (*mailSession) Reset()        {}
func (*mailSession) Logout() error { return nil }

// parts reads a mail: its header, and its texts by type.
func (r received) parts(t *testing.T) (netmail.Header, map[string]string) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(r.raw))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	reader := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := reader.NextPart() // undoes quoted-printable
		if errors.Is(err, io.EOF) {
			return m.Header, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		texts[kind] = string(text)
	}
}

func TestMail_goes_out_over_TLS_alone(t *testing.T) {
	t.Parallel()
	m := tenants.Mail{ID: "01ABC", To: "ada@example.com", Subject: "Confirm", Text: "Open it", HTML: "<p>Open it</p>", CreatedAt: time.Now()}
	for scheme, implicit := range map[string]bool{"smtp": false, "smtps": true} {
		server := startMailServer(t, implicit)
		send, err := newSender(Config{SMTPURL: scheme + "://user:hunter2@" + server.addr, SMTPCAFile: server.caFile, MailFrom: "Signalbox <no-reply@example.com>"}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got := server.wait(t)
		header, texts := got.parts(t)
		if got.from != "no-reply@example.com" || got.to != "ada@example.com" || !got.secure || header.Get("Message-Id") != "<01abc@example.com>" ||
			header.Get("Auto-Submitted") != "auto-generated" || texts["text/plain"] != "Open it" || texts["text/html"] != "<p>Open it</p>" {
			t.Errorf("%s: got %+v: %v %v", scheme, got, header, texts)
		}
		for what, c := range map[string]Config{
			"an unknown authority": {SMTPURL: scheme + "://user:hunter2@" + server.addr},
			"a wrong password":     {SMTPURL: scheme + "://user:wrong@" + server.addr, SMTPCAFile: server.caFile},
		} {
			c.MailFrom = "no-reply@example.com"
			send, err := newSender(c, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if err := send(t.Context(), m); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "wrong@") {
				t.Errorf("%s, %s: %v", scheme, what, err)
			}
		}
		if n := len(server.all()); n != 1 {
			t.Errorf("%s: %d mails came", scheme, n)
		}
	}
	// A server without TLS, or one whose STARTTLS somebody took out on the way, gets
	// neither password nor mail.
	for _, scheme := range []string{"smtp", "smtps"} {
		plain := serveMail(t, nil, false)
		send, err := newSender(Config{SMTPURL: scheme + "://user:hunter2@" + plain.addr, MailFrom: "a@example.com"}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(t.Context(), m); err == nil || plain.guesses.Load() > 0 || len(plain.all()) > 0 {
			t.Errorf("%s to a server without TLS: %v, %d passwords, %d mails", scheme, err, plain.guesses.Load(), len(plain.all()))
		}
	}
}

// A mail whose answer was a failure is sent again, with the same Message-ID, until
// it is taken, and then never more. The link in it works.
func TestMail_is_sent_again_until_it_is_taken(t *testing.T) {
	t.Parallel()
	server := startMailServer(t, false)
	server.fails = []error{&smtp.SMTPError{Code: 451, Message: "later"}}
	c := testConfig(t, testenv.Postgres(t), testenv.Redis(t))
	c.Dev = false
	c.SMTPURL, c.SMTPCAFile, c.MailFrom = "smtp://user:hunter2@"+server.addr, server.caFile, "Signalbox <no-reply@example.com>"
	r := start(t, c)
	browser := newPerson(t, r.url)
	res, err := browser.http.Post(r.url+"/v1/signup", "application/json", strings.NewReader(`{"email":"ada@example.com","password":"correct horse"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted { // with a mail server, sign-ups are confirmed first
		t.Fatalf("sign-up answered %d", res.StatusCode)
	}
	taken := server.wait(t)
	header, texts := taken.parts(t)
	all := server.all()
	first, _ := all[0].parts(t)
	if len(all) != 2 || first.Get("Message-Id") != header.Get("Message-Id") || header.Get("Message-Id") == "" {
		t.Errorf("%d mails came, with %q and %q", len(all), first.Get("Message-Id"), header.Get("Message-Id"))
	}
	_, link, ok := strings.Cut(texts["text/plain"], c.ConsoleURL+"/confirm-sign-up?token=")
	token, _, _ := strings.Cut(link, "\n")
	token, err = url.QueryUnescape(strings.TrimSpace(token))
	if !ok || err != nil || !strings.Contains(texts["text/html"], token) {
		t.Fatalf("mail = %v", texts)
	}
	if status, answer := post(t, browser.http, r.url+"/v1/signup/confirmation", map[string]string{"token": token, "password": "correct horse"}); status != http.StatusCreated {
		t.Errorf("confirming answered %d: %v", status, answer)
	}
	// Noted as sent: worked again, as after a crash that came before the queue knew,
	// nothing goes out.
	var id, body, markup, kept string
	var sealed []byte
	for deadline := time.Now().Add(bound); ; time.Sleep(10 * time.Millisecond) {
		err := r.app.core.pool.QueryRow(t.Context(), "SELECT id, body, html, link, sealed FROM mail_outbox WHERE sent_at IS NOT NULL").Scan(&id, &body, &markup, &kept, &sealed)
		if err == nil {
			break
		}
		if !errors.Is(err, pgx.ErrNoRows) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if body != "" || markup != "" || kept != "" || sealed != nil { // SEC-43
		t.Errorf("what was sent is kept: %q, %q, %q", body, markup, kept)
	}
	worker := &mailWorker{store: r.app.core.store, open: r.app.core.service.OpenMail, send: func(context.Context, tenants.Mail) error {
		t.Error("it was sent once more")
		return nil
	}}
	if err := worker.Work(t.Context(), &river.Job[tenantstore.SendMail]{Args: tenantstore.SendMail{Mail: id}}); err != nil {
		t.Error(err)
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
