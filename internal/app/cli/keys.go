package cli

import (
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) keysCommand() *cobra.Command {
	return group("keys", "A tenant's access keys", p.keysListCommand(), p.keysRotateCommand(), p.keysEndOverlapCommand())
}

func (p *program) keysListCommand() *cobra.Command {
	type key = client.AccessKey
	return listed(p, lister[key]{
		use: "list", short: "List the keys without their secrets: the two in use, and replaced ones that are still good", example: "  signalbox keys list", in: p.ofTenants,
		page: func(q asked) ([]key, *string, error) {
			page, err := q.api.ListKeysWithResponse(q, q.of, &client.ListKeysParams{Cursor: q.after, Limit: q.limit})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Keys, page.JSON200.NextCursor, nil
		},
		id: func(k key) string { return k.ID },
		columns: []column[key]{
			{"ID", func(k key) string { return k.ID }}, {"SLOT", func(k key) string { return string(k.Slot) }},
			{"ENDS WITH", func(k key) string { return k.Hint }}, {"CREATED", func(k key) string { return moment(k.CreatedAt) }},
			{"LAST USED", func(k key) string { return moments(k.LastUsedAt) }}, {"GOOD UNTIL", func(k key) string { return moments(k.ExpiresAt) }},
		},
	}, "listKeys")
}

// completeSlots completes the slots of keys.
var completeSlots = cobra.FixedCompletions([]string{"primary", "secondary"}, cobra.ShellCompDirectiveNoFileComp)

// overlapFlag is how long what is replaced stays good; seconds checks it.
func overlapFlag(c *cobra.Command, to *time.Duration, usual time.Duration, use string) {
	c.Flags().DurationVar(to, "overlap", usual, use)
}

func seconds(name string, d time.Duration) (int, error) {
	if d < 0 || d%time.Second != 0 || d > math.MaxInt32*time.Second {
		return 0, usage("--%s is %v: accepted is a whole number of seconds, as 90s, 15m or 24h", name, d)
	}
	return int(d / time.Second), nil
}

func (p *program) keysRotateCommand() *cobra.Command {
	var overlap time.Duration
	c := &cobra.Command{
		Use: "rotate SLOT", Short: "Replace the key of a slot (primary, secondary); the new one is shown once", Args: exactly(1), ValidArgsFunction: completeSlots,
		Long: `Replace the key of a slot. The former key, and every token signed with it, is good for
--overlap more, so that backends can change over while traffic goes on. Without an
overlap its connections are closed within a second.`,
		Example: "  signalbox keys rotate primary --overlap 24h\n  signalbox keys rotate secondary --yes --quiet",
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			s, err := seconds("overlap", overlap)
			if err != nil {
				return err
			}
			if s == 0 {
				if err := p.confirm("replace the %s key of %s at once, and close what it has opened", args[0], tenant); err != nil {
					return err
				}
			}
			made, err := api.RegenerateKeyWithResponse(c.Context(), tenant, client.KeySlot(args[0]), client.RegenerateKeyRequest{OverlapSeconds: &s})
			if err != nil {
				return err
			}
			k := made.JSON200
			return p.show(k, k.Secret, field{"key", k.ID}, field{"slot", string(k.Slot)}, field{"secret", k.Secret + "   (shown once)"}, field{"connection string", k.ConnectionString})
		},
	}
	overlapFlag(c, &overlap, 0, "how `long` the former key stays good, at most 168h")
	return operations(c, "regenerateKey")
}

func (p *program) keysEndOverlapCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "end-overlap SLOT", Short: "End the key that was replaced in a slot before its time", Args: exactly(1), ValidArgsFunction: completeSlots,
		Example: "  signalbox keys end-overlap primary --yes",
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			if err := p.confirm("end the former %s key of %s", args[0], tenant); err != nil {
				return err
			}
			if _, err := api.EndFormerKeyWithResponse(c.Context(), tenant, client.KeySlot(args[0])); err != nil {
				return err
			}
			return p.done("The former %s key is of no use any more.", args[0])
		},
	}, "endFormerKey")
}
