package tenants

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/internal/fault"
)

// The codes of authenticator apps (RFC 6238), with what all apps understand:
// SHA-1, six digits, a step of 30 s. Clocks may differ by a step.
const (
	totpPeriod = 30 * time.Second
	totpSkew   = 1
	totpIssuer = "Signalbox"
)

// recoveryCodes is how many there are; each has 80 random bits.
const (
	recoveryCodes      = 10
	recoveryCodeLength = 16
)

// SecondFactor is what signing in takes besides the password.
type SecondFactor struct {
	Sealed  []byte    // the secret as Sealer.Seal made it
	Enabled time.Time // zero = not confirmed yet
	Codes   int       // recovery codes that are left
}

// SecondFactorSetup is what an authenticator app has to know.
type SecondFactorSetup struct {
	Secret Secret // in base32
	URI    Secret // otpauth://totp/...
}

// SecondFactor returns the caller's; the zero value when there is none.
func (s *Service) SecondFactor(ctx context.Context, c Caller) (SecondFactor, error) {
	f, err := s.store.SecondFactor(ctx, c.User)
	if isKind(err, fault.NotFound) {
		return SecondFactor{}, nil
	}
	return f, err
}

// BeginSecondFactor makes a secret for the caller's authenticator app. Nothing
// changes until a code is confirmed.
func (s *Service) BeginSecondFactor(ctx context.Context, c Caller, password Secret) (SecondFactorSetup, error) {
	if err := s.prove(ctx, c, "password", password); err != nil {
		return SecondFactorSetup{}, err
	}
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return SecondFactorSetup{}, err
	}
	if u.SecondFactor {
		return SecondFactorSetup{}, fault.New(fault.Conflict, "You have a second factor already. Switch it off first to set up another one.").WithCode("second_factor_enabled")
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: totpIssuer, AccountName: u.Email, Period: uint(totpPeriod / time.Second), Rand: rand.Reader})
	if err != nil {
		return SecondFactorSetup{}, fmt.Errorf("make TOTP secret: %w", err)
	}
	sealed := s.sealer.Seal(sealedFactors, factorScope(c.User), factorKey, Secret(key.Secret()))
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.PutSecondFactor(ctx, c.User, sealed, s.now()); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "second_factor.begun", Subject: string(c.User)})
	})
	return SecondFactorSetup{Secret: Secret(key.Secret()), URI: Secret(key.URL())}, err
}

// factorScope and factorKey bind a sealed secret to its user.
func factorScope(u UserID) ID { return ID("user:" + u) }

const factorKey = "totp"

// ConfirmSecondFactor switches the second factor on with a code of the app, ends
// the caller's other sessions, and returns the recovery codes.
func (s *Service) ConfirmSecondFactor(ctx context.Context, c Caller, code Secret) ([]string, error) {
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return nil, err
	}
	if u.SecondFactor {
		return nil, fault.New(fault.Conflict, "Your second factor is on already.").WithCode("second_factor_enabled")
	}
	if err := codeField(s.checkCode(ctx, c, u, code, false)); err != nil {
		return nil, err
	}
	codes, hashes := newRecoveryCodes()
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.EnableSecondFactor(ctx, c.User, s.now()); err != nil {
			return err
		}
		if err := tx.SetRecoveryCodes(ctx, c.User, hashes); err != nil {
			return err
		}
		return s.factorChanged(ctx, tx, c, u, "second_factor.enabled", "Signing in takes a code of your authenticator app now.")
	})
	return codes, err
}

// RenewRecoveryCodes replaces the recovery codes.
func (s *Service) RenewRecoveryCodes(ctx context.Context, c Caller, password, code Secret) ([]string, error) {
	u, err := s.proveBoth(ctx, c, password, code)
	if err != nil {
		return nil, err
	}
	codes, hashes := newRecoveryCodes()
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.SetRecoveryCodes(ctx, c.User, hashes); err != nil {
			return err
		}
		if err := s.post(ctx, tx, u.Email, notice("Your Signalbox recovery codes were replaced", "There are new recovery codes; the former ones are void.", s.now(), c)); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "recovery_codes.renewed", Subject: string(c.User)})
	})
	return codes, err
}

// RemoveSecondFactor switches the second factor off and ends the caller's other
// sessions.
func (s *Service) RemoveSecondFactor(ctx context.Context, c Caller, password, code Secret) error {
	all, err := s.store.Memberships(ctx, c.User)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.RequireSecondFactor {
			return fault.New(fault.Conflict, "The account "+m.Name+" requires a second factor of its members.").WithCode("second_factor_needed")
		}
	}
	u, err := s.proveBoth(ctx, c, password, code)
	if err != nil {
		return err
	}
	return s.store.InTx(ctx, func(tx Store) error {
		if err := tx.DeleteSecondFactor(ctx, c.User); err != nil {
			return err
		}
		return s.factorChanged(ctx, tx, c, u, "second_factor.removed", "Signing in takes no second step any more.")
	})
}

