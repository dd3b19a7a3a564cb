package httpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a key pair in two PEM files. It is read again when either file
// has changed, so that renewals need no restart.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	version [2]fileVersion // of what was last read, good or not
	current *tls.Certificate
}

// fileVersion tells one content of a file from the next.
type fileVersion struct {
	modified time.Time
	size     int64
}

// FileTLS returns the TLS configuration of a public server whose certificate
// and key are in PEM files; nil when both names are empty. It offers TLS 1.2 and
// newer and HTTP/1.1 alone: WebSockets need it. When renewed files can't be used,
// the error is logged and the last good certificate is kept.
func FileTLS(certFile, keyFile string, logger *slog.Logger) (*tls.Config, error) {
	if certFile == "" && keyFile == "" {
		return nil, nil
	}
	if certFile == "" || keyFile == "" {
		return nil, errors.New("a TLS certificate needs both its file and the file of its key")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := c.read(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}, nil
}

// get returns the certificate for a handshake, read anew if its files changed.
func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(); err != nil {
		c.logger.Error("renewed TLS certificate can't be used, the old one is kept", "error", err)
	}
	return c.current
}

// read loads the pair unless this version of the files was read before.
func (c *certificate) read() error {
	var version [2]fileVersion
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			if c.current != nil {
				return nil // between removal and renewal
			}
			return fmt.Errorf("read TLS certificate: %w", err)
		}
		version[i] = fileVersion{info.ModTime(), info.Size()}
	}
	if version == c.version {
		return nil
	}
	c.version = version
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read TLS certificate: %w", err)
	}
	c.current = &pair
	return nil
}
