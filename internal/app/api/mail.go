package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/signalbox/signalbox/tenants"
)

// errNoMailServer leaves a mail in the outbox.
var errNoMailServer = errors.New("mail not sent: SIGNALBOX_SMTP_URL is not set")

// smtpTimeout bounds the conversation with the mail server.
const smtpTimeout = 20 * time.Second

// newSender returns what sends mail: over SMTP when there is a server, else to
// nobody. A development server prints mails to console, past the log, which
// would take the links out.
func newSender(c Config, console io.Writer) (func(context.Context, tenants.Mail) error, error) {
	if c.SMTPURL == "" {
		return func(_ context.Context, m tenants.Mail) error {
			if !c.Dev {
				return errNoMailServer
			}
			_, err := fmt.Fprintf(console, "mail to %s: %s\n%s\n", m.To, m.Subject, m.Text)
			return err
		}, nil
	}
	roots, err := authorities(c.SMTPCAFile)
	if err != nil {
		return nil, err
	}
	client, err := newSMTPClient(c.SMTPURL, roots)
	if err != nil {
		return nil, err
	}
	return smtpSender(client, c.MailFrom), nil
}

// authorities reads a PEM file; without one they are nil, which means the system's.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is what it means
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read SIGNALBOX_SMTP_CA_FILE: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("SIGNALBOX_SMTP_CA_FILE has no certificate")
	}
	return roots, nil
}

// smtpSender sends mails through a client. A mail that is sent again, because it
// isn't known whether it was taken, has the same Message-ID: who keeps mails drops
// the second one.
func smtpSender(client *mail.Client, from string) func(context.Context, tenants.Mail) error {
	return func(ctx context.Context, m tenants.Mail) error {
		message := mail.NewMsg()
		if err := message.From(from); err != nil {
			return fmt.Errorf("set sender: %w", err)
		}
		if err := message.To(m.To); err != nil {
			return fmt.Errorf("set recipient: %w", err)
		}
		_, domain, _ := strings.Cut(message.GetFrom()[0].Address, "@")
		message.SetMessageIDWithValue(strings.ToLower(m.ID) + "@" + domain)
		message.SetDateWithValue(m.CreatedAt)
		message.SetGenHeader(mail.Header("Auto-Submitted"), "auto-generated") // RFC 3834: no answers from machines
		message.Subject(m.Subject)
		message.SetBodyString(mail.TypeTextPlain, m.Text)
		if m.HTML != "" {
			message.AddAlternativeString(mail.TypeTextHTML, m.HTML)
		}
		if err := client.DialAndSendWithContext(ctx, message); err != nil {
			return fmt.Errorf("send mail: %w", err)
		}
		return nil
	}
}

// newSMTPClient reads smtp://user:password@host:port (STARTTLS) or smtps:// (TLS).
// Mail never goes out in the clear. roots are the trusted authorities; nil means
// the system's.
func newSMTPClient(raw string, roots *x509.CertPool) (*mail.Client, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("SIGNALBOX_SMTP_URL is malformed") // its text may hold the password
	}
	options := []mail.Option{mail.WithTLSPortPolicy(mail.TLSMandatory), mail.WithTimeout(smtpTimeout)}
	if u.Scheme == "smtps" {
		options = []mail.Option{mail.WithSSLPort(false), mail.WithTimeout(smtpTimeout)}
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		options = append(options, mail.WithPort(port))
	}
	if u.User != nil {
		password, _ := u.User.Password()
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	}
	options = append(options, mail.WithTLSConfig(&tls.Config{ServerName: u.Hostname(), RootCAs: roots, MinVersion: tls.VersionTLS12}))
	client, err := mail.NewClient(u.Hostname(), options...)
	if err != nil {
		return nil, fmt.Errorf("make mail client: %w", err)
	}
	return client, nil
}
