package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) userCommand() *cobra.Command {
	return group("user", "Your own address, password, sessions and second factor",
		p.userPasswordCommand(), p.userEmailCommand(), p.userVerifyCommand(), p.userResendCommand(), p.userForgotCommand(), p.userResetCommand(),
		p.sessionsCommand(), p.secondFactorCommand(), p.identitiesCommand())
}

// proving is a command that takes the password.
func (p *program) proving(use, short, example string, check cobra.PositionalArgs, in scope, run func(asked, string) error, calls ...string) *cobra.Command {
	var passwordIn bool
	c := p.acting(in, use, short, example, check, func(q asked) error {
		password, err := p.password(passwordIn)
		if err != nil {
			return err
		}
		return run(q, password)
	}, calls...)
	passwordFlagOf(c, &passwordIn)
	return c
}

func (p *program) userPasswordCommand() *cobra.Command {
	c := p.proving("password", "Change the password; all other sessions end", "  signalbox user password --password-stdin", none(), p.ofCaller, func(q asked, current string) error {
		// The second line of the standard input, where the first was there.
		fresh, err := p.secret(!p.Terminal, "new password", passwordFlag)
		if err != nil {
			return err
		}
		if _, err := q.api.ChangePasswordWithResponse(q, client.PasswordChange{CurrentPassword: current, NewPassword: fresh}); err != nil {
			return err
		}
		return p.done("The password is changed; all other sessions have ended.")
	}, "changePassword")
	c.Long = "Change the password. With --password-stdin the first line of the standard input is the present one, the second the new one."
	return c
}

func (p *program) userEmailCommand() *cobra.Command {
	return p.proving("email ADDRESS", "Ask to change your address; a mail to the new one says how to go on", "  signalbox user email ada@new.example.com --password-stdin", exactly(1), p.ofCaller, func(q asked, password string) error {
		if _, err := q.api.ChangeEmailWithResponse(q, client.EmailChange{Email: q.args[0], Password: password}); err != nil {
			return err
		}
		return p.done("A mail is on its way to %s.", q.args[0])
	}, "changeEmail")
}

func (p *program) userVerifyCommand() *cobra.Command {
	return p.acting(p.ofAnybody, "verify-email LINK", "Confirm an address with the link of the mail, or its token", "  signalbox user verify-email 'https://console.example.com/verify-email?token=abc'", exactly(1), func(q asked) error {
		v, err := q.api.VerifyEmailWithResponse(q, client.EmailVerificationRequest{Token: tokenOf(q.args[0])})
		if err != nil {
			return err
		}
		return p.show(v.JSON200, v.JSON200.Email, field{"confirmed", v.JSON200.Email})
	}, "verifyEmail")
}

func (p *program) userResendCommand() *cobra.Command {
	return p.acting(p.ofCaller, "resend-verification", "Send the mail that confirms your address again", "  signalbox user resend-verification", none(), func(q asked) error {
		if _, err := q.api.ResendVerificationWithResponse(q); err != nil {
			return err
		}
		return p.done("A mail is on its way.")
	}, "resendVerification")
}

func (p *program) userForgotCommand() *cobra.Command {
	return p.acting(p.ofAnybody, "forgot-password ADDRESS", "Ask for a mail with which a new password can be set", "  signalbox user forgot-password ada@example.com", exactly(1), func(q asked) error {
		if _, err := q.api.RequestPasswordResetWithResponse(q, client.PasswordResetRequest{Email: q.args[0]}); err != nil {
			return err
		}
		return p.done("If the address has a user, a mail is on its way.")
	}, "requestPasswordReset")
}

func (p *program) userResetCommand() *cobra.Command {
	return p.proving("reset-password LINK", "Set a new password with the link of the mail, or its token", "  signalbox user reset-password --password-stdin 'https://console.example.com/reset-password?token=abc'", exactly(1), p.ofAnybody, func(q asked, password string) error {
		if _, err := q.api.ResetPasswordWithResponse(q, client.PasswordResetCompletion{Token: tokenOf(q.args[0]), Password: password}); err != nil {
			return err
		}
		return p.done("The password is set; all sessions have ended.")
	}, "resetPassword")
}

