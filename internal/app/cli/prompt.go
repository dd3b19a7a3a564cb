package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// maxLine bounds what is read of a line.
const maxLine = 1 << 20

// ask asks a person and returns the answer without blanks around it.
func (p *program) ask(question string) (string, error) {
	if _, err := io.WriteString(p.Err, question); err != nil {
		return "", err
	}
	return p.readLine()
}

// readLine reads a line of the standard input, byte by byte, so that what follows
// is left for whoever reads on.
func (p *program) readLine() (string, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxLine {
		n, err := p.In.Read(one)
		if n == 1 && one[0] == '\n' || errors.Is(err, io.EOF) && len(line) > 0 {
			return strings.TrimSpace(string(line)), nil
		}
		if n == 1 {
			line = append(line, one[0])
		}
		if err != nil {
			return "", err
		}
	}
	return "", bufio.ErrTooLong
}

// secret reads a secret: from the standard input where the command line says so, else
// by asking.
func (p *program) secret(fromInput bool, what, flag string) (string, error) {
	switch {
	case fromInput:
		s, err := p.readLine()
		if errors.Is(err, io.EOF) {
			return "", usage("the %s was to be on the standard input, which is empty", what)
		}
		return s, err
	case !p.Terminal:
		return "", usage("nobody can be asked for the %s: send it on the standard input and say --%s", what, flag)
	}
	return p.Secret(p.ctx, strings.ToUpper(what[:1])+what[1:]+": ")
}

const passwordFlag = "password-stdin"

// passwordFlagOf gives a command the flag with which a password comes on the standard
// input.
func passwordFlagOf(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, passwordFlag, false, "read the password from the standard input")
}

func (p *program) password(fromInput bool) (string, error) {
	return p.secret(fromInput, "password", passwordFlag)
}

// contextReader is an input whose reads give up when ctx ends; the one that waits
// stays behind until the process ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // that of the one run
	in  io.Reader
}

func (r contextReader) Read(to []byte) (int, error) {
	type got struct {
		n   int
		err error
	}
	done := make(chan got, 1)
	buffer := make([]byte, len(to))
	go func() {
		n, err := r.in.Read(buffer)
		done <- got{n, err}
	}()
	select {
	case g := <-done:
		return copy(to, buffer[:g.n]), g.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}
