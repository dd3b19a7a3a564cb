package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/signalbox/signalbox/adminapi/client"
)

func (p *program) hubsCommand() *cobra.Command {
	return group("hubs", "A tenant's hubs and their settings",
		p.hubsListCommand(), p.hubsShowCommand(), p.hubsCreateCommand(), p.hubsSetCommand(), p.hubsVersionsCommand(), p.hubsReturnCommand(), p.hubsDeleteCommand())
}

func (p *program) hubsListCommand() *cobra.Command {
	type hub = client.Hub
	return listed(p, lister[hub]{
		use: "list", short: "List the hubs that have settings, and those used within 30 days", example: "  signalbox hubs list", in: p.ofTenants,
		page: func(q asked) ([]hub, *string, error) {
			page, err := q.api.ListHubsWithResponse(q, q.of, &client.ListHubsParams{Cursor: q.after, Limit: q.limit})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Hubs, page.JSON200.NextCursor, nil
		},
		id: func(h hub) string { return h.Name },
		columns: []column[hub]{
			{"HUB", func(h hub) string { return h.Name }}, {"HANDLER", func(h hub) string { return string(h.Handler) }},
			{"SETTINGS", func(h hub) string { return map[bool]string{true: "defaults", false: "own"}[h.Implicit] }},
			{"CHANGED", func(h hub) string { return moments(h.UpdatedAt) }}, {"CLIENT URL", func(h hub) string { return h.ClientURL }},
		},
	}, "listHubs")
}

func (p *program) showHub(h *client.Hub) error {
	history := fmt.Sprintf("%s s, %s messages, %s bytes", orPlan(h.History.Seconds), orPlan(h.History.Messages), orPlan(h.History.Bytes))
	if value(h.History.GroupIndex) {
		history += ", an index of groups"
	}
	var rates []string
	for method, rate := range h.MethodRates {
		rates = append(rates, fmt.Sprintf("%s %d/s", method, rate.PerSecond))
	}
	upstream := ""
	if h.Upstream != nil && h.Upstream.Rules != nil {
		for _, r := range *h.Upstream.Rules {
			upstream += r.URL + " "
		}
	}
	return p.show(h, h.Name,
		field{"hub", h.Name}, field{"settings", map[bool]string{true: "the defaults", false: "its own"}[h.Implicit]}, field{"handler", string(h.Handler)},
		field{"keep-alive", number(h.KeepAliveSeconds) + " s"}, field{"client timeout", number(h.ClientTimeoutSeconds) + " s"},
		field{"origins", joined(h.AllowedOrigins)}, field{"client permissions", joined(h.ClientPermissions)}, field{"history", history},
		field{"gaps", string(h.Gaps)}, field{"user connections", string(h.UserConnections)}, field{"parallel calls", number(h.ParallelCalls)},
		field{"partitions", number(h.Partitions)}, field{"closes on expiry", yes(h.CloseOnExpiry)},
		field{"method rates", strings.Join(rates, ", ")}, field{"upstream", strings.TrimSpace(upstream)},
		field{"client url", h.ClientURL}, field{"rest url", h.RestURL}, field{"changed", moments(h.UpdatedAt)})
}

func orPlan[T int | int64](n *T) string {
	if value(n) == 0 {
		return "the plan's"
	}
	return number(*n)
}

func (p *program) hubsShowCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "show HUB", Short: "Show a hub; any name is one, with the defaults", Example: "  signalbox hubs show chat", Args: exactly(1), ValidArgsFunction: p.completeHubs,
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			h, err := api.GetHubWithResponse(c.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			return p.showHub(h.JSON200)
		},
	}, "getHub")
}

// hubFlags are the settings that have flags of their own.
type hubFlags struct {
	file                                       string
	handler, gaps, userConnections             string
	keepAlive, timeout, parallel, partitions   int
	origins, permissions, rates                []string
	historySeconds, historyMessages, historyKB int
	historyIndex, closes                       bool
}

