package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) accountsCommand() *cobra.Command {
	return group("accounts", "The accounts that you belong to",
		p.accountsListCommand(), p.accountsCreateCommand(), p.accountsUseCommand(), p.accountsShowCommand(), p.accountsSetCommand(), p.accountsLeaveCommand())
}

func (p *program) accountsListCommand() *cobra.Command {
	type account = client.Account
	return p.acting(p.ofCaller, "list", "List your accounts, with your role in each", "  signalbox accounts list", none(), func(q asked) error {
		who, err := q.api.GetSessionWithResponse(q)
		if err != nil {
			return err
		}
		return list(p, who.JSON200.Accounts, func(a account) string { return a.ID },
			column[account]{"ID", func(a account) string { return a.ID }}, column[account]{"NAME", func(a account) string { return a.Name }},
			column[account]{"PLAN", func(a account) string { return a.Plan }}, column[account]{"ROLE", func(a account) string { return string(a.Role) }})
	}, "getSession")
}

func (p *program) showAccount(a *client.AccountDetails) error {
	return p.show(a, a.ID, field{"account", a.Name}, field{"id", a.ID}, field{"plan", a.Plan}, field{"your role", string(a.Role)},
		field{"second factor required", yes(a.RequireSecondFactor)}, field{"created", moment(a.CreatedAt)})
}

func (p *program) accountsCreateCommand() *cobra.Command {
	return p.acting(p.ofCaller, "create NAME", "Make an account that you own", "  signalbox accounts create Acme", exactly(1), func(q asked) error {
		made, err := q.api.CreateAccountWithResponse(q, client.CreateAccountRequest{Name: q.args[0]})
		if err != nil {
			return err
		}
		return p.showAccount(made.JSON201)
	}, "createAccount")
}

func (p *program) accountsUseCommand() *cobra.Command {
	return p.acting(p.ofCaller, "use ACCOUNT", "Choose the account that commands are about", "  signalbox accounts use 01J8ZQ4A", exactly(1), func(q asked) error {
		a, err := q.api.GetAccountWithResponse(q, q.args[0])
		if err != nil {
			return err
		}
		if err := p.change(func(of *profile) { of.Account = a.JSON200.ID }); err != nil {
			return err
		}
		return p.done("Using account %s.", printable(a.JSON200.Name))
	}, "getAccount")
}

func (p *program) accountsShowCommand() *cobra.Command {
	return p.acting(p.inAccount, "show", "Show the account that is chosen", "  signalbox accounts show", none(), func(q asked) error {
		a, err := q.api.GetAccountWithResponse(q, q.of)
		if err != nil {
			return err
		}
		return p.showAccount(a.JSON200)
	}, "getAccount", "getSession")
}

func (p *program) accountsSetCommand() *cobra.Command {
	var in client.UpdateAccountRequest
	var name string
	var second bool
	var c *cobra.Command
	c = p.acting(p.inAccount, "set", "Rename an account, or require a second factor of its members", "  signalbox accounts set --name \"Acme Inc.\" --require-second-factor", none(), func(q asked) error {
		in.Name = filled(name)
		if c.Flags().Changed("require-second-factor") {
			in.RequireSecondFactor = &second
		}
		a, err := q.api.UpdateAccountWithResponse(q, q.of, in)
		if err != nil {
			return err
		}
		return p.showAccount(a.JSON200)
	}, "updateAccount", "getSession")
	c.Flags().StringVar(&name, "name", "", "`name`, shown to people")
	c.Flags().BoolVar(&second, "require-second-factor", false, "shut out members without a second factor")
	return c
}

func (p *program) accountsLeaveCommand() *cobra.Command {
	return p.acting(p.inAccount, "leave", "Leave an account; your API tokens in it are void", "  signalbox accounts leave --yes", none(), func(q asked) error {
		if err := p.confirm("leave account %s", q.of); err != nil {
			return err
		}
		if _, err := q.api.LeaveAccountWithResponse(q, q.of); err != nil {
			return err
		}
		if err := p.change(func(of *profile) { of.Account = "" }); err != nil {
			return err
		}
		return p.done("You have left.")
	}, "leaveAccount", "getSession")
}

func (p *program) membersCommand() *cobra.Command {
	return group("members", "The people of an account", p.membersListCommand(), p.membersShowCommand(), p.membersSetRoleCommand(), p.membersRemoveCommand())
}

