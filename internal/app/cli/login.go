package cli

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) loginCommand() *cobra.Command {
	var email, token, code string
	var passwordIn bool
	c := &cobra.Command{
		Use: "login", Short: "Sign in", Args: none(),
		Long: `Sign in with address, password and, where you have set one up, a code of your
authenticator app. The session is kept in the profile, in a file that only you can
read, and ends when you sign out, or after 14 days without a request.

Scripts and people who sign in with an OpenID provider use an API token: set
` + envToken + `, or keep one in the profile with --token - (from the standard input).`,
		Example: "  signalbox login --email ada@example.com --password-stdin --code 123456\n  signalbox login --token -",
		RunE: func(c *cobra.Command, _ []string) error {
			if token != "" {
				return p.loginWithToken(c.Context(), token)
			}
			return p.login(c.Context(), email, code, passwordIn)
		},
	}
	c.Flags().StringVar(&email, "email", "", "your `address`")
	c.Flags().StringVar(&token, "token", "", "an API `token` instead of a password; - reads it from the standard input")
	c.Flags().StringVar(&code, "code", "", "`code` of the authenticator app, or a recovery code")
	passwordFlagOf(c, &passwordIn)
	return operations(c, "signIn", "finishSignIn", "getSession", "listTenants")
}

func (p *program) login(ctx context.Context, email, code string, passwordIn bool) error {
	var err error
	if email == "" {
		if !p.Terminal {
			return usage("nobody can be asked for the address: say --email")
		}
		if email, err = p.ask("Email: "); err != nil {
			return err
		}
	}
	password, err := p.password(passwordIn)
	if err != nil {
		return err
	}
	// Who was signed in before has nothing to do with it.
	p.as = &identity{}
	api, err := p.anybody()
	if err != nil {
		return err
	}
	remember := true
	answer, err := api.SignInWithResponse(ctx, client.SignInRequest{Email: email, Password: password, Remember: &remember})
	if err != nil {
		return err
	}
	if answer.JSON202 != nil {
		if code == "" {
			if !p.Terminal {
				return usage("signing in takes a second step: say --code")
			}
			if code, err = p.ask("Code of the authenticator app: "); err != nil {
				return err
			}
		}
		if _, err := api.FinishSignInWithResponse(ctx, client.SecondFactorCodeRequest{Code: code}); err != nil {
			return err
		}
	}
	return p.keep(ctx, api, func(of *profile) { of.Session, of.Token = p.as.session, "" })
}

func (p *program) loginWithToken(ctx context.Context, token string) error {
	if token == "-" {
		var err error
		if token, err = p.secret(true, "token", "token -"); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(token, "sbt_") {
		return usage("the token is no API token: they begin with sbt_")
	}
	p.as = &identity{token: token}
	api, err := p.anybody()
	if err != nil {
		return err
	}
	return p.keep(ctx, api, func(of *profile) { of.Session, of.Token = "", token })
}

// keep notes in the profile who is signed in now, and chooses the tenant and account
// where there is but one.
func (p *program) keep(ctx context.Context, api *client.ClientWithResponses, credentials func(*profile)) error {
	who, err := api.GetSessionWithResponse(ctx)
	if err != nil {
		return err
	}
	two := 2
	tenants, err := api.ListTenantsWithResponse(ctx, &client.ListTenantsParams{Limit: &two})
	if err != nil && !isCode(err, "insufficient_scope") {
		return err
	}
	address, err := p.apiURL()
	if err != nil {
		return err
	}
	err = p.change(func(of *profile) {
		if of.Email != who.JSON200.User.Email || of.APIURL != address {
			of.Tenant, of.Account = "", ""
		}
		of.APIURL, of.Email = address, who.JSON200.User.Email
		if tenants != nil && len(tenants.JSON200.Tenants) == 1 {
			of.Tenant = tenants.JSON200.Tenants[0].Slug
		}
		if len(who.JSON200.Accounts) == 1 {
			of.Account = who.JSON200.Accounts[0].ID
		}
		credentials(of)
	})
	if err != nil {
		return err
	}
	if p.Env(envToken) != "" {
		p.say("signalbox: %s is set and goes before this sign-in", envToken)
	}
	return p.showWho(*who.JSON200)
}

func (p *program) showWho(who client.Session) error {
	fields := []field{{"signed in as", cmp.Or(who.User.Email, "a service token")}}
	for _, a := range who.Accounts {
		fields = append(fields, field{"account", a.Name + " (" + a.ID + "), " + string(a.Role) + ", plan " + a.Plan})
	}
	of, err := p.profile()
	if err != nil {
		return err
	}
	address, err := p.apiURL()
	if err != nil {
		return err
	}
	fields = append(fields, field{"api", address}, field{"tenant", cmp.Or(p.flags.tenant, p.Env(envTenant), of.Tenant)})
	return p.show(who, cmp.Or(who.User.Email, who.User.ID), fields...)
}

func (p *program) logoutCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "logout", Short: "Sign out: end the session at the service and forget it here", Args: none(),
		Long:    "Sign out. A session ends at the service, too. An API token is forgotten here and stays good: revoke it with \"signalbox api-tokens revoke\".",
		Example: "  signalbox logout",
		RunE: func(c *cobra.Command, _ []string) error {
			of, err := p.profile()
			if err != nil {
				return err
			}
			if of.Session == "" && of.Token == "" {
				return errNotSignedIn
			}
			if of.Session != "" {
				p.as = &identity{session: of.Session}
				api, err := p.anybody()
				if err != nil {
					return err
				}
				if _, err := api.SignOutWithResponse(c.Context()); err != nil {
					return err
				}
			}
			if err := p.change(func(of *profile) { of.Session, of.Token = "", "" }); err != nil {
				return err
			}
			return p.done("Signed out.")
		},
	}, "signOut")
}

