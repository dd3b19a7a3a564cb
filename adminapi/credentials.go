package adminapi

import (
	"net/http"

	"github.com/signalbox/signalbox/tenants"
)

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

// RequestPasswordReset implements ServerInterface.
func (s *server) RequestPasswordReset(w http.ResponseWriter, r *http.Request) {
	in, err := body[PasswordResetRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.accepted(w, r, s.tenants.RequestReset(r.Context(), callerOf(r), in.Email))
}

// accepted answers 202, or with the error when there is one.
func (s *server) accepted(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// ResetPassword implements ServerInterface. Whoever resets isn't signed in by it:
// a second factor may be needed.
func (s *server) ResetPassword(w http.ResponseWriter, r *http.Request) {
	in, err := body[PasswordResetCompletion](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.done(w, r, s.tenants.ResetPassword(r.Context(), callerOf(r), tenants.Secret(in.Token), tenants.Secret(in.Password)))
}

// ChangePassword implements ServerInterface.
func (s *server) ChangePassword(w http.ResponseWriter, r *http.Request) {
	in, err := body[PasswordChange](r)
	var u tenants.User
	if err == nil {
		u, err = s.tenants.ChangePassword(r.Context(), callerOf(r), tenants.Secret(in.CurrentPassword), tenants.Secret(in.NewPassword))
	}
	if err == nil {
		s.sessions.Put(r.Context(), tenants.SessionPassword, u.PasswordVersion)
	}
	s.done(w, r, s.renewed(r, err))
}

// renewed gives the session another token when nothing went wrong before.
func (s *server) renewed(r *http.Request, err error) error {
	if err != nil {
		return err
	}
	return s.renewSession(r)
}

// ChangeEmail implements ServerInterface.
func (s *server) ChangeEmail(w http.ResponseWriter, r *http.Request) {
	in, err := body[EmailChange](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.accepted(w, r, s.tenants.ChangeEmail(r.Context(), callerOf(r), in.Email, tenants.Secret(in.Password)))
}

// ResendVerification implements ServerInterface.
func (s *server) ResendVerification(w http.ResponseWriter, r *http.Request) {
	s.accepted(w, r, s.tenants.ResendVerification(r.Context(), callerOf(r)))
}

// GetSecondFactor implements ServerInterface.
func (s *server) GetSecondFactor(w http.ResponseWriter, r *http.Request) {
	f, err := s.tenants.SecondFactor(r.Context(), callerOf(r))
	s.answer(w, r, http.StatusOK, SecondFactor{Enabled: !f.Enabled.IsZero(), EnabledAt: optional(f.Enabled), RecoveryCodesLeft: f.Codes}, err)
}

// BeginSecondFactor implements ServerInterface.
func (s *server) BeginSecondFactor(w http.ResponseWriter, r *http.Request) {
	in, err := body[PasswordConfirmation](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	made, err := s.tenants.BeginSecondFactor(r.Context(), callerOf(r), tenants.Secret(in.Password))
	s.answer(w, r, http.StatusOK, SecondFactorSetup{Secret: made.Secret.Reveal(), URI: made.URI.Reveal()}, err)
}

// ConfirmSecondFactor implements ServerInterface.
func (s *server) ConfirmSecondFactor(w http.ResponseWriter, r *http.Request) {
	in, err := body[SecondFactorCodeRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	codes, err := s.tenants.ConfirmSecondFactor(r.Context(), callerOf(r), tenants.Secret(in.Code))
	s.answer(w, r, http.StatusOK, RecoveryCodes{RecoveryCodes: codes}, s.renewed(r, err))
}

// RenewRecoveryCodes implements ServerInterface.
func (s *server) RenewRecoveryCodes(w http.ResponseWriter, r *http.Request) {
	in, err := body[SecondFactorProof](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	codes, err := s.tenants.RenewRecoveryCodes(r.Context(), callerOf(r), tenants.Secret(in.Password), tenants.Secret(in.Code))
	s.answer(w, r, http.StatusOK, RecoveryCodes{RecoveryCodes: codes}, err)
}

// RemoveSecondFactor implements ServerInterface.
func (s *server) RemoveSecondFactor(w http.ResponseWriter, r *http.Request) {
	in, err := body[SecondFactorProof](r)
	if err == nil {
		err = s.tenants.RemoveSecondFactor(r.Context(), callerOf(r), tenants.Secret(in.Password), tenants.Secret(in.Code))
	}
	s.done(w, r, s.renewed(r, err))
}
