package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/internal/testenv"
)

// apiMode makes this test binary an api, which can be killed.
const apiMode = "SIGNALBOX_TEST_API"

func playAPI() error {
	c, err := ReadConfig()
	if err != nil {
		return err
	}
	ctx := context.Background()
	signals, err := telemetry.Start(ctx, telemetry.Config{Service: "api"})
	if err != nil {
		return err
	}
	a, err := open(ctx, c, telemetry.NewLogger(os.Stderr, telemetry.LogConfig{}), os.Stderr, signals)
	if err != nil {
		return err
	}
	fmt.Println("http://" + a.servers[0].Addr())
	return a.run(ctx)
}

// TestMail_of_a_killed_api_is_sent kills an api that has queued a mail and is sending
// it, before the mail server has it or before it has said so: the next api sends it, so
// that it comes once, or twice with one Message-ID, and is never lost.
func TestMail_of_a_killed_api_is_sent(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]bool{"before the server has it": false, "before the server says so": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startMailServer(t, false)
			addr, sending := server.addr, make(chan struct{}, 1)
			if taken {
				hold := make(chan struct{})
				t.Cleanup(func() { close(hold) })
				var again atomic.Bool
				server.hold = func() {
					if !again.Swap(true) { // the api that sends it is killed
						sending <- struct{}{}
						<-hold
					}
				}
			} else {
				addr = silence(t, sending)
			}
			c := testConfig(t, testenv.Postgres(t), testenv.Redis(t))
			c.Dev = false
			c.SMTPURL, c.SMTPCAFile, c.MailFrom = "smtp://user:hunter2@"+addr, server.caFile, "Signalbox <no-reply@example.com>"
			killed, url := startKillable(t, c)
			res, err := http.Post(url+"/v1/signup", "application/json", strings.NewReader(`{"email":"ada@example.com","password":"correct horse"}`))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusAccepted {
				t.Fatalf("sign-up answered %d", res.StatusCode)
			}
			select {
			case <-sending:
			case <-time.After(bound):
				t.Fatal("nothing is sent")
			}
			if err := killed.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = killed.Wait()
			had := len(server.all())
			c.SMTPURL = "smtp://user:hunter2@" + server.addr
			db, err := pgx.Connect(t.Context(), c.DatabaseURL)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close(context.Background()) })
			// The queue gives what a dead process had to others after rescueAfter: that passes now.
			for _, sql := range []string{"UPDATE river_job SET attempted_at = attempted_at - interval '1 hour' WHERE kind = 'send_mail' AND state = 'running'", "DELETE FROM river_leader"} {
				if _, err := db.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			next := start(t, c)
			// The queue elects who looks for such work, and looks every few seconds.
			for deadline := time.Now().Add(4 * bound); ; time.Sleep(20 * time.Millisecond) {
				var unsent int
				if err := next.app.core.pool.QueryRow(everywhere(t), "SELECT count(*) FROM mail_outbox WHERE sent_at IS NULL").Scan(&unsent); err != nil {
					t.Fatal(err)
				}
				if unsent == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the mail is not sent")
				}
			}
			all := server.all()
			if len(all) != had+1 || taken != (had == 1) {
				t.Fatalf("the server had %d mails when the api was killed, and has %d", had, len(all))
			}
			first, _ := all[0].parts(t)
			last, texts := all[had].parts(t)
			if all[had].to != "ada@example.com" || !strings.Contains(texts["text/plain"], "/confirm-sign-up?token=") || first.Get("Message-Id") != last.Get("Message-Id") {
				t.Errorf("came to %s, with %q and %q: %v", all[had].to, first.Get("Message-Id"), last.Get("Message-Id"), texts)
			}
		})
	}
}

// silence is a mail server that takes connections and never says a word.
func silence(t *testing.T, came chan<- struct{}) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			select {
			case came <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// startKillable starts an api in a process of its own and returns its URL.
func startKillable(t *testing.T, c Config) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), apiMode+"=1", "DATABASE_URL="+c.DatabaseURL, "REDIS_URL="+c.RedisURL,
		"SIGNALBOX_API_ADDR="+c.Addr, "SIGNALBOX_API_ADMIN_ADDR="+c.AdminAddr, "SIGNALBOX_API_INTERNAL_ADDR="+c.InternalAddr, "SIGNALBOX_OPERATOR_ADDR=off",
		"SIGNALBOX_FLEET_SECRET="+c.FleetSecret, "SIGNALBOX_SEALING_KEY="+c.SealingKey, "SIGNALBOX_CONSOLE_URL="+c.ConsoleURL, "SIGNALBOX_SERVICE_URL="+c.ServiceURL,
		"SIGNALBOX_SMTP_URL="+c.SMTPURL, "SIGNALBOX_SMTP_CA_FILE="+c.SMTPCAFile, "SIGNALBOX_MAIL_FROM="+c.MailFrom, "SIGNALBOX_SIGNUPS_PER_HOUR="+strconv.Itoa(c.SignUpsPerHour))
	said := new(syncBuffer)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said.String())
		}
	})
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it mostly is
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("the api doesn't say where it is: %v: %s", err, said.String())
	}
	return cmd, strings.TrimSpace(line)
}
