package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/testenv"
)

// mailMode makes this test binary a mail server on the address that it holds.
const mailMode = "SIGNALBOX_TEST_SMTP"

// tookMail is a line of a mail server's process for each mail that it took.
type tookMail struct {
	To     string
	Secure bool
	Raw    []byte
}

// playMail serves SMTP with STARTTLS; the certificate is that of each such process.
func playMail() error {
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	m, server := newMailServer(&tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12})
	listener, err := net.Listen("tcp", os.Getenv(mailMode))
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		for r := range m.came {
			_ = json.NewEncoder(os.Stdout).Encode(tookMail{r.to, r.secure, r.raw}) // read until this process is killed
		}
	}()
	return server.Serve(listener)
}

// startMailProcess starts a mail server and returns where it is, what it says of its
// mails, and what kills it.
func startMailProcess(t *testing.T, addr string) (at string, mails *json.Decoder, kill func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	process := exec.CommandContext(ctx, os.Args[0])
	process.Env = append(os.Environ(), mailMode+"="+addr)
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	kill = func() {
		cancel()
		<-ended
	}
	t.Cleanup(kill)
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	mails = json.NewDecoder(said)
	// Waiting closes the pipe: only the end of the process lets it begin.
	go func() {
		defer close(ended)
		<-ctx.Done()
		_ = process.Wait() // killed
	}()
	if err != nil {
		t.Fatalf("the mail server doesn't serve: %v", err)
	}
	return strings.TrimSpace(line), mails, kill
}

// A mail server that is killed and comes back gets what was written meanwhile.
func TestMail_goes_to_the_process_of_a_server(t *testing.T) {
	t.Parallel()
	addr, mails, kill := startMailProcess(t, "127.0.0.1:0")
	c := testConfig(t, testenv.Postgres(t), testenv.Redis(t))
	c.Dev = false
	c.SMTPURL, c.SMTPCAFile, c.MailFrom = "smtp://user:hunter2@"+addr, startMailServer(t, false).caFile, "Signalbox <no-reply@example.com>"
	r := start(t, c)
	signUp := func(email string) {
		t.Helper()
		res, err := http.Post(r.url+"/v1/signup", "application/json", strings.NewReader(fmt.Sprintf(`{"email":%q,"password":"correct horse"}`, email)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("sign-up answered %d", res.StatusCode)
		}
	}
	comes := func(email string) {
		t.Helper()
		var m tookMail
		if err := mails.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if _, texts := (received{raw: m.Raw}).parts(t); m.To != email || !m.Secure || !strings.Contains(texts["text/plain"], c.ConsoleURL+"/confirm-sign-up?token=") {
			t.Errorf("got a mail to %s, encrypted: %t: %v", m.To, m.Secure, texts)
		}
	}
	signUp("ada@example.com")
	comes("ada@example.com")
	eventually(t, func() string { // or it would come again
		var unsent int
		if err := r.app.core.pool.QueryRow(t.Context(), "SELECT count(*) FROM mail_outbox WHERE sent_at IS NULL").Scan(&unsent); err != nil || unsent > 0 {
			return fmt.Sprintf("the mail is not known to be sent: %v", err)
		}
		return ""
	})

	kill()
	signUp("bob@example.com")
	eventually(t, func() string {
		var tried int
		if err := r.app.core.pool.QueryRow(t.Context(), "SELECT count(*) FROM river_job WHERE kind = 'send_mail' AND cardinality(errors) > 0").Scan(&tried); err != nil || tried == 0 {
			return fmt.Sprintf("sending the mail was not tried: %v", err)
		}
		return ""
	})
	_, mails, kill = startMailProcess(t, addr)
	watch := time.AfterFunc(4*bound, kill) // reading ends with the process
	defer watch.Stop()
	comes("bob@example.com")
}
