package serviceprotocol

import "math"

// Type implements Message.
func (*CloseConnectionWithAck) Type() Type { return TypeCloseConnectionWithAck }

func (m *CloseConnectionWithAck) layout(c *codec) {
	c.open(TypeCloseConnectionWithAck, 5)
	c.text(&m.ConnectionID)
	c.optionalText(&m.Reason)
	c.int32(&m.AckID)
	c.tracing(5, &m.TracingID)
}

// Type implements Message.
func (*CloseConnectionsWithAck) Type() Type { return TypeCloseConnectionsWithAck }

func (m *CloseConnectionsWithAck) layout(c *codec) {
	c.open(TypeCloseConnectionsWithAck, 5)
	c.optionalText(&m.Reason)
	c.int32(&m.AckID)
	c.texts(&m.Excluded)
	c.tracing(5, &m.TracingID)
}

// Type implements Message.
func (*CloseUserConnectionsWithAck) Type() Type { return TypeCloseUserConnectionsWithAck }

func (m *CloseUserConnectionsWithAck) layout(c *codec) {
	c.open(TypeCloseUserConnectionsWithAck, 6)
	c.text(&m.UserID)
	c.optionalText(&m.Reason)
	c.int32(&m.AckID)
	c.texts(&m.Excluded)
	c.tracing(6, &m.TracingID)
}

// Type implements Message.
func (*CloseGroupConnectionsWithAck) Type() Type { return TypeCloseGroupConnectionsWithAck }

func (m *CloseGroupConnectionsWithAck) layout(c *codec) {
	c.open(TypeCloseGroupConnectionsWithAck, 6)
	c.text(&m.Group)
	c.optionalText(&m.Reason)
	c.int32(&m.AckID)
	c.texts(&m.Excluded)
	c.tracing(6, &m.TracingID)
}

// Type implements Message.
func (*ClientInvocation) Type() Type { return TypeClientInvocation }

func (m *ClientInvocation) layout(c *codec) {
	c.open(TypeClientInvocation, 6)
	c.text(&m.InvocationID)
	c.text(&m.ConnectionID)
	c.text(&m.CallerServerID)
	c.payloads(&m.Payloads)
	c.tracing(6, &m.TracingID)
}

// Type implements Message.
func (*ClientCompletion) Type() Type { return TypeClientCompletion }

func (m *ClientCompletion) layout(c *codec) {
	c.open(TypeClientCompletion, 7)
	c.text(&m.InvocationID)
	c.text(&m.ConnectionID)
	c.text(&m.CallerServerID)
	c.text(&m.Protocol)
	c.bytes(&m.Payload)
	if c.has(7) {
		c.extensions(extensions{tracing: &m.TracingID, protocol: &m.Protocol})
	}
}

// Type implements Message.
func (*ErrorCompletion) Type() Type { return TypeErrorCompletion }

func (m *ErrorCompletion) layout(c *codec) {
	c.open(TypeErrorCompletion, 6)
	c.text(&m.InvocationID)
	c.text(&m.ConnectionID)
	c.text(&m.CallerServerID)
	c.text(&m.Error)
	c.tracing(6, &m.TracingID)
}

// Type implements Message.
func (*ServiceMapping) Type() Type { return TypeServiceMapping }

func (m *ServiceMapping) layout(c *codec) {
	c.open(TypeServiceMapping, 5)
	c.text(&m.InvocationID)
	c.text(&m.ConnectionID)
	c.text(&m.InstanceID)
	if c.has(5) {
		c.extensions(extensions{})
	}
}

// Type implements Message.
func (*ConnectionReconnect) Type() Type { return TypeConnectionReconnect }

func (m *ConnectionReconnect) layout(c *codec) {
	c.open(TypeConnectionReconnect, 3)
	c.text(&m.ConnectionID)
	if c.has(3) {
		c.extensions(extensions{})
	}
}

// Type implements Message.
func (*ConnectionFlowControl) Type() Type { return TypeConnectionFlowControl }

func (m *ConnectionFlowControl) layout(c *codec) {
	c.open(TypeConnectionFlowControl, 5)
	c.text(&m.ConnectionID)
	c.wideInt32((*int32)(&m.Connection))
	c.wideInt32((*int32)(&m.Operation))
	if c.has(5) {
		c.extensions(extensions{})
	}
}

// Type implements Message.
func (*GroupMemberQuery) Type() Type { return TypeGroupMemberQuery }

func (m *GroupMemberQuery) layout(c *codec) {
	c.open(TypeGroupMemberQuery, 6)
	c.extensions(extensions{tracing: &m.TracingID})
	c.text(&m.Group)
	c.int32(&m.AckID)
	c.int32(&m.Max)
	c.optionalText(&m.Continuation)
}

// Type implements Message.
func (*RefreshAuth) Type() Type { return TypeRefreshAuth }

// The SDK's constructor takes token, claims, expiry and ack id, in this order; how
// the expiry is written isn't known, so it and the claims are passed over whatever
// they are.
func (m *RefreshAuth) layout(c *codec) {
	c.open(TypeRefreshAuth, 6)
	c.text(&m.ConnectionToken)
	c.passOver()
	c.passOver()
	if c.reading && c.left > 0 {
		if id, ok := c.in.integer(); ok && id > 0 && id <= math.MaxInt32 {
			m.AckID = int32(id)
		}
		return
	}
	c.int32(&m.AckID)
	c.extensions(extensions{})
}

// Type implements Message.
func (*GetConnectionClaims) Type() Type { return TypeGetConnectionClaims }

func (m *GetConnectionClaims) layout(c *codec) {
	c.open(TypeGetConnectionClaims, 4)
	c.text(&m.ConnectionToken)
	c.int32(&m.AckID)
	if c.has(4) {
		c.extensions(extensions{})
	}
}

// Type implements Message.
func (*UpdateConnectionClaims) Type() Type { return TypeUpdateConnectionClaims }

func (m *UpdateConnectionClaims) layout(c *codec) {
	c.open(TypeUpdateConnectionClaims, 4)
	c.text(&m.ConnectionID)
	c.claims(&m.Claims)
	if c.has(4) {
		c.extensions(extensions{})
	}
}

// Type returns the type that the message has on the wire.
func (m *Unknown) Type() Type { return m.Kind }

func (m *Unknown) layout(c *codec) { c.open(m.Kind, 1) }
