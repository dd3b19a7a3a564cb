package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// System is what the program has of the world around it.
type System struct {
	In       io.Reader
	Out, Err io.Writer
	// Env reads a variable of the environment; "" = it isn't set.
	Env func(name string) string
	// Terminal tells whether a person is at In and can be asked.
	Terminal bool
	// Secret asks for a secret without showing it, until ctx ends; used only on a
	// Terminal.
	Secret func(ctx context.Context, prompt string) (string, error)
	// Version of this program.
	Version string
	// Transport carries requests; nil = that of the environment's proxies.
	Transport http.RoundTripper
}

// The variables of the environment that are read.
const (
	envAPI        = "SIGNALBOX_API_URL"
	envToken      = "SIGNALBOX_TOKEN"
	envTenant     = "SIGNALBOX_TENANT"
	envAccount    = "SIGNALBOX_ACCOUNT"
	envProfile    = "SIGNALBOX_PROFILE"
	envConfigDir  = "SIGNALBOX_CONFIG_DIR"
	envConnection = "SIGNALBOX_CONNECTION_STRING"
	envAllowHTTP  = "SIGNALBOX_ALLOW_HTTP"
)

// defaultAPI is a `make dev` on this machine.
const defaultAPI = "http://127.0.0.1:8080"

// program is one run.
type program struct {
	System
	ctx   context.Context //nolint:containedctx // that of the one run
	flags struct {
		profile, api, tenant, account, output, idempotency string
		quiet, yes, debug                                  bool
		timeout                                            time.Duration
	}
	settings *settings // read when first used
	as       *identity // nil = whom the environment or the profile says
	client   *http.Client
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

// Error says what is wrong.
func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// Run runs the program with the arguments behind its name and returns the status for
// the operating system. ctx ends it.
func Run(ctx context.Context, system System, args []string) int {
	system.In = contextReader{ctx, system.In} // Ctrl-C ends a command that waits for somebody
	p := newProgram(ctx, system)
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return p.fail(ctx, err)
}

func newProgram(ctx context.Context, system System) *program {
	p := &program{System: system, ctx: ctx}
	transport := system.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext = dial
		transport = t
	}
	p.client = &http.Client{
		Transport: transport,
		// Credentials go where they were meant to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// dial connects; names below localhost are this machine's, whatever its resolver says.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && isLocal(host) {
		address = net.JoinHostPort("localhost", port)
	}
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
}

// operationsKey is the annotation with the operations that a command calls.
const operationsKey = "operations"

// operations says which operations of the API a command calls.
func operations(c *cobra.Command, ids ...string) *cobra.Command {
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations[operationsKey] = strings.Join(ids, " ")
	return c
}

// The groups of commands in the help.
const (
	groupStart   = "start"
	groupMessage = "message"
	groupTenant  = "tenant"
	groupAccount = "account"
)

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "signalbox",
		Short: "Real-time messaging from the command line",
		Long: `signalbox does from the command line what the console does, and more: it publishes,
and it shows messages as they arrive.

  signalbox login
  signalbox listen chat
  signalbox publish chat hello world     # in another terminal`,
		Version: p.Version, SilenceErrors: true, SilenceUsage: true, DisableAutoGenTag: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return p.checkFlags() },
	}
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		hint := ""
		if strings.HasPrefix(err.Error(), "unknown shorthand flag") {
			hint = " (what begins with - and is no flag goes behind --)"
		}
		return usage("%s%s", err, hint)
	})
	f := root.PersistentFlags()
	f.StringVar(&p.flags.profile, "profile", "", "`name` of the profile with address, sign-in and defaults ($"+envProfile+")")
	f.StringVar(&p.flags.api, "api-url", "", "`address` of the control plane ($"+envAPI+"; of the profile; "+defaultAPI+")")
	f.StringVarP(&p.flags.tenant, "tenant", "t", "", "`tenant` by slug or id ($"+envTenant+"; that of \"tenants use\")")
	f.StringVar(&p.flags.account, "account", "", "`account` by id ($"+envAccount+"; that of \"accounts use\"; the only one)")
	f.StringVarP(&p.flags.output, "output", "o", formatTable, "`format` of what is printed: table or json")
	f.BoolVarP(&p.flags.quiet, "quiet", "q", false, "print only ids, or the secret or token where one was made")
	f.BoolVarP(&p.flags.yes, "yes", "y", false, "do it without asking")
	f.BoolVar(&p.flags.debug, "debug", false, "say on the standard error which requests are made")
	f.DurationVar(&p.flags.timeout, "timeout", 30*time.Second, "how `long` one request may take")
	f.StringVar(&p.flags.idempotency, "idempotency-key", "", "`key` of what is created, so that a repeat makes nothing twice")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{formatTable, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("tenant", p.completeTenants)
	_ = root.RegisterFlagCompletionFunc("profile", p.completeProfiles)

	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Signing in:"}, &cobra.Group{ID: groupMessage, Title: "Messages:"},
		&cobra.Group{ID: groupTenant, Title: "A tenant:"}, &cobra.Group{ID: groupAccount, Title: "An account and its people:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		groupStart: {p.signupCommand(), p.loginCommand(), p.logoutCommand(), p.whoamiCommand(), p.profilesCommand(), p.apiCommand(), p.mailboxCommand()},
		groupMessage: {
			p.publishCommand(), p.listenCommand(), p.historyCommand(), p.invokeCommand(),
			p.connectionsCommand(), p.usersCommand(), p.groupsCommand(), p.presenceCommand(),
		},
		groupTenant: {
			p.tenantsCommand(), p.keysCommand(), p.hubsCommand(), p.tokensCommand(), p.revocationsCommand(), p.issuersCommand(), p.domainsCommand(),
			p.webhookSecretsCommand(), p.deliveriesCommand(), p.limitsCommand(), p.usageCommand(),
		},
		groupAccount: {
			p.accountsCommand(), p.membersCommand(), p.invitationsCommand(), p.apiTokensCommand(), p.serviceTokensCommand(), p.userCommand(), p.planCommand(), p.budgetCommand(), p.plansCommand(), p.auditCommand(),
		},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(p.referenceCommand())
	return root
}

// group is a command that has commands and does nothing itself.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, SuggestionsMinimumDistance: 2, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(commands...)
	return c
}

