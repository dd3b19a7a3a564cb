package cli

import (
	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) tenantsCommand() *cobra.Command {
	return group("tenants", "Make, change and delete tenants",
		p.tenantsListCommand(), p.tenantsCreateCommand(), p.tenantsShowCommand(), p.tenantsUseCommand(), p.tenantsSetCommand(),
		p.tenantsSuspendCommand(), p.tenantsResumeCommand(), p.tenantsDeleteCommand())
}

func (p *program) tenantsListCommand() *cobra.Command {
	type tenant = client.Tenant
	return listed(p, lister[tenant]{
		use: "list", short: "List the tenants of your accounts", example: "  signalbox tenants list", in: p.ofCaller,
		page: func(q asked) ([]tenant, *string, error) {
			page, err := q.api.ListTenantsWithResponse(q, &client.ListTenantsParams{Cursor: q.after, Limit: q.limit})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Tenants, page.JSON200.NextCursor, nil
		},
		id: func(t tenant) string { return t.Slug },
		columns: []column[tenant]{
			{"SLUG", func(t tenant) string { return t.Slug }}, {"NAME", func(t tenant) string { return t.Name }},
			{"ENVIRONMENT", func(t tenant) string { return string(t.Environment) }}, {"STATUS", func(t tenant) string { return string(t.Status) }},
			{"PLAN", func(t tenant) string { return t.Plan }}, {"ROLE", func(t tenant) string { return string(t.Role) }},
			{"ENDPOINT", func(t tenant) string { return t.Endpoint }},
		},
	}, "listTenants")
}

func (p *program) tenantsCreateCommand() *cobra.Command {
	var slug, environment string
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a tenant with two access keys and the hub chat; the first key is shown once", Args: exactly(1),
		Example: "  signalbox tenants create Shop --slug shop --environment production",
		RunE: func(c *cobra.Command, args []string) error {
			api, err := p.api()
			if err != nil {
				return err
			}
			in := client.CreateTenantRequest{Name: args[0], Slug: filled(slug)}
			if environment != "" {
				in.Environment = new(client.Environment(environment))
			}
			account, err := p.account(c.Context(), api)
			if err != nil {
				return err
			}
			in.AccountID = &account
			made, err := api.CreateTenantWithResponse(c.Context(), in)
			if err != nil {
				return err
			}
			t, key := made.JSON201.Tenant, made.JSON201.Key
			return p.show(made.JSON201, key.Secret, append(tenantFields(t), field{"access key", key.Secret + "   (shown once)"}, field{"connection string", key.ConnectionString})...)
		},
	}
	c.Flags().StringVar(&slug, "slug", "", "`slug`, which is in its addresses; made of the name when left out")
	environmentFlag(c, &environment)
	return operations(c, "createTenant", "getSession")
}

func environmentFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "environment", "", "`what` it is for: development or production")
	_ = c.RegisterFlagCompletionFunc("environment", cobra.FixedCompletions([]string{"development", "production"}, cobra.ShellCompDirectiveNoFileComp))
}

func tenantFields(t client.Tenant) []field {
	return []field{
		{"tenant", t.Slug}, {"id", t.ID}, {"name", t.Name}, {"environment", string(t.Environment)}, {"status", string(t.Status)},
		{"suspended", moments(t.SuspendedAt)}, {"suspended by", string(value(t.SuspendedBy))}, {"account", t.AccountID}, {"plan", t.Plan},
		{"your role", string(t.Role)}, {"endpoint", t.Endpoint}, {"hosts", joined(t.Hosts)}, {"created", moment(t.CreatedAt)},
	}
}

func (p *program) showTenant(t *client.Tenant) error { return p.show(t, t.Slug, tenantFields(*t)...) }

// ofTenant is a command about the tenant that its argument names, or that is chosen.
func (p *program) ofTenant(use, short, example string, run func(c *cobra.Command, api *client.ClientWithResponses, tenant string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " [TENANT]", Short: short, Example: example, Args: between(0, 1), ValidArgsFunction: p.completeTenants,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				p.flags.tenant = args[0]
			}
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			return run(c, api, tenant)
		},
	}
}