func (f *hubFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "file", "", "a JSON `file` with settings as \"hubs show -o json\" has them, upstream among them; - is the standard input")
	c.Flags().StringVar(&f.handler, "handler", "", "`who` answers invocations: auto, broadcast, upstream or app_server")
	c.Flags().IntVar(&f.keepAlive, "keep-alive", 0, "`seconds` between signs of life, 1 to 300")
	c.Flags().IntVar(&f.timeout, "client-timeout", 0, "`seconds` that a client may be silent, at least twice the keep-alive")
	c.Flags().StringSliceVar(&f.origins, "origin", nil, "an `origin` of browsers that may connect, as https://app.example.com; may be repeated, \"\" allows any")
	c.Flags().StringSliceVar(&f.permissions, "client-permission", nil, "a `permission` of every client, as joinGroup:room-*; may be repeated, \"\" takes all away")
	c.Flags().StringVar(&f.gaps, "gaps", "", "`what` clients see when messages were lost for good: close or tell")
	c.Flags().StringVar(&f.userConnections, "user-connections", "", "`what` becomes of one connection too many of a user: refuse_newest or close_oldest")
	c.Flags().IntVar(&f.parallel, "parallel-calls", 0, "how many `calls` of a connection run at once")
	c.Flags().IntVar(&f.partitions, "partitions", 0, "in how many `streams` the hub is kept, 1 to 16; a change ends its connections and its history")
	c.Flags().BoolVar(&f.closes, "close-on-expiry", false, "close every connection when its token expires and was not refreshed")
	c.Flags().StringSliceVar(&f.rates, "method-rate", nil, "`METHOD=PER_SECOND` that one connection may call; may be repeated, \"\" takes all away")
	c.Flags().IntVar(&f.historySeconds, "history-seconds", 0, "`seconds` that messages are kept, 0 = what the plan allows")
	c.Flags().IntVar(&f.historyMessages, "history-messages", 0, "`messages` that are kept, 0 = what the plan allows")
	c.Flags().IntVar(&f.historyKB, "history-kib", 0, "`KiB` of messages that are kept, 0 = what the plan allows")
	c.Flags().BoolVar(&f.historyIndex, "history-index", false, "keep an index for each group")
	for flag, values := range map[string][]string{
		"handler": {"auto", "broadcast", "upstream", "app_server"}, "gaps": {"close", "tell"}, "user-connections": {"refuse_newest", "close_oldest"},
	} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// settings are those of the file, with what the flags say in their place.
func (f *hubFlags) settings(p *program, c *cobra.Command) (s client.HubSettings, err error) {
	if f.file != "" {
		if s, err = f.read(p); err != nil {
			return s, err
		}
	}
	given := c.Flags().Changed
	if given("handler") {
		s.Handler = new(client.HubHandler(f.handler))
	}
	if given("keep-alive") {
		s.KeepAliveSeconds = &f.keepAlive
	}
	if given("client-timeout") {
		s.ClientTimeoutSeconds = &f.timeout
	}
	if given("parallel-calls") {
		s.ParallelCalls = &f.parallel
	}
	if given("partitions") {
		s.Partitions = &f.partitions
	}
	if given("close-on-expiry") {
		s.CloseOnExpiry = &f.closes
	}
	if given("gaps") {
		s.Gaps = new(client.Gaps(f.gaps))
	}
	if given("user-connections") {
		s.UserConnections = new(client.UserConnections(f.userConnections))
	}
	if given("origin") {
		s.AllowedOrigins = new(named(f.origins))
	}
	if given("client-permission") {
		s.ClientPermissions = new(named(f.permissions))
	}
	if given("history-seconds") || given("history-messages") || given("history-kib") || given("history-index") {
		if s.History == nil {
			s.History = &client.History{}
		}
		if given("history-seconds") {
			s.History.Seconds = &f.historySeconds
		}
		if given("history-messages") {
			s.History.Messages = &f.historyMessages
		}
		if given("history-kib") {
			s.History.Bytes = new(int64(f.historyKB) << 10)
		}
		if given("history-index") {
			s.History.GroupIndex = &f.historyIndex
		}
	}
	if given("method-rate") {
		rates := client.MethodRates{}
		for _, text := range named(f.rates) {
			method, rate, _ := strings.Cut(text, "=")
			n, err := strconv.Atoi(rate)
			if err != nil || method == "" {
				return s, usage("--method-rate is %q: accepted is METHOD=PER_SECOND, as say=5", text)
			}
			rates[method] = client.MethodRate{PerSecond: n}
		}
		s.MethodRates = &rates
	}
	return s, nil
}

