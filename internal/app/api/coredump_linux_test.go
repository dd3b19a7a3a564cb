package api

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// SEC-43: the program writes no core dump, nor shows its environment to its user, before
// it uses any of its secrets: a database that accepts and says nothing holds it there.
func TestProgram_writes_no_core_dump_SEC_43(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "api")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/signalbox/signalbox/cmd/api").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	database, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	asked := make(chan net.Conn, 1)
	go func() {
		if conn, err := database.Accept(); err == nil {
			asked <- conn
		}
	}()
	c := testConfig(t, fmt.Sprintf("postgres://ada:secret@%s/none?sslmode=disable", database.Addr()), "redis://127.0.0.1:1")
	said := new(syncBuffer)
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(),
		"DATABASE_URL="+c.DatabaseURL, "REDIS_URL="+c.RedisURL, "SIGNALBOX_SEALING_KEY="+c.SealingKey, "SIGNALBOX_FLEET_SECRET="+c.FleetSecret, "SIGNALBOX_DEV=1",
		"SIGNALBOX_CONSOLE_URL="+c.ConsoleURL, "SIGNALBOX_SERVICE_URL="+c.ServiceURL, "SIGNALBOX_API_ADDR="+c.Addr, "SIGNALBOX_API_ADMIN_ADDR="+c.AdminAddr, "SIGNALBOX_API_INTERNAL_ADDR="+c.InternalAddr)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	select {
	case conn := <-asked:
		defer conn.Close()
	case err := <-ended:
		ended <- err
		t.Fatalf("it ended with %v: %s", err, said)
	case <-time.After(bound):
		t.Fatalf("it asks no database: %s", said)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
		t.Errorf("a crash would write down its memory:\n%s", limits)
	}
	if os.Getuid() != 0 {
		if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)); err == nil {
			t.Error("other processes of its user can read its environment")
		}
	}
}
