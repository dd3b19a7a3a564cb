package accesstoken

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/signalbox/signalbox/tenants"
)

// connectionStringVersion is the one version that SDKs know.
const connectionStringVersion = "1.0"

var versionRule = regexp.MustCompile(`^1\.\d+(?:[\w-.]+)?$`)

// ConnectionString is what an SDK is configured with:
//
//	Endpoint=https://acme.example.com;AccessKey=…;Version=1.0;
type ConnectionString struct {
	// Endpoint is the tenant's public base URL, without a port and without a
	// slash at its end.
	Endpoint  string
	Port      int // 0 = the scheme's
	AccessKey tenants.Secret
}

// NewConnectionString makes the connection string for a tenant that is reached
// at base, for instance http://localhost:8888. SDKs drop a path, so a tenant
// needs a host, or a host and port, of its own.
func NewConnectionString(base string, key tenants.Secret) (ConnectionString, error) {
	u, err := parseEndpoint(base)
	if err != nil {
		return ConnectionString{}, err
	}
	if strings.Trim(u.Path, "/") != "" {
		return ConnectionString{}, errors.New("the endpoint of a connection string can't have a path")
	}
	c := ConnectionString{Endpoint: u.Scheme + "://" + hostWithoutPort(u), AccessKey: key}
	if u.Port() != "" {
		if c.Port, err = strconv.Atoi(u.Port()); err != nil || c.Port < 1 || c.Port > 65535 {
			return ConnectionString{}, errors.New("port must be 1 to 65535")
		}
	}
	return c, nil
}

// Reveal returns the whole string, with the key.
func (c ConnectionString) Reveal() string {
	port := ""
	if c.Port != 0 {
		port = fmt.Sprintf("Port=%d;", c.Port)
	}
	return fmt.Sprintf("Endpoint=%s;%sAccessKey=%s;Version=%s;", c.Endpoint, port, c.AccessKey.Reveal(), connectionStringVersion)
}

// BaseURL returns the endpoint with its port.
func (c ConnectionString) BaseURL() string {
	if c.Port == 0 {
		return c.Endpoint
	}
	return c.Endpoint + ":" + strconv.Itoa(c.Port)
}

// ParseConnectionString reads a connection string as Azure's SDKs do: parts
// between semicolons, names in any case and each at most once, values from the
// first equals sign on. Names that it doesn't know are ignored.
func ParseConnectionString(s string) (ConnectionString, error) {
	values := make(map[string]string)
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := values[name]; twice {
			return ConnectionString{}, fmt.Errorf("connection string has %s twice", name)
		}
		values[name] = strings.TrimSpace(value)
	}
	if values["endpoint"] == "" || values["accesskey"] == "" {
		return ConnectionString{}, errors.New("connection string needs Endpoint and AccessKey")
	}
	if v, ok := values["version"]; ok && !versionRule.MatchString(v) {
		return ConnectionString{}, errors.New("connection string must have a Version 1.x")
	}
	u, err := parseEndpoint(strings.TrimRight(values["endpoint"], "/"))
	if err != nil {
		return ConnectionString{}, fmt.Errorf("connection string: %w", err)
	}
	if p, ok := values["port"]; ok {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return ConnectionString{}, errors.New("connection string: Port must be 1 to 65535")
		}
		u.Host = hostWithoutPort(u) + ":" + strconv.Itoa(n)
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host}
	return NewConnectionString(base.String(), tenants.Secret(values["accesskey"]))
}