// noSuchCommand refuses what is no command of a group, and names those that are like it.
func noSuchCommand(c *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	var others []string
	for _, other := range c.Commands() {
		if other.IsAvailableCommand() {
			others = append(others, other.Name())
		}
	}
	if like := c.SuggestionsFor(given[0]); len(like) > 0 {
		return usage("%s has no command %q; did you mean %s?", c.CommandPath(), given[0], strings.Join(like, " or "))
	}
	return usage("%s has no command %q: it has %s", c.CommandPath(), given[0], strings.Join(others, ", "))
}

// args makes mistakes in the number of arguments mistakes of usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if err := check(c, given); err != nil {
			return usage("%s\nUsage: %s", cmp.Or(misfit(c, given), err.Error()), c.UseLine())
		}
		return nil
	}
}

// misfit says by name which of a command's arguments are missing, or what is too much;
// "" = neither.
func misfit(c *cobra.Command, given []string) string {
	takes := strings.Fields(c.Use)[1:]
	needs := slices.DeleteFunc(slices.Clone(takes), func(name string) bool { return strings.HasPrefix(name, "[") })
	switch {
	case len(given) < len(needs)-1:
		return strings.Join(needs[len(given):], " and ") + " are missing"
	case len(given) < len(needs):
		return needs[len(given)] + " is missing"
	case len(given) > len(takes):
		return fmt.Sprintf("%q is an argument too many", given[len(takes)])
	}
	return ""
}

// names is args for commands whose arguments are names in addresses.
func names(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		for _, name := range given {
			if err := checkName(name); err != nil {
				return err
			}
		}
		return args(check)(c, given)
	}
}

func none() cobra.PositionalArgs            { return args(cobra.NoArgs) }
func exactly(n int) cobra.PositionalArgs    { return names(cobra.ExactArgs(n)) }
func atLeast(n int) cobra.PositionalArgs    { return args(cobra.MinimumNArgs(n)) }
func between(a, b int) cobra.PositionalArgs { return names(cobra.RangeArgs(a, b)) }

func (p *program) checkFlags() error {
	switch p.flags.output {
	case formatTable, formatJSON:
	default:
		return usage("--output is %q: accepted is %s or %s", p.flags.output, formatTable, formatJSON)
	}
	if p.flags.timeout <= 0 {
		return usage("--timeout is %v: accepted is more than 0", p.flags.timeout)
	}
	return nil
}

// userAgent names this program to the service, which shows it in lists of sessions.
func (p *program) userAgent() string {
	system := map[string]string{"linux": "Linux", "darwin": "Mac OS X", "windows": "Windows"}[runtime.GOOS]
	return "signalbox/" + cmp.Or(p.Version, "devel") + " (" + cmp.Or(system, runtime.GOOS) + ")"
}

// say tells a person something that is no result.
func (p *program) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.Err, format+"\n", args...) // nobody is left to be told
}

// confirm asks before something that can't be undone.
func (p *program) confirm(format string, args ...any) error {
	if p.flags.yes {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if !p.Terminal {
		return usage("%s: say --yes", what)
	}
	answer, err := p.ask(what + "? [y/N] ")
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}
