package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// errLocked means that another process holds the lock.
var errLocked = errors.New("locked by another process")

// lock takes the lock that the file stands for, or returns errLocked. The kernel
// takes the lock back when the process ends in any way.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errLocked, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// lockDir makes this process the only one of its DEV_DIR.
func lockDir(dir string) (unlock func(), err error) {
	unlock, err = lock(filepath.Join(dir, "lock"))
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%s is in use by another `make dev`: stop it, or set DEV_DIR, DEV_PORT and DEV_EDGE_PORT", dir)
	}
	return unlock, err
}
