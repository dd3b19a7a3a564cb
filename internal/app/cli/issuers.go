package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) showIssuer(i *client.Issuer) error {
	return p.show(i, i.ID, field{"issuer", i.Issuer}, field{"id", i.ID}, field{"keys", i.JwksURL}, field{"algorithms", joined(i.Algorithms)},
		field{"audiences", cmp.Or(joined(i.Audiences), "the hub's client URL")}, field{"user claim", i.UserClaim}, field{"closes on expiry", yes(i.CloseOnExpiry)}, field{"changed", moment(i.UpdatedAt)})
}

// issuerFlags are an issuer's settings.
type issuerFlags struct {
	algorithms, audiences []string
	claim                 string
	closes                bool
}

func (f *issuerFlags) add(c *cobra.Command) *cobra.Command {
	c.Flags().StringSliceVar(&f.algorithms, "algorithm", nil, "`algorithm` of signatures: RS256, ES256 or EdDSA; may be repeated; all three when left out")
	c.Flags().StringSliceVar(&f.audiences, "audience", nil, "an `audience` that tokens may have; may be repeated; the hub's client URL when left out")
	c.Flags().StringVar(&f.claim, "user-claim", "", "the `claim` with the user's id; sub when left out")
	c.Flags().BoolVar(&f.closes, "close-on-expiry", false, "close connections when their token expires and was not refreshed")
	return c
}

func (f *issuerFlags) settings(issuer, keys string) client.IssuerSettings {
	s := client.IssuerSettings{Issuer: issuer, JwksURL: keys, UserClaim: filled(f.claim), CloseOnExpiry: filled(f.closes)}
	if len(f.audiences) > 0 {
		s.Audiences = &f.audiences
	}
	if len(f.algorithms) > 0 {
		var all []client.IssuerSettingsAlgorithms
		for _, a := range f.algorithms {
			all = append(all, client.IssuerSettingsAlgorithms(a))
		}
		s.Algorithms = &all
	}
	return s
}

func (p *program) issuersCommand() *cobra.Command {
	type issuer = client.Issuer
	var f issuerFlags
	return group("issuers", "Identity providers whose tokens a tenant's clients may use",
		listed(p, lister[issuer]{
			use: "list", short: "List the identity providers", example: "  signalbox issuers list", in: p.ofTenants,
			page: func(q asked) ([]issuer, *string, error) {
				page, err := q.api.ListIssuersWithResponse(q, q.of, &client.ListIssuersParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.Issuers, page.JSON200.NextCursor, nil
			},
			id: func(i issuer) string { return i.ID },
			columns: []column[issuer]{
				{"ID", func(i issuer) string { return i.ID }}, {"ISSUER", func(i issuer) string { return i.Issuer }}, {"KEYS", func(i issuer) string { return i.JwksURL }}, {"ALGORITHMS", func(i issuer) string { return joined(i.Algorithms) }},
			},
		}, "listIssuers"),
		p.acting(p.ofTenants, "show ID", "Show one", "  signalbox issuers show 01J8ZQ4A", exactly(1), func(q asked) error {
			i, err := q.api.GetIssuerWithResponse(q, q.of, q.args[0])
			if err != nil {
				return err
			}
			return p.showIssuer(i.JSON200)
		}, "getIssuer"),
		f.add(p.acting(p.ofTenants, "create ISSUER JWKS_URL", "Let clients use the tokens of an identity provider", "  signalbox issuers create https://id.example.com/ https://id.example.com/jwks.json --audience signalbox", exactly(2), func(q asked) error {
			i, err := q.api.CreateIssuerWithResponse(q, q.of, f.settings(q.args[0], q.args[1]))
			if err != nil {
				return err
			}
			return p.showIssuer(i.JSON201)
		}, "createIssuer")),
		f.add(p.acting(p.ofTenants, "replace ID ISSUER JWKS_URL", "Replace an identity provider's settings; connections stay", "  signalbox issuers replace 01J8ZQ4A https://id.example.com/ https://id.example.com/jwks.json", exactly(3), func(q asked) error {
			i, err := q.api.ReplaceIssuerWithResponse(q, q.of, q.args[0], f.settings(q.args[1], q.args[2]))
			if err != nil {
				return err
			}
			return p.showIssuer(i.JSON200)
		}, "replaceIssuer")),
		p.acting(p.ofTenants, "delete ID", "Remove an identity provider; connections that its tokens made are closed", "  signalbox issuers delete 01J8ZQ4A --yes", exactly(1), func(q asked) error {
			if err := p.confirm("remove issuer %s and close what its tokens opened", q.args[0]); err != nil {
				return err
			}
			if _, err := q.api.DeleteIssuerWithResponse(q, q.of, q.args[0]); err != nil {
				return err
			}
			return p.done("Removed.")
		}, "deleteIssuer"))
}

func (p *program) revocationsCommand() *cobra.Command {
	type revocation = client.Revocation
	return group("revocations", "Tokens that were taken back before they expire",
		listed(p, lister[revocation]{
			use: "list", short: "List the revocations in force", example: "  signalbox revocations list", in: p.ofTenants,
			page: func(q asked) ([]revocation, *string, error) {
				page, err := q.api.ListRevocationsWithResponse(q, q.of, &client.ListRevocationsParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.Revocations, page.JSON200.NextCursor, nil
			},
			id: func(r revocation) string { return r.ID },
			columns: []column[revocation]{
				{"ID", func(r revocation) string { return r.ID }}, {"KIND", func(r revocation) string { return string(r.Kind) }}, {"VALUE", func(r revocation) string { return r.Value }},
				{"ISSUED BEFORE", func(r revocation) string { return moment(r.IssuedBefore) }}, {"UNTIL", func(r revocation) string { return moment(r.ExpiresAt) }},
			},
		}, "listRevocations"),
		p.acting(p.ofTenants, "create KIND VALUE", "Revoke a token by its id, or all tokens of a user or a key (token, user, key)", "  signalbox revocations create user ann --yes", exactly(2), func(q asked) error {
			if err := p.confirm("revoke %s %s and close what it has opened", q.args[0], q.args[1]); err != nil {
				return err
			}
			made, err := q.api.CreateRevocationWithResponse(q, q.of, client.RevocationRequest{Kind: client.RevocationKind(q.args[0]), Value: q.args[1]})
			if err != nil {
				return err
			}
			r := made.JSON201
			return p.show(r, r.ID, field{"revoked", string(r.Kind) + " " + r.Value}, field{"id", r.ID}, field{"issued before", moment(r.IssuedBefore)}, field{"until", moment(r.ExpiresAt)})
		}, "createRevocation"),
		p.acting(p.ofTenants, "lift ID", "Lift a revocation; its tokens are good again", "  signalbox revocations lift 01J8ZQ4A --yes", exactly(1), func(q asked) error {
			if err := p.confirm("let the tokens of revocation %s be good again", q.args[0]); err != nil {
				return err
			}
			if _, err := q.api.DeleteRevocationWithResponse(q, q.of, q.args[0]); err != nil {
				return err
			}
			return p.done("Lifted.")
		}, "deleteRevocation"))
}
