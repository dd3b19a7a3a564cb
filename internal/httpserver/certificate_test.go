package httpserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/httpserver"
)

// writePair puts a fresh certificate for name into the two files.
func writePair(t *testing.T, certFile, keyFile, name string, modified time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), modified)
	writeFile(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), modified)
}

func writeFile(t *testing.T, name string, data []byte, modified time.Time) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, modified, modified); err != nil {
		t.Fatal(err)
	}
}

func TestFileTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	logger := slog.New(slog.DiscardHandler)
	if _, err := httpserver.FileTLS(certFile, keyFile, logger); err == nil {
		t.Fatal("files that don't exist were taken")
	}
	if _, err := httpserver.FileTLS(certFile, "", logger); err == nil {
		t.Fatal("a certificate without key was taken")
	}
	if config, err := httpserver.FileTLS("", "", logger); config != nil || err != nil {
		t.Fatalf("no files: got %v, %v", config, err)
	}

	began := time.Now()
	writePair(t, certFile, keyFile, "first", began)
	config, err := httpserver.FileTLS(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpserver.Listen(t.Context(), httpserver.Config{
		Name: "test", Addr: "127.0.0.1:0", TLS: config, Logger: logger,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	// dial makes one handshake as a client that offers HTTP/2, too.
	dial := func(most uint16) (name, protocol string, err error) {
		conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{
			InsecureSkipVerify: true, // the test looks at the certificate itself
			MaxVersion:         most, NextProtos: []string{"h2", "http/1.1"},
		})
		if err != nil {
			return "", "", err
		}
		defer conn.Close()
		state := conn.ConnectionState()
		return state.PeerCertificates[0].Subject.CommonName, state.NegotiatedProtocol, nil
	}
	want := func(step, name string) {
		t.Helper()
		if got, protocol, err := dial(0); err != nil || got != name || protocol != "http/1.1" {
			t.Fatalf("%s: certificate %q, protocol %q, %v; want %q, http/1.1", step, got, protocol, err, name)
		}
	}
	want("at start", "first")
	if _, _, err := dial(tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 was accepted (SEC-45)")
	}
	writePair(t, certFile, keyFile, "second", began.Add(time.Minute))
	want("renewed", "second")
	writeFile(t, certFile, []byte("no certificate"), began.Add(2*time.Minute))
	want("renewed badly", "second")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	want("key removed", "second")
	writePair(t, certFile, keyFile, "third", began.Add(3*time.Minute))
	want("renewed well", "third")
}
