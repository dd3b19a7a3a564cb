// Command hubgen writes strongly typed clients for a hub of package hubs.
//
// From the interface that says what the server may call on its clients it writes
// a Go proxy, and from the same interface and the hub's type a TypeScript class
// for @microsoft/signalr. When the two sides disagree, one of them doesn't
// compile. Run it by go generate, from the file that declares both, or after
// "go get -tool" as "go tool hubgen":
//
//	//go:generate go run github.com/signalbox/signalbox/hubs/hubgen -hub Chat -client ChatClient -go chat_client.go -ts hub.ts
//
// Methods of the client interface take a context and arguments and return an
// error, or a value and an error where the client answers:
//
//	type ChatClient interface {
//		Message(ctx context.Context, name, text string) error
//		Confirm(ctx context.Context, question string) (bool, error)
//	}
//
// What clients know the hub's methods by is read from the call of hubs.Register,
// so that its options Rename and Hide are in force on both sides. They must be
// written there, with constant names. The call is looked for in the package of the
// hub, or in the one that -register names.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "hubgen:", err)
		}
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	dir, hub, client string
	register         string // folder of the package that calls hubs.Register
	goFile, tsFile   string
	binary           bool
}

func run(args []string, stderr io.Writer) error {
	var c config
	f := flag.NewFlagSet("hubgen", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.dir, "dir", ".", "the `folder` of the package")
	f.StringVar(&c.hub, "hub", "", "the hub's `type`, needed for -ts")
	f.StringVar(&c.client, "client", "", "the `interface` of what the server calls")
	f.StringVar(&c.goFile, "go", "", "the Go `file` to write")
	f.StringVar(&c.tsFile, "ts", "", "the TypeScript `file` to write")
	f.StringVar(&c.register, "register", "", "the `folder` of the package that registers the hub, when it is another one")
	f.BoolVar(&c.binary, "messagepack", false, "write TypeScript for MessagePack: bytes are Uint8Array and times are Date, not string")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	case c.goFile == "" && c.tsFile == "":
		return errors.New("nothing to write: give -go, -ts or both")
	case c.goFile != "" && c.client == "":
		return errors.New("-go needs -client")
	case c.tsFile != "" && c.hub == "":
		return errors.New("-ts needs -hub")
	}
	m, err := load(&c)
	if err != nil {
		return err
	}
	if c.goFile != "" {
		code, err := m.golang()
		if err != nil {
			return err
		}
		if err := write(c.goFile, code); err != nil {
			return err
		}
	}
	if c.tsFile != "" {
		code, err := m.typescript(c.binary)
		if err != nil {
			return err
		}
		return write(c.tsFile, code)
	}
	return nil
}

// write writes source code, for everybody to read.
func write(path string, code []byte) error {
	return os.WriteFile(path, code, 0o644) //nolint:gosec // it is no secret
}