func (p *program) sessionsCommand() *cobra.Command {
	type session = client.SessionInfo
	return group("sessions", "Where you are signed in",
		listed(p, lister[session]{
			use: "list", short: "List your sessions", example: "  signalbox user sessions list", in: p.ofCaller,
			page: func(q asked) ([]session, *string, error) {
				page, err := q.api.ListSessionsWithResponse(q, &client.ListSessionsParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.Sessions, page.JSON200.NextCursor, nil
			},
			id: func(s session) string { return s.ID },
			columns: []column[session]{
				{"ID", func(s session) string { return s.ID }}, {"DEVICE", func(s session) string { return s.Device }}, {"ADDRESS", func(s session) string { return s.IP }},
				{"THIS ONE", func(s session) string { return yes(s.Current) }}, {"LAST SEEN", func(s session) string { return moment(s.LastSeenAt) }}, {"ENDS", func(s session) string { return moment(s.ExpiresAt) }},
			},
		}, "listSessions"),
		p.acting(p.ofCaller, "end SESSION", "End one session", "  signalbox user sessions end 01J8ZQ4A --yes", exactly(1), func(q asked) error {
			if err := p.confirm("end session %s", q.args[0]); err != nil {
				return err
			}
			if _, err := q.api.EndSessionWithResponse(q, q.args[0]); err != nil {
				return err
			}
			return p.done("Ended.")
		}, "endSession"),
		p.acting(p.ofCaller, "end-others", "End all sessions but this one", "  signalbox user sessions end-others --yes", none(), func(q asked) error {
			if err := p.confirm("end all your other sessions"); err != nil {
				return err
			}
			if _, err := q.api.EndOtherSessionsWithResponse(q); err != nil {
				return err
			}
			return p.done("All other sessions have ended.")
		}, "endOtherSessions"))
}

func (p *program) secondFactorCommand() *cobra.Command {
	var code string
	withCode := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&code, "code", "", "`code` of the authenticator app, or a recovery code")
		_ = c.MarkFlagRequired("code")
		return c
	}
	codes := func(r *client.RecoveryCodes) error {
		return p.show(r, strings.Join(r.RecoveryCodes, "\n"), field{"recovery codes", strings.Join(r.RecoveryCodes, "  ") + "   (shown once)"})
	}
	return group("second-factor", "A second step of signing in: a code of an authenticator app",
		p.acting(p.ofCaller, "show", "Whether signing in takes a second step", "  signalbox user second-factor show", none(), func(q asked) error {
			s, err := q.api.GetSecondFactorWithResponse(q)
			if err != nil {
				return err
			}
			f := s.JSON200
			return p.show(f, yes(f.Enabled), field{"second factor", yes(f.Enabled)}, field{"since", moments(f.EnabledAt)}, field{"recovery codes left", number(f.RecoveryCodesLeft)})
		}, "getSecondFactor"),
		p.proving("setup", "Begin to set up an authenticator app; nothing changes until a code is confirmed", "  signalbox user second-factor setup --password-stdin", none(), p.ofCaller, func(q asked, password string) error {
			s, err := q.api.BeginSecondFactorWithResponse(q, client.PasswordConfirmation{Password: password})
			if err != nil {
				return err
			}
			return p.show(s.JSON200, s.JSON200.Secret, field{"secret", s.JSON200.Secret}, field{"for the app", s.JSON200.URI}, field{"go on with", "signalbox user second-factor confirm CODE"})
		}, "beginSecondFactor"),
		p.acting(p.ofCaller, "confirm CODE", "Switch the second factor on with a code of the app; recovery codes are shown once", "  signalbox user second-factor confirm 123456", exactly(1), func(q asked) error {
			r, err := q.api.ConfirmSecondFactorWithResponse(q, client.SecondFactorCodeRequest{Code: q.args[0]})
			if err != nil {
				return err
			}
			return codes(r.JSON200)
		}, "confirmSecondFactor"),
		withCode(p.proving("recovery-codes", "Replace the recovery codes; the new ones are shown once", "  signalbox user second-factor recovery-codes --code 123456 --password-stdin", none(), p.ofCaller, func(q asked, password string) error {
			r, err := q.api.RenewRecoveryCodesWithResponse(q, client.SecondFactorProof{Code: code, Password: password})
			if err != nil {
				return err
			}
			return codes(r.JSON200)
		}, "renewRecoveryCodes")),
		withCode(p.proving("remove", "Switch the second factor off", "  signalbox user second-factor remove --code 123456 --password-stdin", none(), p.ofCaller, func(q asked, password string) error {
			if _, err := q.api.RemoveSecondFactorWithResponse(q, client.SecondFactorProof{Code: code, Password: password}); err != nil {
				return err
			}
			return p.done("Signing in takes no second step any more.")
		}, "removeSecondFactor")))
}

func (p *program) identitiesCommand() *cobra.Command {
	type idn = client.Identity
	return group("identities", "Your identities at OpenID providers; the console links them",
		listed(p, lister[idn]{
			use: "list", short: "List the identities that are linked to you", example: "  signalbox user identities list", in: p.ofCaller,
			page: func(q asked) ([]idn, *string, error) {
				page, err := q.api.ListIdentitiesWithResponse(q, &client.ListIdentitiesParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.Identities, page.JSON200.NextCursor, nil
			},
			id: func(i idn) string { return i.ID },
			columns: []column[idn]{
				{"ID", func(i idn) string { return i.ID }}, {"ISSUER", func(i idn) string { return i.Issuer }}, {"EMAIL", func(i idn) string { return i.Email }}, {"LINKED", func(i idn) string { return moment(i.LinkedAt) }},
			},
		}, "listIdentities"),
		p.acting(p.ofCaller, "unlink IDENTITY", "Unlink an identity", "  signalbox user identities unlink 01J8ZQ4A --yes", exactly(1), func(q asked) error {
			if err := p.confirm("unlink identity %s", q.args[0]); err != nil {
				return err
			}
			if _, err := q.api.UnlinkIdentityWithResponse(q, q.args[0]); err != nil {
				return err
			}
			return p.done("Unlinked.")
		}, "unlinkIdentity"))
}