// named leaves out what is empty: one empty value is how to say none.
func named(all []string) []string {
	kept := []string{}
	for _, s := range all {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

// shownOnly are the fields of a hub that is shown that are no settings.
var shownOnly = []string{"name", "client_url", "rest_url", "implicit", "created_at", "updated_at"}

// read reads settings, also as a hub that was shown has them.
func (f *hubFlags) read(p *program) (s client.HubSettings, err error) {
	data, err := p.readFile(f.file)
	if err != nil {
		return s, err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return s, usage("--file %s is no JSON object: %s", f.file, err)
	}
	for _, name := range shownOnly {
		delete(fields, name)
	}
	data, err = json.Marshal(fields)
	if err != nil {
		return s, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, usage("--file %s: %s", f.file, err)
	}
	return s, nil
}

// maxFile bounds what is read of a file.
const maxFile = 8 << 20

// readFile reads a file, or the standard input when it is called "-".
func (p *program) readFile(name string) ([]byte, error) {
	in := p.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage("%s", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("read " + name + ": it is longer than 8 MiB")
	}
	return data, err
}

func (p *program) hubsCreateCommand() *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use: "create HUB", Short: "Make a hub, or replace its settings: what is left out takes its default", Args: exactly(1), ValidArgsFunction: p.completeHubs,
		Example: "  signalbox hubs create scores --handler broadcast --history-seconds 600",
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			s, err := f.settings(p, c)
			if err != nil {
				return err
			}
			h, err := api.PutHubWithResponse(c.Context(), tenant, args[0], s)
			if err != nil {
				return err
			}
			if h.JSON201 != nil {
				return p.showHub(h.JSON201)
			}
			return p.showHub(h.JSON200)
		},
	}
	f.add(c)
	return operations(c, "putHub")
}

func (p *program) hubsSetCommand() *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use: "set HUB", Short: "Change some settings of a hub; what is left out stays as it is", Args: exactly(1), ValidArgsFunction: p.completeHubs,
		Example: "  signalbox hubs set chat --client-permission 'joinGroup:room-*' --gaps tell\n  signalbox hubs set chat --origin \"\"",
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			s, err := f.settings(p, c)
			if err != nil {
				return err
			}
			h, err := api.PatchHubWithResponse(c.Context(), tenant, args[0], s)
			if err != nil {
				return err
			}
			return p.showHub(h.JSON200)
		},
	}
	f.add(c)
	return operations(c, "patchHub")
}

func (p *program) hubsVersionsCommand() *cobra.Command {
	type version = client.HubVersion
	return listed(p, lister[version]{
		use: "versions HUB", short: "What a hub's settings were, and who made them so", example: "  signalbox hubs versions chat", in: p.ofTenants, args: exactly(1), complete: p.completeHubs,
		page: func(q asked) ([]version, *string, error) {
			page, err := q.api.ListHubVersionsWithResponse(q, q.of, q.args[0], &client.ListHubVersionsParams{Cursor: q.after, Limit: q.limit})
			if err != nil {
				return nil, nil, err
			}
			return page.JSON200.Versions, page.JSON200.NextCursor, nil
		},
		id: func(v version) string { return number(v.Version) },
		columns: []column[version]{
			{"VERSION", func(v version) string { return number(v.Version) }}, {"MADE", func(v version) string { return moment(v.CreatedAt) }},
			{"BY", func(v version) string { return value(v.ChangedBy) }}, {"WITH TOKEN", func(v version) string { return value(v.Token) }},
			{"RETURNED TO", func(v version) string { return numbers(v.ReturnedTo) }},
			{"SETTINGS", func(v version) string {
				if v.Settings == nil {
					return "forgotten"
				}
				text, err := json.Marshal(v.Settings)
				if err != nil {
					return err.Error()
				}
				return string(text)
			}},
		},
	}, "listHubVersions")
}

func (p *program) hubsReturnCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "return HUB VERSION", Short: "Return to the settings of a version, which become a new one", Example: "  signalbox hubs return chat 3", Args: exactly(2), ValidArgsFunction: p.completeHubs,
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			version, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return usage("VERSION is %q: accepted is a number of \"hubs versions\"", args[1])
			}
			h, err := api.ReturnHubWithResponse(c.Context(), tenant, args[0], version)
			if err != nil {
				return err
			}
			return p.showHub(h.JSON200)
		},
	}, "returnHub")
}

func (p *program) hubsDeleteCommand() *cobra.Command {
	return operations(&cobra.Command{
		Use: "delete HUB", Short: "Forget a hub's settings; its name works with the defaults", Example: "  signalbox hubs delete chat --yes", Args: exactly(1), ValidArgsFunction: p.completeHubs,
		RunE: func(c *cobra.Command, args []string) error {
			api, tenant, err := p.inTenant()
			if err != nil {
				return err
			}
			if err := p.confirm("forget the settings of hub %s of %s", args[0], tenant); err != nil {
				return err
			}
			if _, err := api.DeleteHubWithResponse(c.Context(), tenant, args[0]); err != nil {
				return err
			}
			return p.done("The settings of hub %s are forgotten.", args[0])
		},
	}, "deleteHub")
}
