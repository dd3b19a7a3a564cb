package tenants

import (
	"slices"
	"time"
)

// Document is everything that the data plane knows of a tenant: the control
// plane writes it, edges read it, nobody else sees it. It holds secrets and is
// sealed wherever it is stored.
type Document struct {
	ID       ID     `json:"id"`
	Slug     string `json:"slug"`
	Revision int64  `json:"revision"` // grows with every change; an older document never replaces a newer one
	Status   Status `json:"status"`
	// Environment is what the tenant is for; "" = production.
	Environment Environment `json:"environment,omitempty"`
	// Hosts are the tenant's own hosts, lower case, with or without a port.
	Hosts []string `json:"hosts,omitempty"`
	// Keys are those in use, the primary one first, then those that were replaced
	// and are good for a while; see GoodKeys.
	Keys []DocKey `json:"keys"`
	Plan string   `json:"plan"`
	// Limits are the effective limits: plan plus overrides, until the first of
	// LaterLimits counts; see LimitsAt.
	Limits      Limits       `json:"limits"`
	LaterLimits []LimitsFrom `json:"later_limits,omitempty"`
	// GraceEnds is when connections beyond the limit of a plan that the account has
	// changed to are closed, in seconds since 1970; 0 = they stay.
	GraceEnds int64 `json:"grace_ends,omitempty"`
	// Hubs has the hubs with settings of their own, by lower-case name; others
	// use the zero HubSettings.
	Hubs map[string]HubSettings `json:"hubs,omitempty"`
	// Partitioned has the hubs whose number of partitions was ever changed, also those
	// without settings.
	Partitioned map[string]HubPartitions `json:"partitioned,omitempty"`
	// Issuers are the identity providers whose tokens clients may use.
	Issuers []Issuer `json:"issuers,omitempty"`
	// Revocations are in the order of kind and value, each once; see Revoked.
	Revocations []DocRevocation `json:"revocations,omitempty"`
	// Budget is what its account wants to, and may, use, where edges are to enforce that.
	Budget *DocBudget `json:"budget,omitempty"`
	// BudgetNotices are steps of the budget that were reached lately.
	BudgetNotices []DocBudgetNotice `json:"budget_notices,omitempty"`
	// WebhookSecrets sign what is posted to upstreams in native mode, the one in
	// use first.
	WebhookSecrets []DocWebhookSecret `json:"webhook_secrets,omitempty"`
}

// GoodKeys returns the access keys that may be used at a time. Nobody may change
// the slice.
func (d *Document) GoodKeys(at time.Time) []DocKey {
	past := func(k DocKey) bool { return !k.Good(at) }
	if !slices.ContainsFunc(d.Keys, past) {
		return d.Keys
	}
	return slices.DeleteFunc(slices.Clone(d.Keys), past)
}

// NextEnd is when the first of the keys that are good at a time stops being so; zero
// = none does.
func (d *Document) NextEnd(at time.Time) time.Time {
	var next int64
	for _, k := range d.Keys {
		if k.Expires != 0 && k.Good(at) && (next == 0 || k.Expires < next) {
			next = k.Expires
		}
	}
	if next == 0 {
		return time.Time{}
	}
	return time.Unix(next, 0)
}

// DocKey is an access key inside a document. Secret is plain here because the
// whole document is sealed.
type DocKey struct {
	ID     string  `json:"id"`
	Slot   KeySlot `json:"slot"`
	Secret string  `json:"secret"`
	// Expires is when a key that was replaced stops being good, in seconds since
	// 1970; 0 = it is in use.
	Expires int64 `json:"expires,omitempty"`
}

// Good reports whether the key may be used at a time.
func (k DocKey) Good(at time.Time) bool { return k.Expires == 0 || at.Unix() < k.Expires }

// DocWebhookSecret is a webhook secret inside a document.
type DocWebhookSecret struct {
	ID     string `json:"id"`
	Secret string `json:"secret"` // with its prefix whsec_
	// Expires is when a former secret stops signing, in seconds since 1970; 0 = never.
	Expires int64 `json:"expires,omitempty"`
}

