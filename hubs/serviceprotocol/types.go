package serviceprotocol

// Version is the version of the protocol that a HandshakeRequest asks for.
const Version = 1

// Type is the first item of a message.
type Type int32

// The types of messages. Which side sends a type is told at its struct.
const (
	TypeHandshakeRequest             Type = 1
	TypeHandshakeResponse            Type = 2
	TypePing                         Type = 3
	TypeOpenConnection               Type = 4
	TypeCloseConnection              Type = 5
	TypeConnectionData               Type = 6
	TypeMultiConnectionData          Type = 7
	TypeUserData                     Type = 8
	TypeMultiUserData                Type = 9
	TypeBroadcastData                Type = 10
	TypeJoinGroup                    Type = 11
	TypeLeaveGroup                   Type = 12
	TypeGroupBroadcastData           Type = 13
	TypeMultiGroupBroadcastData      Type = 14
	TypeServiceError                 Type = 15
	TypeUserJoinGroup                Type = 16
	TypeUserLeaveGroup               Type = 17
	TypeJoinGroupWithAck             Type = 18
	TypeLeaveGroupWithAck            Type = 19
	TypeAck                          Type = 20
	TypeCheckUserInGroupWithAck      Type = 21
	TypeServiceEvent                 Type = 22
	TypeCheckGroupExistenceWithAck   Type = 23
	TypeCheckConnectionExistence     Type = 24
	TypeCheckUserExistenceWithAck    Type = 25
	TypeUserJoinGroupWithAck         Type = 26
	TypeUserLeaveGroupWithAck        Type = 27
	TypeAccessKeyRequest             Type = 28
	TypeAccessKeyResponse            Type = 29
	TypeCloseConnectionWithAck       Type = 30
	TypeCloseConnectionsWithAck      Type = 31
	TypeCloseUserConnectionsWithAck  Type = 32
	TypeCloseGroupConnectionsWithAck Type = 33
	TypeClientInvocation             Type = 34
	TypeClientCompletion             Type = 35
	TypeErrorCompletion              Type = 36
	TypeServiceMapping               Type = 37
	TypeConnectionReconnect          Type = 38
	TypeConnectionFlowControl        Type = 39
	TypeGroupMemberQuery             Type = 40
	TypeRefreshAuth                  Type = 41
	TypeGetConnectionClaims          Type = 42
	TypeUpdateConnectionClaims       Type = 43
)

// ConnectionType says what a server connection is for (HandshakeRequest).
type ConnectionType int32

// The types of server connections.
const (
	ConnectionDefault  ConnectionType = 0 // may be given clients
	ConnectionOnDemand ConnectionType = 1 // opened because of a target ping; may be given clients, may be refused
	ConnectionWeak     ConnectionType = 2 // sends only, never given clients
)

// MigrationLevel says when clients of a server connection may be moved to
// another app server (HandshakeRequest).
type MigrationLevel int32

// The migration levels. The SDK sends the first two.
const (
	MigrationOff          MigrationLevel = 0
	MigrationShutdownOnly MigrationLevel = 1
	MigrationAny          MigrationLevel = 2
)

// DataType says what the payload of a ConnectionData is (DataMessageType).
type DataType int32

// The types of data. DataUnknown is not written.
const (
	DataUnknown    DataType = 0
	DataHandshake  DataType = 1
	DataInvocation DataType = 2
	DataOther      DataType = 3
	DataClose      DataType = 4
)

// AckStatus is the outcome of a command with an ack id.
type AckStatus int32

// The statuses. The SDK answers NotFound with false, raises a timeout for
// Timeout and InternalServerError, and an error for all it doesn't know.
const (
	AckOK                  AckStatus = 1
	AckNotFound            AckStatus = 2
	AckTimeout             AckStatus = 3
	AckInternalServerError AckStatus = 4
)

// EventObject says what a ServiceEvent is about.
type EventObject int32

// The objects of events.
const (
	EventServiceInstance  EventObject = 0
	EventConnection       EventObject = 1
	EventUser             EventObject = 2
	EventGroup            EventObject = 3
	EventServerConnection EventObject = 4
)

// EventKind says what happened to the object of a ServiceEvent.
type EventKind int32

// The kinds of events.
const (
	EventReloading  EventKind = 0
	EventInvalid    EventKind = 1
	EventNotExisted EventKind = 2
	EventBufferFull EventKind = 3
)

// FlowConnection says whose flow a ConnectionFlowControl is about.
type FlowConnection int32

// The sides. The specification numbers them from 0, the SDK refuses that.
const (
	FlowClient FlowConnection = 1
	FlowServer FlowConnection = 2
)

// FlowOperation is what a ConnectionFlowControl asks for.
type FlowOperation int32

// The operations: the service sends all but FlowPauseAck.
const (
	FlowPause    FlowOperation = 1 // send nothing more for the client; answer FlowPauseAck once
	FlowPauseAck FlowOperation = 2
	FlowResume   FlowOperation = 3 // takes a FlowPause back
	FlowOffline  FlowOperation = 4 // use other server connections
)

// Claim is one claim of a client. Types may repeat, and their order counts.
type Claim struct{ Type, Value string }

// Header is one header of a client's request.
type Header struct {
	Name   string
	Values []string
}

// Payload is one hub message as a hub protocol frames it.
type Payload struct {
	Protocol string // json, messagepack, …; peers compare names without case
	Data     []byte
}

// The headers by which the service tells app servers about a client beside those
// of the client's own request (OpenConnection, CloseConnection).
const (
	HeaderInstanceID  = "Asrs-Instance-Id"          // the service instance that has the client
	HeaderMigrateFrom = "Asrs-Migrate-From"         // id of the app server that had the client
	HeaderMigrateTo   = "Asrs-Migrate-To"           // id of the app server that has it now
	HeaderDiagnostic  = "Asrs-Is-Diagnostic-Client" // "true" for a client that is traced
)
