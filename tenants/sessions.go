package tenants

import (
	"context"
	"time"
)

// Session is a browser in which a user is signed in.
type Session struct {
	ID         string
	Device     string // as the browser says
	IP         string
	Remembered bool
	CreatedAt  time.Time
	SeenAt     time.Time // to the minute
	ExpiresAt  time.Time // at the latest
}

// The values of a session that the store has columns for. Whoever starts a
// session puts them.
const (
	SessionID         = "id"         // string, made by the one who starts it
	SessionUser       = "user"       // string: who is signed in
	SessionPending    = "pending"    // string: whose second step is missing
	SessionDevice     = "device"     // string
	SessionIP         = "ip"         // string
	SessionRemembered = "remembered" // bool
	SessionPassword   = "password"   // int64: the user's PasswordVersion when who it is was proved
	SessionOperator   = "operator"   // string: which operator is signed in, in a session of operators
)

// Sessions lists the caller's sessions, the newest first.
func (s *Service) Sessions(ctx context.Context, c Caller) ([]Session, error) {
	return s.store.Sessions(ctx, c.User)
}

// SignedOut notes that the caller ends the own session, if there is one, and takes back
// what it sees live. It comes before the end: sessions are kept beside what is in a
// transaction.
func (s *Service) SignedOut(ctx context.Context, c Caller) error {
	if c.Session == "" {
		return nil
	}
	return s.liveEnded(ctx, s.store.InTx(ctx, func(tx Store) error {
		if err := s.endLive(ctx, tx, credentialEnd(c.User, c.Session)); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "session.ended", Subject: c.Session})
	}))
}

// SessionRenewed takes back what the caller's session sees live, if there is one, as it
// gets another id: its console asks anew.
func (s *Service) SessionRenewed(ctx context.Context, c Caller) error {
	if c.Session == "" {
		return nil
	}
	return s.liveEnded(ctx, s.store.InTx(ctx, func(tx Store) error {
		return s.endLive(ctx, tx, credentialEnd(c.User, c.Session))
	}))
}

// EndSession ends one of the caller's sessions at once, with what it sees live.
func (s *Service) EndSession(ctx context.Context, c Caller, id string) error {
	return s.liveEnded(ctx, s.store.InTx(ctx, func(tx Store) error {
		if err := tx.EndSession(ctx, c.User, id); err != nil {
			return err
		}
		if err := s.endLive(ctx, tx, credentialEnd(c.User, id)); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "session.ended", Subject: id})
	}))
}

// EndOtherSessions ends all of the caller's sessions but the one that asks, with what
// they see live.
func (s *Service) EndOtherSessions(ctx context.Context, c Caller) error {
	return s.liveEnded(ctx, s.store.InTx(ctx, func(tx Store) error {
		ended, err := tx.EndSessions(ctx, c.User, c.Session)
		if err != nil {
			return err
		}
		if err := s.endLive(ctx, tx, s.sessionEnds(c.User, ended)...); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "sessions.ended", Subject: string(c.User), After: map[string]any{"ended": len(ended)}})
	}))
}
