package serviceprotocol

// Message is one message of the service protocol: a pointer to a struct of this
// package. Texts may be nil on the wire: nil is read as "", and "" is written as
// nil only where the SDK gives nil a meaning. Byte slices of a message that was
// read are the reader's, see there.
type Message interface {
	Type() Type
	// layout walks the items of the message, to read or to write them.
	layout(c *codec)
}

// HandshakeRequest is the first message of a server connection, by the app server.
type HandshakeRequest struct {
	Version        int32
	ConnectionType ConnectionType
	Target         string // of a ConnectionOnDemand: the instance id of the target ping
	MigrationLevel MigrationLevel
	// StatefulReconnects: the hub lets clients use stateful reconnect.
	StatefulReconnects bool
}

// HandshakeResponse is the first message of the service. Error is empty when the
// server connection is accepted.
type HandshakeResponse struct {
	Error        string
	ConnectionID string // of the server connection; optional
}

// Ping is a keep-alive with nothing in it, or pairs of texts; see ping.go. Both
// sides send it.
type Ping struct{ Items []string }

// OpenConnection tells the app server of a client that it now has. By the service.
type OpenConnection struct {
	ConnectionID string
	Claims       []Claim
	Headers      []Header
	Query        string // with a leading "?", or empty
	TracingID    uint64
	Protocol     string // hub protocol that the client's handshake asks for
}

// CloseConnection ends a client: by the service, that the client is gone; by the
// app server, that the client must go. Error is empty when all is well.
type CloseConnection struct {
	ConnectionID string
	Error        string
	Headers      []Header
	TracingID    uint64
}

// ConnectionData carries bytes of the hub protocol from or to one client.
type ConnectionData struct {
	ConnectionID string
	Payload      []byte
	TracingID    uint64
	DataType     DataType
	Partial      bool // the payload ends within a hub message
}

// MultiConnectionData sends to clients by connection id. By the app server, as
// are all sends.
type MultiConnectionData struct {
	ConnectionIDs []string
	Payloads      []Payload
	TracingID     uint64
	Filter        string
}

// UserData sends to the connections of one user.
type UserData struct {
	UserID    string
	Payloads  []Payload
	TracingID uint64
	Filter    string
}

// MultiUserData sends to the connections of users.
type MultiUserData struct {
	UserIDs   []string
	Payloads  []Payload
	TracingID uint64
	Filter    string
}

// BroadcastData sends to all connections of the hub but Excluded.
type BroadcastData struct {
	Excluded  []string // connection ids
	Payloads  []Payload
	TracingID uint64
	Filter    string
}

// GroupBroadcastData sends to the connections of one group.
type GroupBroadcastData struct {
	Group         string
	Excluded      []string // connection ids
	Payloads      []Payload
	TracingID     uint64
	Filter        string
	ExcludedUsers []string
	CallerUserID  string
}

// MultiGroupBroadcastData sends to the connections of groups.
type MultiGroupBroadcastData struct {
	Groups    []string
	Payloads  []Payload
	TracingID uint64
	Filter    string
}

// JoinGroup puts a connection into a group without an answer.
type JoinGroup struct {
	ConnectionID, Group string
	TracingID           uint64
}

// LeaveGroup takes a connection out of a group, or of all when Group is empty.
type LeaveGroup struct {
	ConnectionID, Group string
	TracingID           uint64
}

// UserJoinGroup puts a user's connections into a group. With HasTTL, those that
// come within TTL seconds too.
type UserJoinGroup struct {
	UserID, Group string
	TracingID     uint64
	TTL           int32
	HasTTL        bool
}

// UserLeaveGroup takes a user out of a group, or of all when Group is empty.
type UserLeaveGroup struct {
	UserID, Group string
	TracingID     uint64
}

// JoinGroupWithAck is JoinGroup with an answer: AckNotFound when there is no such
// connection.
type JoinGroupWithAck struct {
	ConnectionID, Group string
	AckID               int32
	TracingID           uint64
}

// LeaveGroupWithAck is LeaveGroup with an answer.
type LeaveGroupWithAck struct {
	ConnectionID, Group string
	AckID               int32
	TracingID           uint64
}

// UserJoinGroupWithAck is UserJoinGroup with an answer.
type UserJoinGroupWithAck struct {
	UserID, Group string
	AckID         int32
	TracingID     uint64
	TTL           int32
	HasTTL        bool
}

// UserLeaveGroupWithAck is UserLeaveGroup with an answer.
type UserLeaveGroupWithAck struct {
	UserID, Group string
	AckID         int32
	TracingID     uint64
}

// Ack answers the command that has its id, on the same server connection.
type Ack struct {
	AckID   int32
	Status  AckStatus
	Message string
	Payload []byte // result of a GroupMemberQuery or GetConnectionClaims
}

