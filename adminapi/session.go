package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

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
	made, waiting, err := s.tenants.SignUp(r.Context(), callerOf(r), tenants.SignUp{
		Email: in.Email, Password: tenants.Secret(in.Password),
		AccountName: value(in.AccountName), TenantName: value(in.TenantName), TenantSlug: value(in.TenantSlug),
	})
	switch {
	case err != nil:
		s.problem(w, r, err)
	case made == nil:
		s.sessions.Put(r.Context(), sessionSignUp, waiting)
		w.WriteHeader(http.StatusAccepted)
	default:
		s.answerSignUp(w, r, *made)
	}
}

// ConfirmSignUp implements ServerInterface.
func (s *server) ConfirmSignUp(w http.ResponseWriter, r *http.Request) {
	in, err := body[SignUpConfirmation](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	waiting := s.sessions.GetString(r.Context(), sessionSignUp)
	made, err := s.tenants.ConfirmSignUp(r.Context(), callerOf(r), tenants.Secret(in.Token), waiting, tenants.Secret(value(in.Password)))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.answerSignUp(w, r, made)
}

func (s *server) answerSignUp(w http.ResponseWriter, r *http.Request, made tenants.SignedUp) {
	if err := s.signInUser(r, made.User, false); err != nil {
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
	u, err := s.tenants.SignIn(r.Context(), callerOf(r), in.Email, tenants.Secret(in.Password))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.enter(w, r, u, value(in.Remember))
}

// enter signs a user in who has proved who it is with one factor, and asks for the
// second one where there is one.
func (s *server) enter(w http.ResponseWriter, r *http.Request, u tenants.User, remember bool) {
	if u.SecondFactor {
		until, err := s.beginSecondStep(r, u, remember)
		s.answer(w, r, http.StatusAccepted, SecondStep{SecondFactor: Totp, ExpiresAt: until.UTC()}, err)
		return
	}
	if err := s.signInUser(r, u, remember); err != nil {
		s.problem(w, r, err)
		return
	}
	s.answerSession(w, r)
}

// beginSecondStep starts a session that waits for the second step.
func (s *server) beginSecondStep(r *http.Request, u tenants.User, remember bool) (until time.Time, err error) {
	now := s.now()
	if err := s.startSession(r, tenants.SessionPending, u, remember); err != nil {
		return time.Time{}, err
	}
	s.sessions.Put(r.Context(), sessionPendingSince, now.Unix())
	return now.Add(secondStepLife), nil
}

// FinishSignIn implements ServerInterface.
func (s *server) FinishSignIn(w http.ResponseWriter, r *http.Request) {
	in, err := body[SecondFactorCodeRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	ctx, caller := r.Context(), callerOf(r)
	caller.User = tenants.UserID(s.sessions.GetString(ctx, tenants.SessionPending))
	since := time.Unix(s.sessions.GetInt64(ctx, sessionPendingSince), 0)
	if caller.User == "" || s.now().Sub(since) > secondStepLife {
		s.problem(w, r, fault.New(fault.Unauthenticated, "Begin with your address and password.").WithCode("first_step_missing"))
		return
	}
	u, err := s.tenants.FinishSignIn(ctx, caller, tenants.Secret(in.Code))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	u.PasswordVersion = s.sessions.GetInt64(ctx, tenants.SessionPassword) // of the first step
	if err := s.signInUser(r, u, s.sessions.GetBool(ctx, tenants.SessionRemembered)); err != nil {
		s.problem(w, r, err)
		return
	}
	s.answerSession(w, r)
}

// GetSession implements ServerInterface.
func (s *server) GetSession(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r)
	s.answerWho(w, r, c)
}

// answerSession answers with the session that was just started.
func (s *server) answerSession(w http.ResponseWriter, r *http.Request) {
	s.answerWho(w, r, tenants.Caller{
		User: tenants.UserID(s.sessions.GetString(r.Context(), tenants.SessionUser)), Session: s.sessions.GetString(r.Context(), tenants.SessionID),
	})
}

func (s *server) answerWho(w http.ResponseWriter, r *http.Request, c tenants.Caller) {
	u, memberships, err := s.tenants.Who(r.Context(), c)
	if fault.KindOf(err) == fault.NotFound && err != nil { // the user is gone, the session is not
		err = fault.New(fault.Unauthenticated, "Sign in, or send an API token.")
	}
	answer := Session{ID: given(c.Session), User: user(u), Accounts: make([]Account, 0, len(memberships))}
	for _, m := range memberships {
		answer.Accounts = append(answer.Accounts, account(m))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// SignOut implements ServerInterface.
func (s *server) SignOut(w http.ResponseWriter, r *http.Request) {
	s.done(w, r, signOut(r.Context(), s.sessions, s.tenants.SignedOut(r.Context(), callerOf(r))))
}

// signOut ends the request's session, unless its event couldn't be written: the session is
// beside the event's transaction, and can be ended once more.
func signOut(ctx context.Context, sessions *scs.SessionManager, noted error) error {
	if noted != nil {
		return noted
	}
	if err := sessions.Destroy(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, "Signing out is not possible right now.", err)
	}
	return nil
}

// ListSessions implements ServerInterface.
func (s *server) ListSessions(w http.ResponseWriter, r *http.Request, params ListSessionsParams) {
	c := callerOf(r)
	all, err := s.tenants.Sessions(r.Context(), c)
	page, next, err := paged(err, newestSessions, all, params.Cursor, params.Limit)
	answer := SessionList{Sessions: make([]SessionInfo, 0, len(page)), NextCursor: next}
	for _, v := range page {
		answer.Sessions = append(answer.Sessions, SessionInfo{
			ID: v.ID, Current: v.ID == c.Session, Device: device(v.Device), IP: v.IP, Remembered: v.Remembered,
			CreatedAt: v.CreatedAt.UTC(), LastSeenAt: v.SeenAt.UTC(), ExpiresAt: v.ExpiresAt.UTC(),
		})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var newestSessions = order[tenants.Session]{
	list: "sessions", down: true, place: func(v tenants.Session) []string { return []string{moment(v.CreatedAt), v.ID} },
}

// EndSession implements ServerInterface.
func (s *server) EndSession(w http.ResponseWriter, r *http.Request, id SessionPath) {
	s.done(w, r, s.tenants.EndSession(r.Context(), callerOf(r), id))
}

// EndOtherSessions implements ServerInterface.
func (s *server) EndOtherSessions(w http.ResponseWriter, r *http.Request) {
	s.done(w, r, s.tenants.EndOtherSessions(r.Context(), callerOf(r)))
}

func user(u tenants.User) User {
	return User{ID: string(u.ID), Email: u.Email, EmailVerified: u.EmailVerified, SecondFactor: &u.SecondFactor}
}

func account(m tenants.Membership) Account {
	return Account{ID: string(m.ID), Name: m.Name, Plan: m.Plan, Role: Role(m.Role), NeedsSecondFactor: given(m.ShutOut)}
}
