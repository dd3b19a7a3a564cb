package tenants

const (
	kib = 1 << 10
	mib = 1 << 20
)

// Why a limit can't be tried out, and what to do instead.
const (
	partOfRate     = "it is how much of a rate may come at once, so try out the rate"
	refusesNothing = "it refuses nothing that could be counted, and can be set for an hour with expires_at"
	onSettings     = "it bounds what hubs' settings say, which are refused when they are saved"
	heldBack       = "it holds a connection back before it refuses, and what a trial let through would not have come; set it for an hour with expires_at"
	waits          = "what comes waits before anything is refused, and in a trial it would not have; set it for an hour with expires_at"
	stays          = "what a trial let through would stay, in the memory that it bounds, when the trial is over; set it for an hour with expires_at"
	beforeRead     = "it is judged while what it bounds is read, of which nothing is kept; set it for an hour with expires_at"
)

// limitRows is the table of limits, in the order of documents. A field of Limits and
// a row here are all that a limit needs to be in plans, in tenants' documents, in the
// API, on the console's page and in docs/limits.md.
var limitRows = []LimitRow{
	// Of the tenant, over all edges.
	{Name: "max_connections", Title: "Concurrent connections", Unit: "connections", Scope: ScopeTenant, Kind: SoftLimit,
		Free: 200, Pro: 5_000, Scale: 50_000, Least: 1, Most: 1_000_000, Code: "connection_limit",
		At: "new connections are refused at negotiate, or at the first request of a client that skips it", of: func(l *Limits) *int { return &l.MaxConnections }},
	{Name: "connects_per_second", Title: "New connections per second", Unit: "connections/s", Scope: ScopeTenant, Kind: ThrottleLimit,
		Free: 20, Pro: 250, Scale: 1_000, Least: 1, Most: 20_000, Code: "connect_rate",
		At: "refused at negotiate; `Retry-After` is spread, so that clients don't come back together", of: func(l *Limits) *int { return &l.ConnectsPerSecond }},
	{Name: "connect_burst", Title: "Burst of new connections", Unit: "connections", Scope: ScopeTenant, Kind: BurstLimit, Rate: "connects_per_second",
		Free: 100, Pro: 1_000, Scale: 5_000, Least: 1, Most: 100_000, NoDryRun: partOfRate, of: func(l *Limits) *int { return &l.ConnectBurst }},
	{Name: "max_connections_per_user", Title: "Connections of one user", Unit: "connections", Scope: ScopeUser, Kind: HardLimit,
		Free: 20, Pro: 50, Scale: 200, Least: 1, Most: 10_000, Code: "user_connections",
		At: "the newest is refused or the oldest closed, as the hub's `user_connections` says", of: func(l *Limits) *int { return &l.MaxConnectionsPerUser }},
	{Name: "messages_per_second", Title: "Accepted messages per second", Unit: "messages/s", Scope: ScopeTenant, Kind: ThrottleLimit,
		Free: 100, Pro: 2_000, Scale: 20_000, Least: 1, Most: 1_000_000, Code: "rate_limited",
		At: "publishes and invocations are refused; app servers are read more slowly", of: func(l *Limits) *int { return &l.MessagesPerSecond }},
	{Name: "message_burst", Title: "Burst of accepted messages", Unit: "messages", Scope: ScopeTenant, Kind: BurstLimit, Rate: "messages_per_second",
		Free: 300, Pro: 6_000, Scale: 60_000, Least: 1, Most: 3_000_000, NoDryRun: partOfRate, of: func(l *Limits) *int { return &l.MessageBurst }},
	{Name: "deliveries_per_second", Title: "Deliveries per second", Unit: "messages/s", Scope: ScopeTenant, Kind: ShapeLimit,
		Free: 2_000, Pro: 50_000, Scale: 500_000, Least: 10, Most: 10_000_000, Code: "delivery_rate",
		At: "publishes wait up to a second, then are refused; what was accepted is delivered, always", of: func(l *Limits) *int { return &l.DeliveriesPerSecond }},
	{Name: "requests_per_second", Title: "REST requests per second", Unit: "requests/s", Scope: ScopeTenant, Kind: ThrottleLimit,
		Free: 20, Pro: 200, Scale: 2_000, Least: 1, Most: 100_000, Code: "too_many_requests",
		At: "requests are refused; app servers that ask or change something are read more slowly", of: func(l *Limits) *int { return &l.RequestsPerSecond }},
	{Name: "request_burst", Title: "Burst of REST requests", Unit: "requests", Scope: ScopeTenant, Kind: BurstLimit, Rate: "requests_per_second",
		Free: 60, Pro: 600, Scale: 6_000, Least: 1, Most: 300_000, NoDryRun: partOfRate, of: func(l *Limits) *int { return &l.RequestBurst }},
	{Name: "token_issues_per_second", Title: "Tokens issued per second", Unit: "tokens/s", Scope: ScopeTenant, Kind: ThrottleLimit,
		Free: 10, Pro: 100, Scale: 1_000, Least: 1, Most: 10_000, Code: "token_rate",
		At: "`:generateToken` is refused; tokens that backends sign themselves are not counted", of: func(l *Limits) *int { return &l.TokenIssuesPerSecond }},
	{Name: "max_group_memberships", Title: "Group memberships of all connections", Unit: "memberships", Scope: ScopeTenant, Kind: HardLimit,
		Free: 10_000, Pro: 100_000, Scale: 1_000_000, Least: 1, Most: 10_000_000, Code: "group_limit", NoDryRun: stays,
		At: "a join is refused", of: func(l *Limits) *int { return &l.MaxMemberships }},
	{Name: "max_hubs", Title: "Hubs", Unit: "hubs", Scope: ScopeTenant, Kind: HardLimit,
		Free: 20, Pro: 200, Scale: 2_000, Least: 1, Most: 10_000, Code: "hub_limit", NoDryRun: stays,
		At: "the first use of one more hub is refused", of: func(l *Limits) *int { return &l.MaxHubs }},
	{Name: "max_upstream_endpoints", Title: "URLs of upstreams", Unit: "URLs", Scope: ScopeTenant, Kind: HardLimit,
		Free: 2, Pro: 10, Scale: 50, Least: 1, Most: 1_000, Code: "upstream_endpoints", NoDryRun: onSettings,
		At: "settings of a hub that bring one more are refused; those that are there are served", of: func(l *Limits) *int { return &l.MaxUpstreamEndpoints }},
	{Name: "max_upstream_requests", Title: "Requests to upstreams under way", Unit: "requests", Scope: ScopeTenant, Kind: HardLimit,
		Free: 2, Pro: 10, Scale: 50, Least: 1, Most: 1_000, Code: "upstream_requests", NoDryRun: waits,
		At: "further ones wait for their turn, for as long as the hub's `timeout_seconds`; then a call is refused, an event is tried again as if the upstream hadn't answered", of: func(l *Limits) *int { return &l.MaxUpstreamRequests }},
	{Name: "history_bytes", Title: "Bytes of all messages that are kept", Unit: "bytes", Scope: ScopeTenant, Kind: TrimLimit,
		Free: 16 * mib, Pro: 128 * mib, Scale: 1024 * mib, Least: mib, Most: 2047 * mib, NoDryRun: refusesNothing,
		At: "the hub that publishes keeps less, down to a sixteenth", of: func(l *Limits) *int { return &l.HistoryBytes }},

	// Of an address, on each edge.
	{Name: "connects_per_ip_per_second", Title: "New connections per second from one address", Unit: "connections/s", Scope: ScopeIP, Kind: ThrottleLimit,
		Free: 10, Pro: 20, Scale: 100, Least: 1, Most: 10_000, Code: "ip_connect_rate",
		At: "refused before the token is looked at", of: func(l *Limits) *int { return &l.ConnectsPerIPPerSecond }},
	{Name: "connect_per_ip_burst", Title: "Burst of new connections from one address", Unit: "connections", Scope: ScopeIP, Kind: BurstLimit, Rate: "connects_per_ip_per_second",
		Free: 30, Pro: 60, Scale: 300, Least: 1, Most: 50_000, NoDryRun: partOfRate, of: func(l *Limits) *int { return &l.ConnectPerIPBurst }},
	{Name: "max_connections_per_ip", Title: "Connections from one address", Unit: "connections", Scope: ScopeIP, Kind: HardLimit,
		Free: 100, Pro: 500, Scale: 5_000, Least: 1, Most: 1_000_000, Code: "ip_connections",
		At: "refused before the token is looked at", of: func(l *Limits) *int { return &l.MaxConnectionsPerIP }},

	// Of a connection.
	{Name: "calls_per_second", Title: "Calls per second of a connection", Unit: "calls/s", Scope: ScopeConnection, Kind: ThrottleLimit,
		Free: 10, Pro: 50, Scale: 100, Least: 1, Most: 10_000, Code: "call_rate",
		At: "calls are refused; who goes on is closed, then kept out for a minute", of: func(l *Limits) *int { return &l.CallsPerSecond }},
	{Name: "call_burst", Title: "Burst of calls of a connection", Unit: "calls", Scope: ScopeConnection, Kind: BurstLimit, Rate: "calls_per_second",
		Free: 30, Pro: 100, Scale: 300, Least: 1, Most: 50_000, NoDryRun: partOfRate, of: func(l *Limits) *int { return &l.CallBurst }},
	{Name: "bytes_per_second", Title: "Bytes per second from a connection", Unit: "bytes/s", Scope: ScopeConnection, Kind: ShapeLimit,
		Free: 64 * kib, Pro: 256 * kib, Scale: mib, Least: kib, Most: 64 * mib, Code: "bandwidth", NoDryRun: heldBack,
		At: "nothing more is read for up to two seconds, then calls are refused", of: func(l *Limits) *int { return &l.BytesPerSecond }},
	{Name: "byte_burst", Title: "Burst of bytes from a connection", Unit: "bytes", Scope: ScopeConnection, Kind: BurstLimit, Rate: "bytes_per_second",
		Free: 256 * kib, Pro: mib, Scale: 4 * mib, Least: kib, Most: 256 * mib, NoDryRun: partOfRate, of: func(l *Limits) *int { return &l.ByteBurst }},
	{Name: "max_groups_per_connection", Title: "Groups of one connection", Unit: "groups", Scope: ScopeConnection, Kind: HardLimit,
		Free: 50, Pro: 200, Scale: 1_000, Least: 1, Most: 10_000, Code: "too_many_groups", NoDryRun: stays,
		At: "a join is refused", of: func(l *Limits) *int { return &l.MaxGroupsPerConn }},
	{Name: "max_open_streams", Title: "Open streams of a connection, each way", Unit: "streams", Scope: ScopeConnection, Kind: HardLimit,
		Free: 10, Pro: 10, Scale: 50, Least: 1, Most: 1_000, Code: "too_many_streams", NoDryRun: stays,
		At: "one more stream is refused", of: func(l *Limits) *int { return &l.MaxOpenStreams }},
	{Name: "max_parallel_calls", Title: "Calls of a connection that may run at once", Unit: "calls", Scope: ScopeConnection, Kind: SettingLimit,
		Free: 1, Pro: 4, Scale: 16, Least: 1, Most: 16, NoDryRun: refusesNothing,
		At: "further calls wait for their turn", of: func(l *Limits) *int { return &l.MaxParallelCalls }},
	{Name: "outbound_queue_bytes", Title: "What may wait for one connection", Unit: "bytes", Scope: ScopeConnection, Kind: HardLimit,
		Free: mib, Pro: mib, Scale: 4 * mib, Least: 64 * kib, Most: 16 * mib, Code: "slow_consumer", NoDryRun: stays,
		At: "the connection is closed with leave to reconnect, never thinned; it is as full with 1,000 messages", of: func(l *Limits) *int { return &l.OutboundQueueBytes }},
	{Name: "resume_window_seconds", Title: "Window of stateful reconnect", Unit: "seconds", Scope: ScopeConnection, Kind: SettingLimit,
		Free: 30, Pro: 60, Scale: 120, Least: 0, Most: 120, NoDryRun: refusesNothing,
		At: "the client begins anew", of: func(l *Limits) *int { return &l.ResumeWindowSeconds }},
	{Name: "resume_buffer_bytes", Title: "Buffer of stateful reconnect", Unit: "bytes", Scope: ScopeConnection, Kind: SettingLimit,
		Free: 100_000, Pro: 256 * kib, Scale: mib, Least: 0, Most: mib, NoDryRun: refusesNothing,
		At: "what comes then waits in the connection's queue", of: func(l *Limits) *int { return &l.ResumeBufferBytes }},

	// Of a group.
	{Name: "group_publishes_per_second", Title: "Publishes per second to one group", Unit: "messages/s", Scope: ScopeGroup, Kind: ThrottleLimit,
		Free: 25, Pro: 100, Scale: 500, Least: 1, Most: 100_000, Code: "group_rate",
		At: "publishes to the group are refused, counted on each edge; app servers are read more slowly", of: func(l *Limits) *int { return &l.GroupPublishesPerSecond }},
	{Name: "group_publish_burst", Title: "Burst of publishes to one group", Unit: "messages", Scope: ScopeGroup, Kind: BurstLimit, Rate: "group_publishes_per_second",
		Free: 50, Pro: 300, Scale: 1_500, Least: 1, Most: 300_000, NoDryRun: partOfRate, of: func(l *Limits) *int { return &l.GroupPublishBurst }},
	{Name: "max_presence_members", Title: "Members of a group who can be present", Unit: "members", Scope: ScopeGroup, Kind: HardLimit,
		Free: 100, Pro: 1_000, Scale: 10_000, Least: 1, Most: 100_000, Code: "presence_full", NoDryRun: stays,
		At: "one more is refused", of: func(l *Limits) *int { return &l.MaxPresenceMembers }},
	{Name: "max_presence_state_bytes", Title: "State of a present member", Unit: "bytes", Scope: ScopeGroup, Kind: HardLimit,
		Free: kib, Pro: 2 * kib, Scale: 4 * kib, Least: 16, Most: 16 * kib, Code: "state_too_large", NoDryRun: beforeRead,
		At: "a larger state is refused", of: func(l *Limits) *int { return &l.MaxPresenceStateBytes }},

	// Of a hub.
	{Name: "max_method_limits", Title: "Methods of a hub with a rate of their own", Unit: "methods", Scope: ScopeHub, Kind: SettingLimit,
		Free: 10, Pro: 50, Scale: 200, Least: 1, Most: 1_000, NoDryRun: onSettings,
		At: "the hub's settings are refused", of: func(l *Limits) *int { return &l.MaxMethodLimits }},
	{Name: "idempotency_seconds", Title: "Memory of idempotency keys", Unit: "seconds", Scope: ScopeHub, Kind: TrimLimit,
		Free: 120, Pro: 3_600, Scale: 86_400, Least: 1, Most: 86_400, NoDryRun: refusesNothing,
		At: "a repeat after that is a new message", of: func(l *Limits) *int { return &l.IdempotencySeconds }},
	{Name: "retention_seconds", Title: "Messages kept for clients that come back", Unit: "seconds", Scope: ScopeHub, Kind: TrimLimit,
		Free: 180, Pro: 600, Scale: 1_800, Least: 180, Most: 7 * 24 * 3600, NoDryRun: refusesNothing,
		At: "older messages go; who asks for them is told `history_gone`", of: func(l *Limits) *int { return &l.RetentionSeconds }},

	// Of one message or request.
	{Name: "max_message_bytes", Title: "Message size", Unit: "bytes", Scope: ScopeMessage, Kind: HardLimit,
		Free: 32 * kib, Pro: 64 * kib, Scale: mib, Least: 256, Most: mib, Code: "message_too_large",
		At: "413 over REST; a client gets a Close message, then WebSocket status 1009", NoDryRun: beforeRead, of: func(l *Limits) *int { return &l.MaxMessageBytes }},
	{Name: "max_request_bytes", Title: "Body of a REST request", Unit: "bytes", Scope: ScopeRequest, Kind: HardLimit,
		Free: 256 * kib, Pro: mib, Scale: 4 * mib, Least: kib, Most: 4 * mib, Code: "body_too_large",
		At: "413", NoDryRun: beforeRead, of: func(l *Limits) *int { return &l.MaxRequestBytes }},
	{Name: "max_batch_items", Title: "Messages in a batch", Unit: "messages", Scope: ScopeRequest, Kind: HardLimit,
		Free: 50, Pro: 100, Scale: 500, Least: 1, Most: 500, Code: "batch_too_large",
		At: "400", NoDryRun: beforeRead, of: func(l *Limits) *int { return &l.MaxBatchItems }},
}
