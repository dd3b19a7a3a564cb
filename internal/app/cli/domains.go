package cli

import (
	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) showDomain(d *client.Domain) error {
	return p.show(d, d.ID, field{"domain", d.Domain}, field{"id", d.ID}, field{"verified", yes(d.Verified)}, field{"record type", string(d.Record.Type)},
		field{"record name", d.Record.Name}, field{"record value", d.Record.Value}, field{"looked for", moments(d.CheckedAt)}, field{"verified at", moments(d.VerifiedAt)})
}

func (p *program) domainsCommand() *cobra.Command {
	type domain = client.Domain
	return group("domains", "Domains of a tenant's own",
		listed(p, lister[domain]{
			use: "list", short: "List the domains with the DNS records that verify them", example: "  signalbox domains list", in: p.ofTenants,
			page: func(q asked) ([]domain, *string, error) {
				page, err := q.api.ListDomainsWithResponse(q, q.of, &client.ListDomainsParams{Cursor: q.after, Limit: q.limit})
				if err != nil {
					return nil, nil, err
				}
				return page.JSON200.Domains, page.JSON200.NextCursor, nil
			},
			id: func(d domain) string { return d.ID },
			columns: []column[domain]{
				{"ID", func(d domain) string { return d.ID }}, {"DOMAIN", func(d domain) string { return d.Domain }}, {"VERIFIED", func(d domain) string { return yes(d.Verified) }},
				{"RECORD", func(d domain) string { return d.Record.Name }}, {"VALUE", func(d domain) string { return d.Record.Value }},
			},
		}, "listDomains"),
		p.acting(p.ofTenants, "add DOMAIN", "Add a domain; the answer has the DNS record that shows that it is yours", "  signalbox domains add rt.example.com", exactly(1), func(q asked) error {
			d, err := q.api.CreateDomainWithResponse(q, q.of, client.CreateDomainRequest{Domain: q.args[0]})
			if err != nil {
				return err
			}
			return p.showDomain(d.JSON201)
		}, "createDomain"),
		p.acting(p.ofTenants, "verify ID", "Look for the DNS record of a domain now", "  signalbox domains verify 01J8ZQ4A", exactly(1), func(q asked) error {
			d, err := q.api.VerifyDomainWithResponse(q, q.of, q.args[0])
			if err != nil {
				return err
			}
			return p.showDomain(d.JSON200)
		}, "verifyDomain"),
		p.acting(p.ofTenants, "remove ID", "Remove a domain; requests under it are refused within a second", "  signalbox domains remove 01J8ZQ4A --yes", exactly(1), func(q asked) error {
			if err := p.confirm("stop serving %s under domain %s", q.of, q.args[0]); err != nil {
				return err
			}
			if _, err := q.api.DeleteDomainWithResponse(q, q.of, q.args[0]); err != nil {
				return err
			}
			return p.done("Removed.")
		}, "deleteDomain"))
}
