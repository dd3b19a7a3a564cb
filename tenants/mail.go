package tenants

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Mail is a message to a person.
type Mail struct {
	ID      string
	To      string
	Subject string
	Text    string
	HTML    string
	Link    string // the link in Text; "" = none
	// Sealed has Text, HTML and Link in the store, see Service.OpenMail: links in mails are
	// as good as passwords.
	Sealed    []byte
	CreatedAt time.Time
	// GoodUntil is when its link ends, after which it isn't sent any more; zero = never.
	GoodUntil time.Time
}

// letter is what a mail says, in both of its forms.
type letter struct {
	Subject   string
	Before    []string // paragraphs
	Action    string   // what the link does; "" = no link
	Link      string
	After     []string
	GoodUntil time.Time
}

//go:embed mail.html.tmpl
var mailHTML string

var mailTemplate = template.Must(template.New("mail").Parse(mailHTML))

// post queues a letter to an address.
func (s *Service) post(ctx context.Context, tx Store, to string, l letter) error {
	var html bytes.Buffer
	if err := mailTemplate.Execute(&html, l); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	content, err := json.Marshal(mailContent{Text: l.text(), HTML: html.String(), Link: l.Link})
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	id := newID()
	return tx.QueueMail(ctx, Mail{
		ID: id, To: to, Subject: l.Subject, Sealed: s.sealer.Seal(sealedMails, mailScope, id, Secret(content)), CreatedAt: s.now(), GoodUntil: l.GoodUntil,
	})
}

// mailContent is what is sealed of a mail.
type mailContent struct{ Text, HTML, Link string }

// mailScope binds what is sealed of a mail to the outbox: it is of a person, who needs not
// be a user yet, and of no tenant.
const mailScope ID = "mail"

// OpenMail fills in what is sealed of a mail from the store. One that was sent has
// nothing left.
func (s *Service) OpenMail(m Mail) (Mail, error) {
	if len(m.Sealed) == 0 {
		return m, nil
	}
	plain, err := s.sealer.Open(sealedMails, mailScope, m.ID, m.Sealed)
	if err != nil {
		return Mail{}, fault.Wrap(fault.Internal, "open mail", err)
	}
	var content mailContent
	if err := json.Unmarshal([]byte(plain), &content); err != nil {
		return Mail{}, fault.Wrap(fault.Internal, "read mail", err)
	}
	m.Text, m.HTML, m.Link = content.Text, content.HTML, content.Link
	return m, nil
}

func (l letter) text() string {
	parts := append([]string{}, l.Before...)
	if l.Link != "" {
		parts = append(parts, l.Action+":\n"+l.Link)
	}
	parts = append(parts, l.After...)
	return strings.Join(parts, "\n\n") + "\n"
}

// notice is a letter about something that was done to a user's sign-in.
func notice(subject, what string, at time.Time, c Caller) letter {
	return letter{
		Subject: subject,
		Before:  []string{what, "When: " + at.UTC().Format("2 January 2006, 15:04 UTC") + ". From: " + c.IP + "."},
		After:   []string{"If this wasn't you, set a new password at once, with \"Forgot your password?\" on the sign-in page, end all sessions in your security settings, and look there and at your API tokens for what isn't yours."},
	}
}
