package fleet

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// memberName is the DNS name in every certificate of the fleet. Processes are
// reached by changing addresses, so a peer is known by holding a certificate of
// the fleet's authority, not by where it listens.
const memberName = "member.fleet.internal"

// Certificates live for an hour and are replaced at half of it. They begin in the
// past and end late enough for members whose clocks are clockSkew apart: two of which
// one is five minutes ahead and the other five behind, and some more.
const (
	certificateLife = time.Hour
	clockSkew       = 15 * time.Minute
)

// authority issues this process's certificates. Key and certificate are the
// same in each process of the fleet: ed25519 signs deterministically and
// nothing else in the certificate varies.
type authority struct {
	key  ed25519.PrivateKey
	cert *x509.Certificate
}

func newAuthority(seed []byte) (*authority, error) {
	key := ed25519.NewKeyFromSeed(seed)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "fleet authority"},
		NotBefore:             time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key: key, cert: cert}, nil
}

// issue makes a certificate for a fresh key. name says which process it is, for
// people who look at it.
func (a *authority) issue(name string, now time.Time) (*tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make certificate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make certificate serial: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{memberName},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read issued certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, nil
}

// identity is one side's certificate, renewed when it is asked for.
type identity struct {
	ca   *authority
	name string
	now  func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	renewAt time.Time
}

func (i *identity) certificate() (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	if i.current != nil && now.Before(i.renewAt) {
		return i.current, nil
	}
	c, err := i.ca.issue(i.name, now)
	if err != nil {
		return nil, err
	}
	i.current, i.renewAt = c, now.Add(certificateLife/2)
	return c, nil
}

// ServerTLS returns the configuration of an internal listener: TLS 1.3, and
// only members of the fleet get through the handshake. name appears in the
// certificate ("edge", "api").
func (f *Fleet) ServerTLS(name string) *tls.Config {
	id := &identity{ca: f.ca, name: name, now: time.Now}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  f.trusted,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return id.certificate()
		},
	}
}

// ClientTLS returns the configuration for calling internal listeners of the
// fleet at any address: TLS 1.3, shows a certificate and accepts only members.
func (f *Fleet) ClientTLS() *tls.Config {
	id := &identity{ca: f.ca, name: "client", now: time.Now}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    f.trusted,
		ServerName: memberName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.certificate()
		},
	}
}
