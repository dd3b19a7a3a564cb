// Package connectionstring reads the connection strings of Azure SignalR Service,
// which say where a tenant is and with which key.
package connectionstring

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint is what a connection string says (ConnectionStringParser of the Azure
// SignalR SDK). String and friends never show the key.
type Endpoint struct {
	Audience string // scheme, host without port, path; ends with a slash
	Client   string // base of the URLs that clients get; ends with a slash
	Server   string // base of the URL for server connections and REST; ends with a slash
	Key      []byte
}

// String shows where the endpoint is.
func (e *Endpoint) String() string { return e.Server }

// GoString keeps the key out of what %#v prints.
func (e *Endpoint) GoString() string { return e.Server }

// Parse reads
// Endpoint=https://…;AccessKey=…;Version=1.0;[Port=…;][ClientEndpoint=…;][ServerEndpoint=…].
func Parse(s string) (*Endpoint, error) {
	values := map[string]string{}
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("connection string: %s is there twice", name)
		}
		values[name] = strings.TrimSpace(value)
	}
	if auth := values["authtype"]; strings.HasPrefix(strings.ToLower(auth), "a") && !strings.EqualFold(auth, "accesskey") {
		return nil, fmt.Errorf("connection string: AuthType is %q, only access keys are supported", auth)
	}
	base, err := parseURL("Endpoint", values["endpoint"])
	if err != nil {
		return nil, err
	}
	if values["accesskey"] == "" {
		return nil, errors.New("connection string: AccessKey is missing")
	}
	if v := values["version"]; v != "" && v != "1" && !strings.HasPrefix(v, "1.") {
		return nil, fmt.Errorf("connection string: Version is %q, want 1.x", v)
	}
	e := &Endpoint{Audience: base.Scheme + "://" + hostname(base) + base.Path, Key: []byte(values["accesskey"])}
	if text := values["port"]; text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("connection string: Port is %q, want 1 to 65535", text)
		}
		base.Host = net.JoinHostPort(base.Hostname(), text)
	}
	e.Client, e.Server = base.String(), base.String()
	for name, target := range map[string]*string{"ClientEndpoint": &e.Client, "ServerEndpoint": &e.Server} {
		text := values[strings.ToLower(name)]
		if text == "" {
			continue
		}
		u, err := parseURL(name, text)
		if err != nil {
			return nil, err
		}
		*target = u.String()
	}
	return e, nil
}

// hostname is the host without its port, as it stands in a URL.
func hostname(u *url.URL) string {
	if host := u.Hostname(); strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return u.Hostname()
}

func parseURL(name, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("connection string: %s must be an http or https URL", name)
	}
	u.Path = strings.TrimRight(u.Path, "/") + "/"
	return u, nil
}
