package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock makes this process the only one of its DEV_DIR. The kernel takes the lock
// back when the process ends in any way.
func lock(dir string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another `make dev`: stop it, or set DEV_DIR, DEV_PORT and DEV_EDGE_PORT", dir), file.Close())
	}
	return func() { _ = file.Close() }, nil
}