// proveBoth checks the caller's password and a code.
func (s *Service) proveBoth(ctx context.Context, c Caller, password, code Secret) (User, error) {
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return User{}, err
	}
	if !u.SecondFactor {
		return User{}, fault.New(fault.NotFound, "You have no second factor.")
	}
	if err := s.prove(ctx, c, "password", password); err != nil {
		return User{}, err
	}
	return u, codeField(s.checkCode(ctx, c, u, code, true))
}

// codeField words a wrong code for somebody who is signed in.
func codeField(err error) error {
	if isKind(err, fault.Unauthenticated) {
		return fault.InvalidFields(fault.Field{Name: "code", Message: "is not right, or was used already", Accepted: "the code that the app shows now, or a recovery code"})
	}
	return err
}

func (s *Service) factorChanged(ctx context.Context, tx Store, c Caller, u User, action, what string) error {
	ended, err := tx.EndSessions(ctx, c.User, c.Session)
	if err != nil {
		return err
	}
	if err := s.post(ctx, tx, u.Email, notice("Your Signalbox second factor was changed", what, s.now(), c)); err != nil {
		return err
	}
	if err := s.endLive(ctx, tx, s.sessionEnds(c.User, ended)...); err != nil {
		return err
	}
	return tx.Audit(ctx, Audit{Caller: c, Action: action, Subject: string(c.User)})
}

// FinishSignIn is the second step of signing in, for a user whose password was
// right: with a code of the app or a recovery code.
func (s *Service) FinishSignIn(ctx context.Context, c Caller, code Secret) (User, error) {
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return User{}, err
	}
	if err := s.checkCode(ctx, c, u, code, true); err != nil {
		return User{}, err
	}
	return u, s.store.Audit(ctx, Audit{Caller: c, Action: "session.created", Subject: string(u.ID)})
}

// checkCode takes a code once. Guesses are counted apart from those of passwords:
// whoever guesses codes knows the password.
func (s *Service) checkCode(ctx context.Context, c Caller, u User, code Secret, recovery bool) error {
	subject := "code:" + string(u.ID)
	if err := s.guess(ctx, c, u, subject); err != nil {
		return err
	}
	f, err := s.store.SecondFactor(ctx, u.ID)
	if isKind(err, fault.NotFound) {
		return fault.New(fault.NotFound, "You have no second factor. Begin to set one up.")
	}
	if err != nil {
		return err
	}
	ok, err := s.takeCode(ctx, u.ID, f, strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code.Reveal())), recovery)
	if err != nil {
		return err
	}
	if !ok {
		if err := s.store.Audit(ctx, Audit{Caller: c, Action: "second_factor.refused", Subject: string(u.ID), Unproved: c.Session == ""}); err != nil {
			return err
		}
		return fault.New(fault.Unauthenticated, "The code is not right, or was used already.").WithCode("wrong_code")
	}
	return s.store.ForgetAttempts(ctx, subject)
}

func (s *Service) takeCode(ctx context.Context, u UserID, f SecondFactor, code string, recovery bool) (bool, error) {
	if len(code) != otp.DigitsSix.Length() {
		if !recovery || f.Enabled.IsZero() {
			return false, nil
		}
		return s.store.UseRecoveryCode(ctx, u, tokenHash(code))
	}
	secret, err := s.sealer.Open(sealedFactors, factorScope(u), factorKey, f.Sealed)
	if err != nil {
		return false, fault.Wrap(fault.Internal, "open second factor", err)
	}
	step, ok, err := stepOf(secret, code, s.now())
	if err != nil || !ok {
		return false, err
	}
	return s.store.UseStep(ctx, u, step)
}

// stepOf returns the step of which a code is, if it is one of about now.
func stepOf(secret Secret, code string, at time.Time) (step int64, ok bool, err error) {
	now := at.Unix() / int64(totpPeriod/time.Second)
	for step := now - totpSkew; step <= now+totpSkew; step++ {
		ok, err := hotp.ValidateCustom(code, uint64(step), secret.Reveal(), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if errors.Is(err, otp.ErrValidateInputInvalidLength) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, fmt.Errorf("check code: %w", err)
		}
		if ok {
			return step, true, nil
		}
	}
	return 0, false, nil
}

// newRecoveryCodes returns codes for people and what is kept of them.
func newRecoveryCodes() (codes []string, hashes [][]byte) {
	for range recoveryCodes {
		code := rand.Text()[:recoveryCodeLength]
		hashes = append(hashes, tokenHash(code))
		codes = append(codes, code[:4]+"-"+code[4:8]+"-"+code[8:12]+"-"+code[12:])
	}
	return codes, hashes
}