// Limits are the enforced limits of a tenant, see limitRows. Zero means none of it is
// allowed, never "unlimited".
type Limits struct {
	MaxConnections        int `json:"max_connections"`
	ConnectsPerSecond     int `json:"connects_per_second"`
	ConnectBurst          int `json:"connect_burst"`
	MaxConnectionsPerUser int `json:"max_connections_per_user"`
	MessagesPerSecond     int `json:"messages_per_second"` // accepted publishes and invocations
	MessageBurst          int `json:"message_burst"`
	DeliveriesPerSecond   int `json:"deliveries_per_second"`
	RequestsPerSecond     int `json:"requests_per_second"`
	RequestBurst          int `json:"request_burst"`
	TokenIssuesPerSecond  int `json:"token_issues_per_second"`
	MaxMemberships        int `json:"max_group_memberships"` // connections in groups, each pair counted
	MaxHubs               int `json:"max_hubs"`
	MaxUpstreamEndpoints  int `json:"max_upstream_endpoints"`
	MaxUpstreamRequests   int `json:"max_upstream_requests"` // under way, on each edge
	HistoryBytes          int `json:"history_bytes"`         // of the streams of all hubs together

	ConnectsPerIPPerSecond int `json:"connects_per_ip_per_second"`
	ConnectPerIPBurst      int `json:"connect_per_ip_burst"`
	MaxConnectionsPerIP    int `json:"max_connections_per_ip"`

	CallsPerSecond      int `json:"calls_per_second"`
	CallBurst           int `json:"call_burst"`
	BytesPerSecond      int `json:"bytes_per_second"`
	ByteBurst           int `json:"byte_burst"`
	MaxGroupsPerConn    int `json:"max_groups_per_connection"`
	MaxOpenStreams      int `json:"max_open_streams"`
	MaxParallelCalls    int `json:"max_parallel_calls"`
	OutboundQueueBytes  int `json:"outbound_queue_bytes"`
	ResumeWindowSeconds int `json:"resume_window_seconds"`
	ResumeBufferBytes   int `json:"resume_buffer_bytes"`

	GroupPublishesPerSecond int `json:"group_publishes_per_second"`
	GroupPublishBurst       int `json:"group_publish_burst"`
	MaxPresenceMembers      int `json:"max_presence_members"`
	MaxPresenceStateBytes   int `json:"max_presence_state_bytes"`

	MaxMethodLimits    int `json:"max_method_limits"`
	IdempotencySeconds int `json:"idempotency_seconds"`
	RetentionSeconds   int `json:"retention_seconds"` // of a hub's stream, at least 180

	MaxMessageBytes int `json:"max_message_bytes"` // one hub message from a client, or one REST message
	MaxRequestBytes int `json:"max_request_bytes"`
	MaxBatchItems   int `json:"max_batch_items"`

	// Tried has the values that are tried out, 0 = none: what they would have refused
	// is counted, nothing is refused. Nil = nothing is tried out.
	Tried *Limits `json:"tried,omitempty"`
}

// HubSettings are a hub's own settings. The zero value is the default.
type HubSettings struct {
	Handler Handler `json:"handler,omitempty"` // "" = auto
	// KeepAliveSeconds and ClientTimeoutSeconds: 0 = 15 and 30.
	KeepAliveSeconds     int `json:"keep_alive_seconds,omitempty"`
	ClientTimeoutSeconds int `json:"client_timeout_seconds,omitempty"`
	// AllowedOrigins are exact origins of browsers; empty = any.
	AllowedOrigins []string `json:"allowed_origins,omitempty"`
	// ClientPermissions are what every client of the hub may do by itself, in the
	// language of package permissions.
	ClientPermissions []string `json:"client_permissions,omitempty"`
	// Upstream is where invocations and events are posted to; nil = nowhere.
	Upstream *Upstream `json:"upstream,omitempty"`
	// History is what the hub keeps of its messages.
	History History `json:"history,omitzero"`
	// Gaps is what clients see of losses; "" = close.
	Gaps Gaps `json:"gaps,omitempty"`
	// UserConnections says what becomes of a connection beyond
	// max_connections_per_user; "" = refuse_newest.
	UserConnections UserConnections `json:"user_connections,omitempty"`
	// MethodRates bound how often one connection may call a method, by the method's
	// name in lower case.
	MethodRates map[string]MethodRate `json:"method_rates,omitempty"`
	// ParallelCalls is how many calls of a connection run at once; 0 = 1, in order.
	ParallelCalls int `json:"parallel_calls,omitempty"`
	// Partitions is in how many streams the hub is kept; 0 = 1.
	Partitions int `json:"partitions,omitempty"`
	// CloseOnExpiry closes every connection when its token expires and was not
	// refreshed, whatever the token itself says.
	CloseOnExpiry bool `json:"close_on_expiry,omitempty"`
}

// HubPartitions say in how many streams a hub is kept.
type HubPartitions struct {
	Generation int `json:"generation"` // how often that was changed
	Count      int `json:"count"`
}
