package tenants

// Document is everything that the data plane knows of a tenant: the control
// plane writes it, edges read it, nobody else sees it. It holds secrets and is
// sealed wherever it is stored.
type Document struct {
	ID       ID     `json:"id"`
	Slug     string `json:"slug"`
	Revision int64  `json:"revision"` // grows with every change; an older document never replaces a newer one
	Status   Status `json:"status"`
	// Hosts are the tenant's own hosts, lower case, with or without a port.
	Hosts []string `json:"hosts,omitempty"`
	Keys  []DocKey `json:"keys"`
	Plan  string   `json:"plan"`
	// Limits are the effective limits: plan plus overrides.
	Limits Limits `json:"limits"`
	// Hubs has the hubs with settings of their own, by lower-case name; others
	// use the zero HubSettings.
	Hubs map[string]HubSettings `json:"hubs,omitempty"`
	// Issuers are the identity providers whose tokens clients may use.
	Issuers []Issuer `json:"issuers,omitempty"`
	// Revocations are in the order of kind and value, each once; see Revoked.
	Revocations []DocRevocation `json:"revocations,omitempty"`
	// WebhookSecrets sign what is posted to upstreams in native mode, the one in
	// use first.
	WebhookSecrets []DocWebhookSecret `json:"webhook_secrets,omitempty"`
}

// DocKey is an access key inside a document. Secret is plain here because the
// whole document is sealed.
type DocKey struct {
	ID     string  `json:"id"`
	Slot   KeySlot `json:"slot"`
	Secret string  `json:"secret"`
}

// DocWebhookSecret is a webhook secret inside a document.
type DocWebhookSecret struct {
	ID     string `json:"id"`
	Secret string `json:"secret"` // with its prefix whsec_
	// Expires is when a former secret stops signing, in seconds since 1970; 0 = never.
	Expires int64 `json:"expires,omitempty"`
}

// Limits are the enforced limits of a tenant. Zero means none of it is allowed,
// never "unlimited".
type Limits struct {
	MaxConnections      int `json:"max_connections"`     // concurrent client connections, whole fleet
	MessagesPerSecond   int `json:"messages_per_second"` // accepted publishes and invocations, whole fleet
	MessageBurst        int `json:"message_burst"`       // bucket depth of MessagesPerSecond
	MaxMessageBytes     int `json:"max_message_bytes"`   // one hub message from a client, or one REST message
	MaxGroupsPerConn    int `json:"max_groups_per_connection"`
	MaxMemberships      int `json:"max_group_memberships"` // connections in groups, each pair counted, whole fleet; 0 = 100,000
	MaxHubs             int `json:"max_hubs"`
	IdempotencySeconds  int `json:"idempotency_seconds"`
	RetentionSeconds    int `json:"retention_seconds"` // of a hub's stream, at least 180
	HistoryBytes        int `json:"history_bytes"`     // of the streams of all hubs together; 0 = 128 MiB
	ResumeWindowSeconds int `json:"resume_window_seconds"`
	ResumeBufferBytes   int `json:"resume_buffer_bytes"`
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
}
