package tenants

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// Hub is a hub with its settings. Without settings of its own it is implicit: its
// name works with the defaults.
type Hub struct {
	Name      string // canonical
	Settings  HubSettings
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Implicit tells whether the hub has no settings of its own.
func (h Hub) Implicit() bool { return h.CreatedAt.IsZero() }

// The defaults and bounds of a hub's timings, in seconds.
const (
	DefaultKeepAliveSeconds     = 15
	DefaultClientTimeoutSeconds = 30
	maxKeepAliveSeconds         = 300
	maxClientTimeoutSeconds     = 600
	maxAllowedOrigins           = 50
	maxOriginLength             = 300 // bytes
)

const (
	// MaxPartitions is in how many streams a hub may be kept.
	MaxPartitions = 16
	// maxPartitioned is of how many hubs of a tenant that may ever have been more than
	// one: it is remembered when the hub's settings are gone.
	maxPartitioned = 500
)

// maxHubBytes bounds the names and settings of all hubs of a tenant together, so
// that its document stays within what edges take (directory.MaxSealedBytes): one
// that didn't could not be published, and a key taken back would stay good.
const maxHubBytes = 512 << 10

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
	if s.Gaps == "" {
		s.Gaps = CloseGaps
	}
	if s.UserConnections == "" {
		s.UserConnections = RefuseNewest
	}
	if s.ParallelCalls == 0 {
		s.ParallelCalls = 1
	}
	if s.Partitions == 0 {
		s.Partitions = 1
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
	if s.Partitions < 1 || s.Partitions > MaxPartitions {
		fields = append(fields, fault.Field{Name: "partitions", Message: "is out of range", Accepted: fmt.Sprintf("1 to %d", MaxPartitions)})
	}
	if len(s.AllowedOrigins) > maxAllowedOrigins {
		fields = append(fields, fault.Field{Name: "allowed_origins", Message: "are too many", Accepted: fmt.Sprintf("at most %d", maxAllowedOrigins)})
	}
	for i, o := range s.AllowedOrigins {
		if _, ok := cleanOrigin(o); !ok {
			fields = append(fields, fault.Field{Name: fmt.Sprintf("allowed_origins.%d", i), Message: "is not an origin", Accepted: "scheme, host and perhaps port, as in https://app.example.com"})
		}
	}
	if i, err := permissions.Check(s.ClientPermissions); err != nil {
		fields = append(fields, fault.Field{Name: fmt.Sprintf("client_permissions.%d", i), Message: err.Error(), Accepted: fmt.Sprintf("at most %d of: %s", permissions.MaxPermissions, permissions.Rule)})
	}
	fields = append(fields, s.Upstream.problems("upstream")...)
	fields = append(fields, s.History.problems(s.Gaps)...)
	fields = append(fields, s.rateProblems()...)
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// clean returns the settings as they are kept: with origins as browsers write
// them, and no upstream that has no rules.
func (s HubSettings) clean() HubSettings {
	var origins []string
	for _, o := range s.AllowedOrigins {
		if o, ok := cleanOrigin(o); ok && !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	s.AllowedOrigins = origins
	s.Upstream = s.Upstream.clean()
	s.MethodRates = cleanRates(s.MethodRates)
	return s
}

// audited returns the settings as the audit has them: without the queries of
// upstreams' URLs, which may hold secrets.
func (s HubSettings) audited() HubSettings {
	if s.Upstream != nil {
		u := *s.Upstream
		u.Rules = slices.Clone(u.Rules)
		for i, r := range u.Rules {
			u.Rules[i].URL, _, _ = strings.Cut(r.URL, "?")
		}
		s.Upstream = &u
	}
	return s
}

// originHost is a host as browsers write it in an origin: a name in ASCII, or an
// IPv6 address in brackets.
var originHost = regexp.MustCompile(`^([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$`)

// cleanOrigin returns the ASCII serialization of an origin (RFC 6454, 6.2)
// without a default port.
func cleanOrigin(o string) (string, bool) {
	if len(o) > maxOriginLength {
		return "", false
	}
	scheme, host, ok := strings.Cut(strings.ToLower(o), "://")
	if !ok || scheme != "http" && scheme != "https" {
		return "", false
	}
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		port, err := strconv.ParseUint(host[i+1:], 10, 16)
		if err != nil || port == 0 {
			return "", false
		}
		host = host[:i]
		if byDefault := scheme == "http" && port == 80 || scheme == "https" && port == 443; !byDefault {
			return fmt.Sprintf("%s://%s:%d", scheme, host, port), originHost.MatchString(host)
		}
	}
	return scheme + "://" + host, originHost.MatchString(host)
}

func acceptedHandlers() string {
	names := make([]string, len(Handlers))
	for i, h := range Handlers {
		names[i] = string(h)
	}
	return strings.Join(names, ", ")
}
