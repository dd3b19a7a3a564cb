package adminapi

import (
	"net/http"

	"github.com/signalbox/signalbox/internal/fault"
)

// GetOpenapi implements ServerInterface.
func (s *server) GetOpenapi(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, http.StatusOK, s.spec, nil)
}

// GetDevMailbox implements ServerInterface.
func (s *server) GetDevMailbox(w http.ResponseWriter, r *http.Request) {
	if !s.dev {
		s.problem(w, r, fault.New(fault.NotFound, "There is nothing at this address."))
		return
	}
	mails, err := s.tenants.RecentMail(r.Context())
	answer := Mailbox{Mails: make([]Mail, 0, len(mails))}
	for _, m := range mails {
		shown := Mail{ID: m.ID, To: m.To, Subject: m.Subject, Text: m.Text, CreatedAt: m.CreatedAt.UTC()}
		if m.Link != "" {
			shown.Link = &m.Link
		}
		answer.Mails = append(answer.Mails, shown)
	}
	s.answer(w, r, http.StatusOK, answer, err)
}
