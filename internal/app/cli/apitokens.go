package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

// tokenColumns are those of both lists of API tokens.
var tokenColumns = []column[client.APIToken]{
	{"ID", func(t client.APIToken) string { return t.ID }}, {"NAME", func(t client.APIToken) string { return t.Name }}, {"KIND", func(t client.APIToken) string { return string(t.Kind) }},
	{"OF", func(t client.APIToken) string { return value(t.UserEmail) }}, {"ROLE", func(t client.APIToken) string { return string(t.Role) }},
	{"SCOPES", func(t client.APIToken) string { return cmp.Or(joined(t.Scopes), "all") }}, {"ENDS WITH", func(t client.APIToken) string { return t.Hint }},
	{"GOOD UNTIL", func(t client.APIToken) string { return moments(t.ExpiresAt) }}, {"LAST USED", func(t client.APIToken) string { return moments(t.LastUsedAt) }},
}

func tokenID(t client.APIToken) string { return t.ID }

func (p *program) showAPIToken(t *client.APITokenSecret) error {
	return p.show(t, t.Secret, field{"token", t.APIToken.Name}, field{"id", t.APIToken.ID}, field{"secret", t.Secret + "   (shown once)"}, field{"role", string(t.APIToken.Role)},
		field{"scopes", cmp.Or(joined(t.APIToken.Scopes), "all that the role allows")}, field{"good until", cmp.Or(moments(t.APIToken.ExpiresAt), "it is revoked")})
}

// tokenFlags are those of both kinds of API tokens.
func tokenFlags(c *cobra.Command, scopes *[]string, days *int) *cobra.Command {
	c.Flags().StringSliceVar(scopes, "scope", nil, "`what` it may be used for, as usage:read; may be repeated; all that the role allows when left out")
	c.Flags().IntVar(days, "days", 0, "how many `days` it is good, 1 to 366; 0: until it is revoked")
	return c
}

func scopesOf(names []string) *client.APITokenScopes {
	if len(names) == 0 {
		return nil
	}
	var all client.APITokenScopes
	for _, s := range names {
		all = append(all, client.APITokenScope(s))
	}
	return &all
}

func (p *program) apiTokensCommand() *cobra.Command {
	var scopes []string
	var days int
	return group("api-tokens", "Your own tokens for the control plane's API",
		listed(p, lister[client.APIToken]{
			use: "list", short: "List your API tokens, without their secrets", example: "  signalbox api-tokens list", in: p.ofCaller, id: tokenID, columns: tokenColumns,
			page: func(q asked) ([]client.APIToken, *string, error) {
				page, err := q.api.ListAPITokensWithResponse(q, &client.ListAPITokensParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.APITokens, page.JSON200.NextCursor, nil
			},
		}, "listApiTokens"),
		tokenFlags(p.acting(p.inAccount, "create NAME", "Make an API token that acts as you in one account; its secret is shown once", "  signalbox api-tokens create ci --scope hubs:write --days 90", exactly(1), func(q asked) error {
			made, err := q.api.CreateAPITokenWithResponse(q, client.CreateAPITokenRequest{Name: q.args[0], AccountID: &q.of, Scopes: scopesOf(scopes), ExpiresInDays: filled(days)})
			if err != nil {
				return err
			}
			return p.showAPIToken(made.JSON201)
		}, "createApiToken", "getSession"), &scopes, &days),
		p.acting(p.ofCaller, "revoke TOKEN", "Revoke an API token by its id", "  signalbox api-tokens revoke 01J8ZQ4A --yes", exactly(1), func(q asked) error {
			if err := p.confirm("revoke API token %s", q.args[0]); err != nil {
				return err
			}
			if _, err := q.api.DeleteAPITokenWithResponse(q, q.args[0]); err != nil {
				return err
			}
			return p.done("Revoked.")
		}, "deleteApiToken"))
}

func (p *program) serviceTokensCommand() *cobra.Command {
	var scopes []string
	var days int
	var role string
	create := tokenFlags(p.acting(p.inAccount, "create NAME", "Make a service token, which belongs to the account; its secret is shown once", "  signalbox service-tokens create deploy --role developer --scope hubs:write", exactly(1), func(q asked) error {
		made, err := q.api.CreateServiceTokenWithResponse(q, q.of, client.CreateServiceTokenRequest{Name: q.args[0], Role: client.Role(role), Scopes: scopesOf(scopes), ExpiresInDays: filled(days)})
		if err != nil {
			return err
		}
		return p.showAPIToken(made.JSON201)
	}, "createServiceToken", "getSession"), &scopes, &days)
	roleFlag(create, &role, "developer")
	return group("service-tokens", "All API tokens of an account, those of programs above all",
		listed(p, lister[client.APIToken]{
			use: "list", short: "List all API tokens of an account, without their secrets", example: "  signalbox service-tokens list", in: p.inAccount, id: tokenID, columns: tokenColumns,
			page: func(q asked) ([]client.APIToken, *string, error) {
				page, err := q.api.ListAccountTokensWithResponse(q, q.of, &client.ListAccountTokensParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.APITokens, page.JSON200.NextCursor, nil
			},
		}, "listAccountTokens", "getSession"),
		create,
		p.acting(p.inAccount, "revoke TOKEN", "Revoke any API token of an account by its id", "  signalbox service-tokens revoke 01J8ZQ4A --yes", exactly(1), func(q asked) error {
			if err := p.confirm("revoke API token %s", q.args[0]); err != nil {
				return err
			}
			if _, err := q.api.DeleteAccountTokenWithResponse(q, q.of, q.args[0]); err != nil {
				return err
			}
			return p.done("Revoked.")
		}, "deleteAccountToken", "getSession"))
}