func (p *program) membersListCommand() *cobra.Command {
	type member = client.Member
	return listed(p, lister[member]{
		use: "list", short: "List the members of an account", example: "  signalbox members list", in: p.inAccount,
		page: func(q asked) ([]member, *string, error) {
			page, err := q.api.ListMembersWithResponse(q, q.of, &client.ListMembersParams{Cursor: q.after, Limit: q.limit})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Members, page.JSON200.NextCursor, nil
		},
		id: func(m member) string { return m.UserID },
		columns: []column[member]{
			{"USER", func(m member) string { return m.UserID }}, {"EMAIL", func(m member) string { return m.Email }}, {"ROLE", func(m member) string { return string(m.Role) }},
			{"SECOND FACTOR", func(m member) string { return yes(m.SecondFactor) }}, {"JOINED", func(m member) string { return moment(m.JoinedAt) }},
			{"LAST SEEN", func(m member) string { return moments(m.LastSeenAt) }},
		},
	}, "listMembers", "getSession")
}

func (p *program) showMember(m *client.Member) error {
	return p.show(m, m.UserID, field{"member", m.Email}, field{"user", m.UserID}, field{"role", string(m.Role)}, field{"address confirmed", yes(m.EmailVerified)},
		field{"second factor", yes(m.SecondFactor)}, field{"joined", moment(m.JoinedAt)}, field{"last seen", moments(m.LastSeenAt)})
}

func (p *program) membersShowCommand() *cobra.Command {
	return p.acting(p.inAccount, "show USER", "Show a member", "  signalbox members show 01J8ZQ4A", exactly(1), func(q asked) error {
		m, err := q.api.GetMemberWithResponse(q, q.of, q.args[0])
		if err != nil {
			return err
		}
		return p.showMember(m.JSON200)
	}, "getMember", "getSession")
}

func (p *program) membersSetRoleCommand() *cobra.Command {
	c := p.acting(p.inAccount, "set-role USER ROLE", "Change a member's role", "  signalbox members set-role 01J8ZQ4A developer", exactly(2), func(q asked) error {
		m, err := q.api.UpdateMemberWithResponse(q, q.of, q.args[0], client.UpdateMemberRequest{Role: client.Role(q.args[1])})
		if err != nil {
			return err
		}
		return p.showMember(m.JSON200)
	}, "updateMember", "getSession")
	c.Long = "Change a member's role: " + strings.Join(roles, ", ") + "."
	return c
}

func (p *program) membersRemoveCommand() *cobra.Command {
	return p.acting(p.inAccount, "remove USER", "Remove a member; the member's API tokens in the account are void", "  signalbox members remove 01J8ZQ4A --yes", exactly(1), func(q asked) error {
		if err := p.confirm("remove member %s", q.args[0]); err != nil {
			return err
		}
		if _, err := q.api.RemoveMemberWithResponse(q, q.of, q.args[0]); err != nil {
			return err
		}
		return p.done("Removed.")
	}, "removeMember", "getSession")
}

// roles are those that people can have.
var roles = []string{"owner", "admin", "developer", "billing", "viewer"}

func roleFlag(c *cobra.Command, to *string, usual string) {
	c.Flags().StringVar(to, "role", usual, "`role`: "+strings.Join(roles, ", "))
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
}

func (p *program) invitationsCommand() *cobra.Command {
	return group("invitations", "Invite people to an account, and accept",
		p.invitationsListCommand(), p.invitationsCreateCommand(), p.invitationsResendCommand(), p.invitationsRevokeCommand(), p.invitationsLookUpCommand(), p.invitationsAcceptCommand())
}

func (p *program) invitationsListCommand() *cobra.Command {
	type invitation = client.Invitation
	return listed(p, lister[invitation]{
		use: "list", short: "List the invitations that were not accepted yet", example: "  signalbox invitations list", in: p.inAccount,
		page: func(q asked) ([]invitation, *string, error) {
			page, err := q.api.ListInvitationsWithResponse(q, q.of, &client.ListInvitationsParams{Cursor: q.after, Limit: q.limit})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Invitations, page.JSON200.NextCursor, nil
		},
		id: func(i invitation) string { return i.ID },
		columns: []column[invitation]{
			{"ID", func(i invitation) string { return i.ID }}, {"EMAIL", func(i invitation) string { return i.Email }}, {"ROLE", func(i invitation) string { return string(i.Role) }},
			{"BY", func(i invitation) string { return i.InvitedBy }}, {"SENT", func(i invitation) string { return moment(i.SentAt) }}, {"GOOD UNTIL", func(i invitation) string { return moment(i.ExpiresAt) }},
		},
	}, "listInvitations", "getSession")
}

