package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/internal/embedded"
)

// The private servers by the names of their pids.
const (
	postgresName = "postgres"
	redisName    = "redis"
)

// server is a private Postgres or Redis.
type server struct {
	name    string
	process *embedded.Process
	// restart starts it again on the same data and port.
	restart func(context.Context) (*embedded.Process, error)
}

// startServers starts Postgres and Redis, or takes those of the environment.
func (w *world) startServers(ctx context.Context) error {
	w.databaseURL, w.redisURL = w.config.DatabaseURL, w.config.RedisURL
	var group errgroup.Group
	var redis, postgres *server
	if w.databaseURL == "" {
		group.Go(func() (err error) {
			postgres, err = w.startPostgres(ctx)
			return err
		})
	}
	if w.redisURL == "" {
		group.Go(func() (err error) {
			redis, err = w.startRedis(ctx)
			return err
		})
	}
	err := group.Wait()
	for _, s := range []*server{redis, postgres} {
		if s != nil {
			w.servers = append(w.servers, s)
			w.started(s.name, s.process.PID())
		}
	}
	return err
}

func (w *world) startPostgres(ctx context.Context) (*server, error) {
	dir, err := w.postgresDir()
	if err != nil {
		return nil, err
	}
	config := embedded.PostgresConfig{Dir: dir, Package: w.config.PostgresPackage}
	first, err := embedded.StartPostgres(ctx, w.guard, config)
	if err != nil {
		return nil, err
	}
	w.databaseURL, config.Port = first.URL(embedded.Database), first.Port()
	return &server{name: postgresName, process: first.Process, restart: func(ctx context.Context) (*embedded.Process, error) {
		again, err := embedded.StartPostgres(ctx, w.guard, config)
		if err != nil {
			return nil, err
		}
		return again.Process, nil
	}}, nil
}

func (w *world) startRedis(ctx context.Context) (*server, error) {
	config := embedded.RedisConfig{Dir: filepath.Join(w.config.Dir, "redis")}
	first, err := embedded.StartRedis(ctx, w.guard, config)
	if err != nil {
		return nil, err
	}
	w.redisURL, config.Port = first.URL(), first.Port()
	return &server{name: redisName, process: first.Process, restart: func(ctx context.Context) (*embedded.Process, error) {
		again, err := embedded.StartRedis(ctx, w.guard, config)
		if err != nil {
			return nil, err
		}
		return again.Process, nil
	}}, nil
}

// keep starts the server again whenever it ends, until ctx ends. It does not
// stop it: the product's processes want it until they have stopped.
func (s *server) keep(ctx context.Context, w *world) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.process.Done():
		}
		w.logger.Warn("server ended, starting it again", "name", s.name, "pid", s.process.PID(), "end", describeEnd(s.process.Err()))
		for delay := restartDelay; ; delay = min(2*delay, restartDelayMost) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(delay):
			}
			// Started to the end even when ctx ends meanwhile, so that there is
			// something to stop.
			again, err := s.restart(context.WithoutCancel(ctx))
			if err == nil {
				s.process = again
				w.started(s.name, again.PID())
				break
			}
			w.logger.Warn("server does not start", "name", s.name, "error", err)
		}
	}
}

// postgresDir is where Postgres' data lies. Data outside DEV_DIR that belongs to
// a DEV_DIR that was deleted is deleted too: its secrets are gone.
func (w *world) postgresDir() (string, error) {
	inside := filepath.Join(w.config.Dir, "postgres")
	dir, err := embedded.ReachableDir(inside)
	if err != nil || dir == inside {
		return dir, err
	}
	owner := filepath.Join(dir, "owner")
	if id, err := os.ReadFile(owner); err == nil && string(id) == w.secrets.ID {
		return dir, nil
	}
	w.logger.Info("database lies where its user can reach it", "directory", dir)
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("remove the data of a deleted DEV_DIR: %w", err)
	}
	// Everybody may pass through what is above dir.
	if err := errors.Join(os.MkdirAll(filepath.Dir(dir), 0o711), os.MkdirAll(dir, 0o700)); err != nil {
		return "", fmt.Errorf("make Postgres directory: %w", err)
	}
	if err := os.WriteFile(owner, []byte(w.secrets.ID), 0o600); err != nil {
		return "", fmt.Errorf("mark Postgres directory: %w", err)
	}
	return dir, nil
}
