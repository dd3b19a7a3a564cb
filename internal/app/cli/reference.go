package cli

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The lines of docs/cli.md between which "reference" writes.
const (
	referenceBegin = "<!-- Made by make gen from internal/app/cli. -->"
	referenceEnd   = "<!-- End of what make gen makes. -->"
)

// referenceCommand writes the part of docs/cli.md that is made of the commands.
func (p *program) referenceCommand() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "reference FILE", Short: "Write the reference of all commands into docs/cli.md", Hidden: true, Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			page, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			before, rest, ok := strings.Cut(string(page), referenceBegin+"\n")
			_, after, ended := strings.Cut(rest, referenceEnd)
			if !ok || !ended {
				return usage("%s has no lines %q and %q", args[0], referenceBegin, referenceEnd)
			}
			if to == "" {
				to = args[0]
			}
			return os.WriteFile(to, []byte(before+referenceBegin+"\n\n"+reference(c.Root())+referenceEnd+after), 0o644) //nolint:gosec // a page for everybody
		},
	}
	c.Flags().StringVar(&to, "to", "", "another `file` to write to")
	return c
}

// reference is the page's part.
func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("### Exit statuses\n\n| status | |\n|---|---|\n")
	for _, e := range exits {
		fmt.Fprintf(&b, "| %d | %s |\n", e.status, e.meaning)
	}
	b.WriteString("\n### Flags of all commands\n\n")
	writeFlags(&b, root.PersistentFlags())
	walk(root, func(c *cobra.Command) {
		if c == root {
			return
		}
		if c.HasAvailableSubCommands() {
			fmt.Fprintf(&b, "### %s\n\n%s.\n\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
			if !c.HasParent() || c.Example == "" {
				return
			}
		}
		fmt.Fprintf(&b, "#### `%s`\n\n", strings.TrimSuffix(c.UseLine(), " [flags]"))
		switch {
		case c.Long != "":
			fmt.Fprintf(&b, "%s\n\n", escaped(c.Long))
		case !c.HasAvailableSubCommands():
			fmt.Fprintf(&b, "%s.\n\n", strings.TrimSuffix(c.Short, "."))
		}
		writeFlags(&b, c.LocalNonPersistentFlags())
		lines := strings.Split(c.Example, "\n")
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "  ")
		}
		fmt.Fprintf(&b, "```sh\n%s\n```\n\n", strings.Join(lines, "\n"))
		if ids := operationsOf(c); len(ids) > 0 {
			fmt.Fprintf(&b, "Operations: `%s`.\n\n", strings.Join(ids, "`, `"))
		}
	})
	b.WriteString("### Operations without a command\n\n`signalbox api` reaches them, as it does all others.\n\n| operation | it |\n|---|---|\n")
	for _, id := range slices.Sorted(maps.Keys(noCommand)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", id, noCommand[id])
	}
	b.WriteString("\n")
	return b.String()
}

// escaped keeps words that begin with $ or < from being taken for something else.
func escaped(s string) string { return strings.NewReplacer("<", "&lt;", "\n  ", "\n    ").Replace(s) }

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name, use := pflag.UnquoteUsage(f)
		text := "`--" + f.Name
		if f.Shorthand != "" {
			text = "`-" + f.Shorthand + "`, " + text
		}
		if name != "" && f.Value.Type() != "bool" {
			text += " " + name
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" && f.DefValue != "0s" {
			use += "; " + f.DefValue + " when left out"
		}
		fmt.Fprintf(b, "- %s`: %s\n", text, use)
	})
	b.WriteString("\n")
}

// walk visits a command and all below it that are shown, in the order of their names.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, below := range c.Commands() {
		if !below.Hidden && below.Name() != "help" && below.Name() != "completion" {
			walk(below, visit)
		}
	}
}

// operationsOf lists the operations of the API that a command calls.
func operationsOf(c *cobra.Command) []string { return strings.Fields(c.Annotations[operationsKey]) }