// CheckUserInGroupWithAck asks whether a user has a connection in a group.
type CheckUserInGroupWithAck struct {
	UserID, Group string
	AckID         int32
	TracingID     uint64
}

// CheckGroupExistenceWithAck asks whether a connection is in the group.
type CheckGroupExistenceWithAck struct {
	Group     string
	AckID     int32
	TracingID uint64
}

// CheckConnectionExistenceWithAck asks whether there is such a connection.
type CheckConnectionExistenceWithAck struct {
	ConnectionID string
	AckID        int32
	TracingID    uint64
}

// CheckUserExistenceWithAck asks whether the user has a connection.
type CheckUserExistenceWithAck struct {
	UserID    string
	AckID     int32
	TracingID uint64
}

// ServiceError tells the app server what went wrong with its server connection.
type ServiceError struct{ Message string }

// ServiceEvent tells the app server what happened to Object ID.
type ServiceEvent struct {
	Object  EventObject
	ID      string
	Kind    EventKind
	Message string
}

// AccessKeyRequest asks for a key that signs tokens, with a token of an identity
// provider. By the app server.
type AccessKeyRequest struct {
	Token string
	KeyID string // of the key that the app server has now; may be nil
}

// AccessKeyResponse answers an AccessKeyRequest with a key or an error.
type AccessKeyResponse struct {
	KeyID, AccessKey        string
	ErrorType, ErrorMessage string
}

// CloseConnectionWithAck ends one client. Older SDKs send it.
type CloseConnectionWithAck struct {
	ConnectionID, Reason string
	AckID                int32
	TracingID            uint64
}

// CloseConnectionsWithAck ends all clients of the hub but Excluded.
type CloseConnectionsWithAck struct {
	Reason    string
	AckID     int32
	Excluded  []string // connection ids
	TracingID uint64
}

// CloseUserConnectionsWithAck ends the clients of a user but Excluded.
type CloseUserConnectionsWithAck struct {
	UserID, Reason string
	AckID          int32
	Excluded       []string // connection ids
	TracingID      uint64
}

// CloseGroupConnectionsWithAck ends the clients in a group but Excluded.
type CloseGroupConnectionsWithAck struct {
	Group, Reason string
	AckID         int32
	Excluded      []string // connection ids
	TracingID     uint64
}

// ClientInvocation asks a client for a result: by the app server that wants it,
// and passed on to the one that has the client.
type ClientInvocation struct {
	InvocationID   string
	ConnectionID   string
	CallerServerID string
	Payloads       []Payload
	TracingID      uint64
}

// ClientCompletion is a client's result on its way to the app server that asked.
// Protocol is written twice, as an item and as an extension.
type ClientCompletion struct {
	InvocationID   string
	ConnectionID   string
	CallerServerID string
	Protocol       string
	Payload        []byte
	TracingID      uint64
}

// ErrorCompletion says why a client's result will not come.
type ErrorCompletion struct {
	InvocationID   string
	ConnectionID   string
	CallerServerID string
	Error          string
	TracingID      uint64
}

// ServiceMapping tells the app server that asked for a client's result which
// service instance has the client. By the service.
type ServiceMapping struct {
	InvocationID string
	ConnectionID string
	InstanceID   string
}

// ConnectionReconnect says that the client has come back on another transport
// and resends what was not acknowledged. By the service.
type ConnectionReconnect struct{ ConnectionID string }

// ConnectionFlowControl pauses the flow to a client while it moves to another
// app server, or tells the app server to send elsewhere.
type ConnectionFlowControl struct {
	ConnectionID string
	Connection   FlowConnection
	Operation    FlowOperation
}

// GroupMemberQuery asks for the connections in a group, a page at a time. The
// payload of its Ack is that of AppendGroupMembers.
type GroupMemberQuery struct {
	Group        string
	AckID        int32
	Max          int32 // members of the page
	Continuation string
	TracingID    uint64
}

// RefreshAuth is to extend the time of a client's token. Its layout was never
// published: token and ack id are what the order of the SDK's arguments suggests.
type RefreshAuth struct {
	ConnectionToken string
	AckID           int32 // 0: not found in the message
}

// GetConnectionClaims asks for a client's claims. The payload of its Ack is nil
// or a map of claims (AppendClaims).
type GetConnectionClaims struct {
	ConnectionToken string
	AckID           int32
}

// UpdateConnectionClaims tells the app server that has the client of new claims.
type UpdateConnectionClaims struct {
	ConnectionID string
	Claims       []Claim
}

// Unknown is a message of a type that this package doesn't know: ignore it.
type Unknown struct{ Kind Type }
