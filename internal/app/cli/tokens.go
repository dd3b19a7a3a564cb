package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) tokensCommand() *cobra.Command {
	return group("tokens", "Tokens for the data plane: issue them, and ask what they allow", p.tokensClientCommand(), p.tokensRestCommand(), p.tokensCheckCommand())
}

func (p *program) showToken(t *client.DataPlaneToken) error {
	return p.show(t, t.Token, field{"token", t.Token}, field{"id", t.ID}, field{"url", t.URL}, field{"good until", moment(t.ExpiresAt)})
}

func (p *program) tokensClientCommand() *cobra.Command {
	var user string
	var life time.Duration
	var groups, permissions []string
	var closes bool
	c := operations(&cobra.Command{
		Use: "client HUB", Short: "Issue a token with which a SignalR client connects to a hub", Args: exactly(1), ValidArgsFunction: p.completeHubs,
		Example: "  signalbox tokens client chat --user ann --group room-7 --permission 'sendToGroup:room-*'",
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			in := client.ClientTokenRequest{Hub: args[0], UserID: filled(user), CloseOnExpiry: filled(closes)}
			if c.Flags().Changed("life") {
				s, err := seconds("life", life)
				if err != nil {
					return err
				}
				in.ExpiresInSeconds = &s
			}
			if len(groups) > 0 {
				in.Groups = &groups
			}
			if len(permissions) > 0 {
				in.Permissions = &permissions
			}
			t, err := api.CreateClientTokenWithResponse(c.Context(), tenant, in)
			if err != nil {
				return err
			}
			return p.showToken(t.JSON201)
		},
	}, "createClientToken")
	c.Flags().StringVarP(&user, "user", "u", "", "the client's `user`; nobody when left out")
	c.Flags().DurationVar(&life, "life", time.Hour, "how `long` it is good, 1m to 24h")
	c.Flags().StringSliceVarP(&groups, "group", "g", nil, "a `group` that its connections join; may be repeated")
	c.Flags().StringSliceVar(&permissions, "permission", nil, "a `permission`, as joinGroup:room-*; may be repeated")
	c.Flags().BoolVar(&closes, "close-on-expiry", false, "close connections when it expires and was not refreshed")
	return c
}

func (p *program) tokensRestCommand() *cobra.Command {
	var life time.Duration
	c := operations(&cobra.Command{
		Use: "rest", Short: "Issue a token with which a backend publishes over REST", Example: "  signalbox tokens rest --life 10m", Args: none(),
		RunE: func(c *cobra.Command, _ []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			s, err := seconds("life", life)
			if err != nil {
				return err
			}
			t, err := api.CreateRestTokenWithResponse(c.Context(), tenant, client.RestTokenRequest{ExpiresInSeconds: &s})
			if err != nil {
				return err
			}
			return p.showToken(t.JSON201)
		},
	}, "createRestToken")
	c.Flags().DurationVar(&life, "life", time.Hour, "how `long` it is good, 1m to 1h")
	return c
}

func (p *program) tokensCheckCommand() *cobra.Command {
	var in client.PermissionCheckRequest
	var action, hub, group, user string
	var permissions []string
	var tokenIn bool
	c := operations(&cobra.Command{
		Use: "check HUB ACTION [GROUP]", Short: "Would a client be allowed to do this, and why", Args: between(2, 3),
		Long: `Ask what the data plane would answer a client with a token (--token-stdin), or with one
like the --user and --permission given. ACTION is connect, joinGroup, leaveGroup,
sendToGroup, readPresence or readHistory; all but connect take a group.`,
		Example: "  signalbox tokens check chat sendToGroup room-7 --permission 'sendToGroup:room-*'",
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			hub, action = args[0], args[1]
			if len(args) == 3 {
				group = args[2]
			}
			in = client.PermissionCheckRequest{Hub: hub, Action: client.PermissionCheckRequestAction(action), Group: filled(group), UserID: filled(user)}
			if len(permissions) > 0 {
				in.Permissions = &permissions
			}
			if tokenIn {
				token, err := p.secret(true, "token", "token-stdin")
				if err != nil {
					return err
				}
				in.Token = &token
			}
			answer, err := api.CheckPermissionWithResponse(c.Context(), tenant, in)
			if err != nil {
				return err
			}
			a := answer.JSON200
			rule := ""
			if a.Rule != nil {
				rule = fmt.Sprintf("%s, of the %s", a.Rule.Permission, a.Rule.Source)
			}
			return p.show(a, yes(a.Allowed), field{"allowed", yes(a.Allowed)}, field{"code", a.Code}, field{"reason", a.Reason}, field{"decided by", rule})
		},
	}, "checkPermission")
	c.Flags().StringVarP(&user, "user", "u", "", "the token's `user`")
	c.Flags().StringSliceVar(&permissions, "permission", nil, "a `permission` of the token; may be repeated")
	c.Flags().BoolVar(&tokenIn, "token-stdin", false, "read a client's token from the standard input")
	return c
}
