package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

// scope finds what a command is about: a tenant, an account, or the caller ("").
type scope func(ctx context.Context) (*client.ClientWithResponses, string, error)

func (p *program) ofTenants(context.Context) (*client.ClientWithResponses, string, error) {
	return p.inTenant()
}

func (p *program) ofCaller(context.Context) (*client.ClientWithResponses, string, error) {
	api, err := p.api()
	return api, "", err
}

// asked is what one page is asked for with.
type asked struct {
	context.Context
	api   *client.ClientWithResponses
	of    string // the tenant or account
	args  []string
	after *string
	limit *int
}

// lister is a command that lists things, all pages of them.
type lister[T any] struct {
	use, short, example string
	args                cobra.PositionalArgs // nil = none
	complete            cobra.CompletionFunc
	in                  scope
	page                func(asked) ([]T, *string, error)
	id                  func(T) string
	columns             []column[T]
	usual               int // how many when nobody says; 0 = all
}

func listed[T any](p *program, l lister[T], calls ...string) *cobra.Command {
	most := l.usual
	c := &cobra.Command{
		Use: l.use, Short: l.short, Example: l.example, Args: l.args, ValidArgsFunction: l.complete,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			api, of, err := l.in(ctx)
			if err != nil {
				return err
			}
			return listPages(p, most, func(after *string, limit *int) ([]T, *string, error) {
				return l.page(asked{Context: ctx, api: api, of: of, args: args, after: after, limit: limit})
			}, l.id, l.columns...)
		},
	}
	if l.args == nil {
		c.Args = none()
	}
	c.Flags().IntVar(&most, "limit", l.usual, "at most so `many`; 0: all, page after page")
	return operations(c, calls...)
}

// acting is a command in a scope that isn't a list.
func (p *program) acting(in scope, use, short, example string, check cobra.PositionalArgs, run func(asked) error, calls ...string) *cobra.Command {
	return operations(&cobra.Command{
		Use: use, Short: short, Example: example, Args: check,
		RunE: func(c *cobra.Command, args []string) error {
			api, of, err := in(c.Context())
			if err != nil {
				return err
			}
			return run(asked{Context: c.Context(), api: api, of: of, args: args})
		},
	}, calls...)
}

func (p *program) ofAnybody(context.Context) (*client.ClientWithResponses, string, error) {
	api, err := p.anybody()
	return api, "", err
}
