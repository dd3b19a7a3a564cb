package tenants

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
	"time"
)

// Mail is a message to a person.
type Mail struct {
	ID        string
	To        string
	Subject   string
	Text      string
	HTML      string
	Link      string // the link in Text; "" = none
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
	return tx.QueueMail(ctx, Mail{
		ID: newID(), To: to, Subject: l.Subject, Text: l.text(), HTML: html.String(), Link: l.Link, CreatedAt: s.now(), GoodUntil: l.GoodUntil,
	})
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
