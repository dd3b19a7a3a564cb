package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// nobody is the uid and gid of last resort for a server started by root.
const nobody = 65534

// unprivileged is the user that Postgres runs as, because it refuses root.
// The zero value is this process's own user.
type unprivileged struct {
	uid, gid int // 0 = this process's own
}

// serverUser is the user postgres, else nobody, when this process is root.
func serverUser() (unprivileged, error) {
	if os.Geteuid() != 0 {
		return unprivileged{}, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return unprivileged{uid: nobody, gid: nobody}, nil //nolint:nilerr // no such user is an answer
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return unprivileged{}, fmt.Errorf("read uid of %s: %w", account.Username, err)
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return unprivileged{}, fmt.Errorf("read gid of %s: %w", account.Username, err)
	}
	return unprivileged{uid: uid, gid: gid}, nil
}

// attributes make a command run as the user.
func (u unprivileged) attributes() *syscall.SysProcAttr {
	if u.uid == 0 {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.gid)}}
}

// own gives a file or directory to the user.
func (u unprivileged) own(path string) error {
	if u.uid == 0 {
		return nil
	}
	if err := os.Chown(path, u.uid, u.gid); err != nil {
		return fmt.Errorf("give %s to the server's user: %w", path, err)
	}
	return nil
}

// makeDir makes a directory that is the user's alone.
func (u unprivileged) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make Postgres directory: %w", err)
	}
	if parent := filepath.Dir(dir); !u.reaches(parent) {
		return fmt.Errorf("the unprivileged user of Postgres can't reach %s: choose another directory", parent)
	}
	return u.own(dir)
}

// reaches tells whether the user may pass through dir and all above it.
func (u unprivileged) reaches(dir string) bool {
	if u.uid == 0 {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode()&0o001 == 0 && (!ok || int(owner.Uid) != u.uid) {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// reachableBinaries returns bin, or a copy of its package under /var/cache when
// the user can't get there (a checkout in root's home).
func (u unprivileged) reachableBinaries(bin string) (string, error) {
	if u.reaches(bin) {
		return bin, nil
	}
	root := filepath.Dir(bin)
	copied := filepath.Join("/var/cache/signalbox", "postgres-"+shortHash(root))
	if hasServer(filepath.Join(copied, "bin")) {
		return filepath.Join(copied, "bin"), linkLibraries(copied)
	}
	unfinished := copied + ".new"
	if err := errors.Join(os.RemoveAll(unfinished), os.RemoveAll(copied)); err != nil {
		return "", fmt.Errorf("copy Postgres to where its user can reach it: %w", err)
	}
	if err := copyTree(root, unfinished); err != nil {
		return "", fmt.Errorf("copy Postgres to where its user can reach it: %w", err)
	}
	if err := os.Rename(unfinished, copied); err != nil {
		return "", fmt.Errorf("copy Postgres to where its user can reach it: %w", err)
	}
	return filepath.Join(copied, "bin"), linkLibraries(copied)
}

// ReachableDir returns dir when the user of a Postgres started by this process
// can reach it, else a directory of the same meaning under /var/lib: root's
// home, for one, is closed to everybody else.
func ReachableDir(dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find a directory for Postgres: %w", err)
	}
	u, err := serverUser()
	if err != nil {
		return "", err
	}
	existing := absolute
	for {
		if _, err := os.Stat(existing); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		existing = filepath.Dir(existing)
	}
	if u.reaches(existing) {
		return absolute, nil
	}
	return filepath.Join("/var/lib/signalbox", shortHash(absolute)), nil
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}
