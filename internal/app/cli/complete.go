package cli

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

// completionPatience is how long a person waits for a Tab.
const completionPatience = 3 * time.Second

// completing completes a first argument, or a flag, with what a question to the
// service answers. There are no suggestions when it can't be asked.
func (p *program) completing(args []string, ask func(context.Context) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, done := context.WithTimeout(context.Background(), completionPatience)
	defer done()
	names, err := ask(ctx)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (p *program) completeTenants(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completing(args, func(ctx context.Context) ([]string, error) {
		api, err := p.api()
		if err != nil {
			return nil, err
		}
		size := maxPage
		page, err := api.ListTenantsWithResponse(ctx, &client.ListTenantsParams{Limit: &size})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, t := range page.JSON200.Tenants {
			names = append(names, t.Slug+"\t"+printable(t.Name))
		}
		return names, nil
	})
}

func (p *program) completeHubs(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completing(args, func(ctx context.Context) ([]string, error) {
		api, tenant, err := p.inTenant()
		if err != nil {
			return nil, err
		}
		size := maxPage
		page, err := api.ListHubsWithResponse(ctx, tenant, &client.ListHubsParams{Limit: &size})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, h := range page.JSON200.Hubs {
			names = append(names, h.Name)
		}
		return names, nil
	})
}

func (p *program) completeLimits(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completing(args, func(ctx context.Context) ([]string, error) {
		api, tenant, err := p.inTenant()
		if err != nil {
			return nil, err
		}
		all, err := api.GetLimitsWithResponse(ctx, tenant)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, l := range all.JSON200.Limits {
			names = append(names, l.Limit+"\t"+l.Title)
		}
		return names, nil
	})
}

func (p *program) completeProfiles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completing(args, func(context.Context) ([]string, error) {
		s, err := p.load()
		if err != nil {
			return nil, err
		}
		return slices.Sorted(maps.Keys(s.Profiles)), nil
	})
}