func (p *program) whoamiCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "whoami", Short: "Who is signed in, and what is chosen", Example: "  signalbox whoami", Args: none(),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := p.api()
			if err != nil {
				return err
			}
			who, err := api.GetSessionWithResponse(c.Context())
			if err != nil {
				return err
			}
			return p.showWho(*who.JSON200)
		},
	}, "getSession")
}

func (p *program) signupCommand() *cobra.Command {
	var in client.SignUpRequest
	var account, tenant, slug string
	var passwordIn bool
	c := &cobra.Command{
		Use: "signup", Short: "Make a user with an account and a first tenant", Args: none(),
		Long: `Make a user with an account, a first tenant, its keys and a hub, and sign in. The
access key is shown once. Where addresses are confirmed first, a mail says how to go
on: "signalbox signup confirm" takes its link.`,
		Example: "  signalbox signup --email ada@example.com --tenant-slug acme --password-stdin",
		RunE: func(c *cobra.Command, _ []string) error {
			if in.Email == "" {
				return usage("say --email")
			}
			var err error
			if in.Password, err = p.password(passwordIn); err != nil {
				return err
			}
			in.AccountName, in.TenantName, in.TenantSlug = filled(account), filled(tenant), filled(slug)
			p.as = &identity{}
			api, err := p.anybody()
			if err != nil {
				return err
			}
			made, err := api.SignUpWithResponse(c.Context(), in)
			if err != nil {
				return err
			}
			if made.JSON201 == nil {
				return p.done("A mail is on its way to %s. Go on with: signalbox signup confirm LINK", in.Email)
			}
			return p.signedUp(*made.JSON201)
		},
	}
	c.Flags().StringVar(&in.Email, "email", "", "your `address`")
	c.Flags().StringVar(&account, "account-name", "", "`name` of the account")
	c.Flags().StringVar(&tenant, "tenant-name", "", "`name` of the first tenant")
	c.Flags().StringVar(&slug, "tenant-slug", "", "the first tenant's `slug`, which is in its addresses")
	passwordFlagOf(c, &passwordIn)
	c.AddCommand(p.signupConfirmCommand())
	return operations(c, "signUp")
}

func (p *program) signupConfirmCommand() *cobra.Command {
	var passwordIn bool
	c := &cobra.Command{
		Use: "confirm LINK", Short: "Finish a sign-up with the link of the mail, or its token", Args: exactly(1),
		Example: "  signalbox signup confirm --password-stdin 'https://console.example.com/confirm-sign-up?token=abc'",
		RunE: func(c *cobra.Command, args []string) error {
			password, err := p.password(passwordIn)
			if err != nil {
				return err
			}
			p.as = &identity{}
			api, err := p.anybody()
			if err != nil {
				return err
			}
			made, err := api.ConfirmSignUpWithResponse(c.Context(), client.SignUpConfirmation{Token: tokenOf(args[0]), Password: &password})
			if err != nil {
				return err
			}
			return p.signedUp(*made.JSON201)
		},
	}
	passwordFlagOf(c, &passwordIn)
	return operations(c, "confirmSignUp")
}

// signedUp keeps who has just signed up and shows what was made.
func (p *program) signedUp(made client.SignUpResult) error {
	address, err := p.apiURL()
	if err != nil {
		return err
	}
	if err := p.change(func(of *profile) {
		*of = profile{APIURL: address, Session: p.as.session, Email: made.User.Email, Tenant: made.Tenant.Slug, Account: made.Account.ID}
	}); err != nil {
		return err
	}
	return p.show(made, made.Key.Secret,
		field{"signed up as", made.User.Email}, field{"account", made.Account.Name + " (" + made.Account.ID + ")"}, field{"tenant", made.Tenant.Slug},
		field{"endpoint", made.Tenant.Endpoint}, field{"access key", made.Key.Secret + "   (shown once)"}, field{"connection string", made.Key.ConnectionString})
}

// tokenOf takes the token out of a link; a text that is no link is the token.
func tokenOf(link string) string {
	if i := strings.LastIndex(link, "token="); i >= 0 {
		token, _, _ := strings.Cut(link[i+len("token="):], "&")
		return token
	}
	return link
}

// isCode tells whether an error is the service's refusal with a code.
func isCode(err error, code string) bool {
	refused, ok := errors.AsType[*Problem](err)
	return ok && refused.Code == code
}
