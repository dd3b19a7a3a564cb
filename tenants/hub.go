package tenants

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Hub is a hub with settings of its own.
type Hub struct {
	Name      string // canonical
	Settings  HubSettings
	CreatedAt time.Time
	UpdatedAt time.Time
}

// The defaults and bounds of a hub's timings, in seconds.
const (
	DefaultKeepAliveSeconds     = 15
	DefaultClientTimeoutSeconds = 30
	maxKeepAliveSeconds         = 300
	maxClientTimeoutSeconds     = 600
	maxAllowedOrigins           = 50
)

// WithDefaults returns the settings with what is left out filled in.
func (s HubSettings) WithDefaults() HubSettings {
	if s.Handler == "" {
		s.Handler = HandlerAuto
	}
	if s.KeepAliveSeconds == 0 {
		s.KeepAliveSeconds = DefaultKeepAliveSeconds
	}
	if s.ClientTimeoutSeconds == 0 {
		s.ClientTimeoutSeconds = DefaultClientTimeoutSeconds
	}
	return s
}

// Validate returns an Invalid error that names every setting at fault.
func (s HubSettings) Validate() error {
	s = s.WithDefaults()
	var fields []fault.Field
	if !slices.Contains(Handlers, s.Handler) {
		fields = append(fields, fault.Field{Name: "handler", Message: "is not a handler", Accepted: acceptedHandlers()})
	}
	if s.KeepAliveSeconds < 1 || s.KeepAliveSeconds > maxKeepAliveSeconds {
		fields = append(fields, fault.Field{Name: "keep_alive_seconds", Message: "is out of range", Accepted: fmt.Sprintf("1 to %d", maxKeepAliveSeconds)})
	}
	if s.ClientTimeoutSeconds < 2*s.KeepAliveSeconds || s.ClientTimeoutSeconds > maxClientTimeoutSeconds {
		fields = append(fields, fault.Field{
			Name: "client_timeout_seconds", Message: "must be at least twice keep_alive_seconds",
			Accepted: fmt.Sprintf("%d to %d", 2*s.KeepAliveSeconds, maxClientTimeoutSeconds),
		})
	}
	if len(s.AllowedOrigins) > maxAllowedOrigins {
		fields = append(fields, fault.Field{Name: "allowed_origins", Message: "are too many", Accepted: fmt.Sprintf("at most %d", maxAllowedOrigins)})
	}
	for i, o := range s.AllowedOrigins {
		if _, ok := cleanOrigin(o); !ok {
			fields = append(fields, fault.Field{Name: fmt.Sprintf("allowed_origins.%d", i), Message: "is not an origin", Accepted: "scheme, host and perhaps port, as in https://app.example.com"})
		}
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// clean returns the settings with origins as browsers write them.
func (s HubSettings) clean() HubSettings {
	var origins []string
	for _, o := range s.AllowedOrigins {
		if o, ok := cleanOrigin(o); ok && !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	s.AllowedOrigins = origins
	return s
}

// cleanOrigin returns the ASCII serialization of an origin (RFC 6454, 6.2)
// without a default port.
func cleanOrigin(o string) (string, bool) {
	u, err := url.Parse(strings.ToLower(o))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*") {
		return "", false
	}
	host := u.Host
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host, true
}

func acceptedHandlers() string {
	names := make([]string, len(Handlers))
	for i, h := range Handlers {
		names[i] = string(h)
	}
	return strings.Join(names, ", ")
}
