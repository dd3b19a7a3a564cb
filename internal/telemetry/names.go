package telemetry

import "go.opentelemetry.io/otel/attribute"

// scopeName is the instrumentation scope of the product's own code.
const scopeName = "github.com/signalbox/signalbox"

// Keys of log attributes. Log lines use these and no other spelling.
const (
	KeyService    = "service"
	KeyVersion    = "version"
	KeyInstance   = "instance"
	KeyRequestID  = "request_id"
	KeyTraceID    = "trace_id"
	KeySpanID     = "span_id"
	KeyTenant     = "tenant_id" // the immutable id, never the slug
	KeyAccount    = "account_id"
	KeyHub        = "hub"
	KeyConnection = "connection_id" // the public id, never the connection token
	KeyUser       = "user_id"
	KeyGroup      = "group"
	KeyTransport  = "transport"
	KeyProtocol   = "hub_protocol"
	KeyEdgeRun    = "edge_run"
	KeyMethod     = "method"
	KeyRoute      = "route"
	KeyStatus     = "status"
	KeyBytes      = "bytes"
	KeyDuration   = "duration_seconds"
	KeyAddress    = "address"
	KeyCode       = "code" // an error code of the product, lower snake case
	KeyReason     = "reason"
	KeyError      = "error"
	KeyCount      = "count"
	KeyRevision   = "revision"
	KeyAttempt    = "attempt"
	KeySequence   = "sequence"
)

// Attributes of metrics and spans. Those of OpenTelemetry's SignalR server
// conventions keep their names; ours begin with the product's.
const (
	// AttrTransport is how a connection is carried: a Transport.
	AttrTransport = attribute.Key("signalr.transport")
	// AttrConnectionStatus is how a connection ended: a ConnectionStatus.
	AttrConnectionStatus = attribute.Key("signalr.connection.status")
	// AttrHubProtocol is "json" or "messagepack".
	AttrHubProtocol = attribute.Key("signalbox.hub_protocol")
	// AttrCode is an error code of the product.
	AttrCode = attribute.Key("signalbox.code")
)

// Names of metrics; those of the backplane are in its own package. Units are
// metadata: s, By, {message} and so on.
const (
	MetricActiveConnections  = "signalr.server.active_connections"
	MetricConnectionDuration = "signalr.server.connection.duration"

	MetricConnectionsOpened = "signalbox.edge.connections.opened"
	MetricDelivered         = "signalbox.edge.messages.delivered"
	MetricDeliveredBytes    = "signalbox.edge.delivered"
	MetricReceivedBytes     = "signalbox.edge.received"
	MetricRefusals          = "signalbox.edge.refusals"
	MetricSlowConsumers     = "signalbox.edge.slow_consumers"
	MetricHubs              = "signalbox.edge.hubs"

	MetricDocuments    = "signalbox.directory.documents"
	MetricDocumentsAge = "signalbox.directory.age"
	MetricUsagePending = "signalbox.usage.pending"

	MetricBuildInfo = "signalbox.build.info"
)