func (p *program) tenantsShowCommand() *cobra.Command {
	return operations(p.ofTenant("show", "Show a tenant", "  signalbox tenants show acme", func(c *cobra.Command, api *client.ClientWithResponses, tenant string) error {
		t, err := api.GetTenantWithResponse(c.Context(), tenant)
		if err != nil {
			return err
		}
		return p.showTenant(t.JSON200)
	}), "getTenant")
}

func (p *program) tenantsUseCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "use TENANT", Short: "Choose the tenant that commands are about", Example: "  signalbox tenants use acme", Args: exactly(1), ValidArgsFunction: p.completeTenants,
		RunE: func(c *cobra.Command, args []string) error {
			api, err := p.api()
			if err != nil {
				return err
			}
			t, err := api.GetTenantWithResponse(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := p.change(func(of *profile) { of.Tenant = t.JSON200.Slug }); err != nil {
				return err
			}
			return p.done("Using tenant %s.", t.JSON200.Slug)
		},
	}, "getTenant")
}

func (p *program) tenantsSetCommand() *cobra.Command {
	var name, environment string
	c := p.ofTenant("set", "Change a tenant's name or environment", "  signalbox tenants set acme --name \"Acme shop\" --environment production",
		func(c *cobra.Command, api *client.ClientWithResponses, tenant string) error {
			in := client.UpdateTenantRequest{Name: filled(name)}
			if environment != "" {
				in.Environment = new(client.Environment(environment))
			}
			if name == "" && environment == "" {
				return usage("say --name or --environment")
			}
			t, err := api.UpdateTenantWithResponse(c.Context(), tenant, in)
			if err != nil {
				return err
			}
			return p.showTenant(t.JSON200)
		})
	c.Aliases = []string{"rename"}
	c.Flags().StringVar(&name, "name", "", "`name`, shown to people")
	environmentFlag(c, &environment)
	return operations(c, "updateTenant")
}

func (p *program) tenantsSuspendCommand() *cobra.Command {
	return operations(p.ofTenant("suspend", "Stop serving a tenant: its connections are closed, its keys refused; all that it has stays", "  signalbox tenants suspend acme --yes",
		func(c *cobra.Command, api *client.ClientWithResponses, tenant string) error {
			if err := p.confirm("close all connections of %s and refuse its keys", tenant); err != nil {
				return err
			}
			t, err := api.SuspendTenantWithResponse(c.Context(), tenant)
			if err != nil {
				return err
			}
			return p.showTenant(t.JSON200)
		}), "suspendTenant")
}

func (p *program) tenantsResumeCommand() *cobra.Command {
	return operations(p.ofTenant("resume", "Serve a suspended tenant again", "  signalbox tenants resume acme",
		func(c *cobra.Command, api *client.ClientWithResponses, tenant string) error {
			t, err := api.ResumeTenantWithResponse(c.Context(), tenant)
			if err != nil {
				return err
			}
			return p.showTenant(t.JSON200)
		}), "resumeTenant")
}

func (p *program) tenantsDeleteCommand() *cobra.Command {
	c := p.ofTenant("delete", "Delete a tenant with all that it has; what it has used stays in the ledger", "  signalbox tenants delete acme --yes",
		func(c *cobra.Command, api *client.ClientWithResponses, tenant string) error {
			if err := p.confirm("delete tenant %s with its keys, hubs and history, for good", tenant); err != nil {
				return err
			}
			if _, err := api.DeleteTenantWithResponse(c.Context(), tenant); err != nil {
				return err
			}
			return p.done("Tenant %s is deleted.", tenant)
		})
	c.Use, c.Args = "delete TENANT", exactly(1) // never the one that is chosen
	return operations(c, "deleteTenant")
}