func (p *program) showInvitation(i *client.Invitation) error {
	return p.show(i, i.ID, field{"invited", i.Email}, field{"id", i.ID}, field{"role", string(i.Role)}, field{"by", i.InvitedBy}, field{"mail sent", moment(i.SentAt)}, field{"good until", moment(i.ExpiresAt)})
}

func (p *program) invitationsCreateCommand() *cobra.Command {
	var role string
	c := p.acting(p.inAccount, "create EMAIL", "Invite somebody by mail", "  signalbox invitations create bob@example.com --role developer", exactly(1), func(q asked) error {
		made, err := q.api.CreateInvitationWithResponse(q, q.of, client.CreateInvitationRequest{Email: q.args[0], Role: client.Role(role)})
		if err != nil {
			return err
		}
		return p.showInvitation(made.JSON201)
	}, "createInvitation", "getSession")
	roleFlag(c, &role, "developer")
	return c
}

func (p *program) invitationsResendCommand() *cobra.Command {
	return p.acting(p.inAccount, "resend INVITATION", "Send an invitation again, with a new link", "  signalbox invitations resend 01J8ZQ4A", exactly(1), func(q asked) error {
		i, err := q.api.ResendInvitationWithResponse(q, q.of, q.args[0])
		if err != nil {
			return err
		}
		return p.showInvitation(i.JSON200)
	}, "resendInvitation", "getSession")
}

func (p *program) invitationsRevokeCommand() *cobra.Command {
	return p.acting(p.inAccount, "revoke INVITATION", "Withdraw an invitation; its link is void", "  signalbox invitations revoke 01J8ZQ4A --yes", exactly(1), func(q asked) error {
		if err := p.confirm("withdraw invitation %s", q.args[0]); err != nil {
			return err
		}
		if _, err := q.api.RevokeInvitationWithResponse(q, q.of, q.args[0]); err != nil {
			return err
		}
		return p.done("Withdrawn.")
	}, "revokeInvitation", "getSession")
}

func (p *program) invitationsLookUpCommand() *cobra.Command {
	return p.acting(p.ofAnybody, "look-up LINK", "Show what an invitation is for, by the link of its mail", "  signalbox invitations look-up 'https://console.example.com/invitation?token=abc'", exactly(1), func(q asked) error {
		found, err := q.api.LookUpInvitationWithResponse(q, client.TokenRequest{Token: tokenOf(q.args[0])})
		if err != nil {
			return err
		}
		o := found.JSON200
		return p.show(o, o.Email, field{"account", o.AccountName}, field{"for", o.Email}, field{"role", string(o.Role)}, field{"by", o.InvitedBy}, field{"needs to sign in", yes(o.HasUser)}, field{"good until", moment(o.ExpiresAt)})
	}, "lookUpInvitation")
}

func (p *program) invitationsAcceptCommand() *cobra.Command {
	var passwordIn, fresh bool
	c := operations(&cobra.Command{
		Use: "accept LINK", Short: "Accept an invitation with the link of its mail, or its token", Args: exactly(1),
		Long: `Accept an invitation. Whoever is new here says --new, sets a password and is signed in
by it; everybody else signs in first.`,
		Example: "  signalbox invitations accept 'https://console.example.com/invitation?token=abc'\n  signalbox invitations accept --new --password-stdin --profile bob 'https://console.example.com/invitation?token=abc'",
		RunE: func(c *cobra.Command, args []string) error {
			in := client.AcceptInvitationRequest{Token: tokenOf(args[0])}
			find := p.api
			if fresh || passwordIn {
				password, err := p.password(passwordIn)
				if err != nil {
					return err
				}
				in.Password, p.as, find = &password, &identity{}, p.anybody
			}
			api, err := find()
			if err != nil {
				return err
			}
			joined, err := api.AcceptInvitationWithResponse(c.Context(), in)
			if err != nil {
				return err
			}
			if p.as != nil {
				return p.keep(c.Context(), api, func(of *profile) { of.Session, of.Token = p.as.session, "" })
			}
			return p.showWho(*joined.JSON200)
		},
	}, "acceptInvitation", "getSession", "listTenants")
	c.Flags().BoolVar(&fresh, "new", false, "you have no user here yet")
	passwordFlagOf(c, &passwordIn)
	return c
}
