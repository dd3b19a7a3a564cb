package adminapi

import (
	"net/http"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// SignUp implements ServerInterface.
func (s *server) SignUp(w http.ResponseWriter, r *http.Request) {
	in, err := body[SignUpRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	made, err := s.tenants.SignUp(r.Context(), callerOf(r), tenants.SignUp{
		Email: in.Email, Password: tenants.Secret(in.Password),
		AccountName: value(in.AccountName), TenantName: value(in.TenantName), TenantSlug: value(in.TenantSlug),
	})
	if err != nil {
		s.problem(w, r, err)
		return
	}
	if err := s.signInUser(r.Context(), made.User.ID); err != nil {
		s.problem(w, r, err)
		return
	}
	key, err := s.keySecret(made.Tenant, made.Key)
	s.answer(w, r, http.StatusCreated, SignUpResult{
		User: user(made.User), Account: account(made.Account), Tenant: s.tenant(made.Tenant), Key: key,
	}, err)
}

// SignIn implements ServerInterface.
func (s *server) SignIn(w http.ResponseWriter, r *http.Request) {
	in, err := body[SignInRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	caller := callerOf(r)
	u, err := s.tenants.SignIn(r.Context(), caller, in.Email, tenants.Secret(in.Password))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	if err := s.signInUser(r.Context(), u.ID); err != nil {
		s.problem(w, r, err)
		return
	}
	s.answerSession(w, r, tenants.Caller{User: u.ID})
}

// GetSession implements ServerInterface.
func (s *server) GetSession(w http.ResponseWriter, r *http.Request) {
	s.answerSession(w, r, callerOf(r))
}

func (s *server) answerSession(w http.ResponseWriter, r *http.Request, c tenants.Caller) {
	u, memberships, err := s.tenants.Who(r.Context(), c)
	if fault.KindOf(err) == fault.NotFound && err != nil { // the user is gone, the session is not
		err = fault.New(fault.Unauthenticated, "Sign in, or send an API token.")
	}
	answer := Session{User: user(u), Accounts: make([]Account, 0, len(memberships))}
	for _, m := range memberships {
		answer.Accounts = append(answer.Accounts, account(m))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// SignOut implements ServerInterface.
func (s *server) SignOut(w http.ResponseWriter, r *http.Request) {
	err := s.sessions.Destroy(r.Context())
	if err != nil {
		err = fault.Wrap(fault.Unavailable, "Signing out is not possible right now.", err)
	}
	s.done(w, r, err)
}

// VerifyEmail implements ServerInterface.
func (s *server) VerifyEmail(w http.ResponseWriter, r *http.Request) {
	in, err := body[EmailVerificationRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	email, err := s.tenants.VerifyEmail(r.Context(), callerOf(r), tenants.Secret(in.Token))
	s.answer(w, r, http.StatusOK, EmailVerification{Email: email}, err)
}

func user(u tenants.User) User {
	return User{ID: string(u.ID), Email: u.Email, EmailVerified: u.EmailVerified}
}

func account(m tenants.Membership) Account {
	return Account{ID: string(m.ID), Name: m.Name, Plan: m.Plan, Role: Role(m.Role)}
}
