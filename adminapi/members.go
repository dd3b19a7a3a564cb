package adminapi

import (
	"net/http"
	"strings"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// CreateAccount implements ServerInterface.
func (s *server) CreateAccount(w http.ResponseWriter, r *http.Request) {
	in, err := body[CreateAccountRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	m, err := s.tenants.CreateAccount(r.Context(), callerOf(r), in.Name)
	s.answer(w, r, http.StatusCreated, accountDetails(m), err)
}

// GetAccount implements ServerInterface.
func (s *server) GetAccount(w http.ResponseWriter, r *http.Request, id AccountPath) {
	m, err := s.tenants.Account(r.Context(), callerOf(r), tenants.AccountID(id))
	s.answer(w, r, http.StatusOK, accountDetails(m), err)
}

// UpdateAccount implements ServerInterface.
func (s *server) UpdateAccount(w http.ResponseWriter, r *http.Request, id AccountPath) {
	in, err := body[UpdateAccountRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	m, err := s.tenants.UpdateAccount(r.Context(), callerOf(r), tenants.AccountID(id), tenants.AccountChange{Name: in.Name, RequireSecondFactor: in.RequireSecondFactor})
	s.answer(w, r, http.StatusOK, accountDetails(m), err)
}

// LeaveAccount implements ServerInterface.
func (s *server) LeaveAccount(w http.ResponseWriter, r *http.Request, id AccountPath) {
	s.done(w, r, s.tenants.LeaveAccount(r.Context(), callerOf(r), tenants.AccountID(id)))
}

// ListMembers implements ServerInterface.
func (s *server) ListMembers(w http.ResponseWriter, r *http.Request, id AccountPath, params ListMembersParams) {
	all, err := s.tenants.Members(r.Context(), callerOf(r), tenants.AccountID(id))
	page, next, err := paged(err, byAddress, all, params.Cursor, params.Limit)
	answer := MemberList{Members: make([]Member, 0, len(page)), NextCursor: next}
	for _, m := range page {
		answer.Members = append(answer.Members, member(m))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var byAddress = order[tenants.Member]{list: "members", place: func(m tenants.Member) []string { return []string{strings.ToLower(m.Email), string(m.ID)} }}

// GetMember implements ServerInterface.
func (s *server) GetMember(w http.ResponseWriter, r *http.Request, id AccountPath, u UserPath) {
	m, err := s.tenants.Member(r.Context(), callerOf(r), tenants.AccountID(id), tenants.UserID(u))
	s.answer(w, r, http.StatusOK, member(m), err)
}

// UpdateMember implements ServerInterface.
func (s *server) UpdateMember(w http.ResponseWriter, r *http.Request, id AccountPath, u UserPath) {
	in, err := body[UpdateMemberRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	m, err := s.tenants.ChangeRole(r.Context(), callerOf(r), tenants.AccountID(id), tenants.UserID(u), tenants.Role(in.Role))
	s.answer(w, r, http.StatusOK, member(m), err)
}

// RemoveMember implements ServerInterface.
func (s *server) RemoveMember(w http.ResponseWriter, r *http.Request, id AccountPath, u UserPath) {
	s.done(w, r, s.tenants.RemoveMember(r.Context(), callerOf(r), tenants.AccountID(id), tenants.UserID(u)))
}

// ListInvitations implements ServerInterface.
func (s *server) ListInvitations(w http.ResponseWriter, r *http.Request, id AccountPath, params ListInvitationsParams) {
	all, err := s.tenants.Invitations(r.Context(), callerOf(r), tenants.AccountID(id))
	page, next, err := paged(err, newestInvitations, all, params.Cursor, params.Limit)
	answer := InvitationList{Invitations: make([]Invitation, 0, len(page)), NextCursor: next}
	for _, i := range page {
		answer.Invitations = append(answer.Invitations, invitation(i))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var newestInvitations = order[tenants.Invitation]{
	list: "invitations", down: true, place: func(i tenants.Invitation) []string { return []string{moment(i.CreatedAt), i.ID} },
}

// CreateInvitation implements ServerInterface.
func (s *server) CreateInvitation(w http.ResponseWriter, r *http.Request, id AccountPath) {
	in, err := body[CreateInvitationRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	i, err := s.tenants.Invite(r.Context(), callerOf(r), tenants.AccountID(id), in.Email, tenants.Role(in.Role))
	s.answer(w, r, http.StatusCreated, invitation(i), err)
}

// ResendInvitation implements ServerInterface.
func (s *server) ResendInvitation(w http.ResponseWriter, r *http.Request, id AccountPath, inv InvitationPath) {
	i, err := s.tenants.ResendInvitation(r.Context(), callerOf(r), tenants.AccountID(id), inv)
	s.answer(w, r, http.StatusOK, invitation(i), err)
}

// RevokeInvitation implements ServerInterface.
func (s *server) RevokeInvitation(w http.ResponseWriter, r *http.Request, id AccountPath, inv InvitationPath) {
	s.done(w, r, s.tenants.RevokeInvitation(r.Context(), callerOf(r), tenants.AccountID(id), inv))
}

// LookUpInvitation implements ServerInterface.
func (s *server) LookUpInvitation(w http.ResponseWriter, r *http.Request) {
	in, err := body[TokenRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	o, err := s.tenants.LookUpInvitation(r.Context(), callerOf(r), tenants.Secret(in.Token))
	s.answer(w, r, http.StatusOK, InvitationOffer{
		AccountName: o.AccountName, Email: o.Email, Role: Role(o.Role), InvitedBy: o.InvitedBy, HasUser: o.HasUser, ExpiresAt: o.ExpiresAt.UTC(),
	}, err)
}

// AcceptInvitation implements ServerInterface. A new person is signed in by it.
func (s *server) AcceptInvitation(w http.ResponseWriter, r *http.Request) {
	in, err := body[AcceptInvitationRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	c := callerOf(r)
	u, err := s.tenants.AcceptInvitation(r.Context(), c, tenants.Secret(in.Token), tenants.Secret(value(in.Password)))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	if u.ID == c.User {
		err = s.renewSession(r)
	} else {
		err = s.signInUser(r, u, false)
	}
	if err != nil {
		s.problem(w, r, fault.Wrap(fault.Unavailable, "You joined, but signing in is not possible right now.", err))
		return
	}
	s.answerSession(w, r)
}

func accountDetails(m tenants.Membership) AccountDetails {
	return AccountDetails{ID: string(m.ID), Name: m.Name, Plan: m.Plan, Role: Role(m.Role), RequireSecondFactor: m.RequireSecondFactor, CreatedAt: m.CreatedAt.UTC()}
}

func member(m tenants.Member) Member {
	return Member{
		UserID: string(m.ID), Email: m.Email, EmailVerified: m.EmailVerified, Role: Role(m.Role), SecondFactor: m.SecondFactor,
		JoinedAt: m.JoinedAt.UTC(), LastSeenAt: optional(m.LastSeen),
	}
}

func invitation(i tenants.Invitation) Invitation {
	return Invitation{
		ID: i.ID, Email: i.Email, Role: Role(i.Role), InvitedBy: i.InvitedBy, CreatedAt: i.CreatedAt.UTC(), SentAt: i.SentAt.UTC(), ExpiresAt: i.ExpiresAt.UTC(),
	}
}
