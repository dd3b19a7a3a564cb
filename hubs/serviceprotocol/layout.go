package serviceprotocol

// The layout of every message, in the order of its items. Where an old form is
// shorter, has says from which length on the items after it are there; the
// numbers are those of the SDK's reader.

// Type implements Message.
func (*HandshakeRequest) Type() Type { return TypeHandshakeRequest }

func (m *HandshakeRequest) layout(c *codec) {
	c.open(TypeHandshakeRequest, 7)
	c.int32(&m.Version)
	if c.has(4) {
		c.int32((*int32)(&m.ConnectionType))
		c.text(&m.Target)
	}
	if c.has(5) {
		c.int32((*int32)(&m.MigrationLevel))
	}
	if c.has(6) {
		c.extensions(extensions{})
	}
	if c.has(7) {
		c.boolean(&m.StatefulReconnects)
	}
}

// Type implements Message.
func (*HandshakeResponse) Type() Type { return TypeHandshakeResponse }

func (m *HandshakeResponse) layout(c *codec) {
	c.open(TypeHandshakeResponse, 4)
	c.text(&m.Error)
	if c.has(3) {
		c.extensions(extensions{})
	}
	if c.has(4) {
		c.optionalText(&m.ConnectionID)
	}
}

// Type implements Message.
func (*Ping) Type() Type { return TypePing }

func (m *Ping) layout(c *codec) {
	c.open(TypePing, 1+len(m.Items))
	c.rest(&m.Items)
}

// Type implements Message.
func (*OpenConnection) Type() Type { return TypeOpenConnection }

func (m *OpenConnection) layout(c *codec) {
	c.open(TypeOpenConnection, 6)
	c.text(&m.ConnectionID)
	c.claims(&m.Claims)
	if c.has(5) {
		c.headers(&m.Headers)
		c.text(&m.Query)
	}
	if c.has(6) {
		c.extensions(extensions{tracing: &m.TracingID, protocol: &m.Protocol})
	}
}

// Type implements Message.
func (*CloseConnection) Type() Type { return TypeCloseConnection }

func (m *CloseConnection) layout(c *codec) {
	c.open(TypeCloseConnection, 5)
	c.text(&m.ConnectionID)
	c.text(&m.Error)
	if c.has(4) {
		c.headers(&m.Headers)
	}
	c.tracing(5, &m.TracingID)
}

// Type implements Message.
func (*ConnectionData) Type() Type { return TypeConnectionData }

func (m *ConnectionData) layout(c *codec) {
	c.open(TypeConnectionData, 4)
	c.text(&m.ConnectionID)
	c.bytes(&m.Payload)
	if c.has(4) {
		c.extensions(extensions{tracing: &m.TracingID, dataType: &m.DataType, partial: &m.Partial})
	}
}

// Type implements Message.
func (*MultiConnectionData) Type() Type { return TypeMultiConnectionData }

func (m *MultiConnectionData) layout(c *codec) {
	c.open(TypeMultiConnectionData, 4)
	c.texts(&m.ConnectionIDs)
	c.payloads(&m.Payloads)
	c.filter(4, &m.TracingID, &m.Filter)
}

// Type implements Message.
func (*UserData) Type() Type { return TypeUserData }

func (m *UserData) layout(c *codec) {
	c.open(TypeUserData, 4)
	c.text(&m.UserID)
	c.payloads(&m.Payloads)
	c.filter(4, &m.TracingID, &m.Filter)
}

// Type implements Message.
func (*MultiUserData) Type() Type { return TypeMultiUserData }

func (m *MultiUserData) layout(c *codec) {
	c.open(TypeMultiUserData, 4)
	c.texts(&m.UserIDs)
	c.payloads(&m.Payloads)
	c.filter(4, &m.TracingID, &m.Filter)
}

// Type implements Message.
func (*BroadcastData) Type() Type { return TypeBroadcastData }

func (m *BroadcastData) layout(c *codec) {
	c.open(TypeBroadcastData, 4)
	c.texts(&m.Excluded)
	c.payloads(&m.Payloads)
	c.filter(4, &m.TracingID, &m.Filter)
}

// Type implements Message.
func (*GroupBroadcastData) Type() Type { return TypeGroupBroadcastData }

func (m *GroupBroadcastData) layout(c *codec) {
	c.open(TypeGroupBroadcastData, 7)
	c.text(&m.Group)
	c.texts(&m.Excluded)
	c.payloads(&m.Payloads)
	c.filter(5, &m.TracingID, &m.Filter)
	if c.has(7) {
		c.texts(&m.ExcludedUsers)
		c.optionalText(&m.CallerUserID)
	}
}

// Type implements Message.
func (*MultiGroupBroadcastData) Type() Type { return TypeMultiGroupBroadcastData }

func (m *MultiGroupBroadcastData) layout(c *codec) {
	c.open(TypeMultiGroupBroadcastData, 4)
	c.texts(&m.Groups)
	c.payloads(&m.Payloads)
	c.filter(4, &m.TracingID, &m.Filter)
}

// Type implements Message.
func (*JoinGroup) Type() Type { return TypeJoinGroup }

func (m *JoinGroup) layout(c *codec) {
	c.open(TypeJoinGroup, 4)
	c.text(&m.ConnectionID)
	c.text(&m.Group)
	c.tracing(4, &m.TracingID)
}

// Type implements Message.
func (*LeaveGroup) Type() Type { return TypeLeaveGroup }

func (m *LeaveGroup) layout(c *codec) {
	c.open(TypeLeaveGroup, 4)
	c.text(&m.ConnectionID)
	c.optionalText(&m.Group)
	c.tracing(4, &m.TracingID)
}

// Type implements Message.
func (*ServiceError) Type() Type { return TypeServiceError }

func (m *ServiceError) layout(c *codec) {
	c.open(TypeServiceError, 2)
	c.text(&m.Message)
}

// Type implements Message.
func (*UserJoinGroup) Type() Type { return TypeUserJoinGroup }

func (m *UserJoinGroup) layout(c *codec) {
	c.open(TypeUserJoinGroup, 4)
	c.text(&m.UserID)
	c.text(&m.Group)
	if c.has(4) {
		c.extensions(extensions{tracing: &m.TracingID, ttl: &m.TTL, hasTTL: &m.HasTTL})
	}
}

// Type implements Message.
func (*UserLeaveGroup) Type() Type { return TypeUserLeaveGroup }

func (m *UserLeaveGroup) layout(c *codec) {
	c.open(TypeUserLeaveGroup, 4)
	c.text(&m.UserID)
	c.optionalText(&m.Group)
	c.tracing(4, &m.TracingID)
}

// Type implements Message.
func (*JoinGroupWithAck) Type() Type { return TypeJoinGroupWithAck }

func (m *JoinGroupWithAck) layout(c *codec) {
	c.open(TypeJoinGroupWithAck, 5)
	c.text(&m.ConnectionID)
	c.text(&m.Group)
	c.int32(&m.AckID)
	c.tracing(5, &m.TracingID)
}

// Type implements Message.
func (*LeaveGroupWithAck) Type() Type { return TypeLeaveGroupWithAck }

func (m *LeaveGroupWithAck) layout(c *codec) {
	c.open(TypeLeaveGroupWithAck, 5)
	c.text(&m.ConnectionID)
	c.optionalText(&m.Group)
	c.int32(&m.AckID)
	c.tracing(5, &m.TracingID)
}

// Type implements Message.
func (*Ack) Type() Type { return TypeAck }

func (m *Ack) layout(c *codec) {
	c.open(TypeAck, 6)
	c.int32(&m.AckID)
	c.int32((*int32)(&m.Status))
	c.text(&m.Message)
	if c.has(5) {
		c.extensions(extensions{})
	}
	if c.has(6) {
		c.optionalBytes(&m.Payload)
	}
}

// Type implements Message.
func (*CheckUserInGroupWithAck) Type() Type { return TypeCheckUserInGroupWithAck }

func (m *CheckUserInGroupWithAck) layout(c *codec) {
	c.open(TypeCheckUserInGroupWithAck, 5)
	c.text(&m.UserID)
	c.text(&m.Group)
	c.int32(&m.AckID)
	c.tracing(5, &m.TracingID)
}

// Type implements Message.
func (*ServiceEvent) Type() Type { return TypeServiceEvent }

func (m *ServiceEvent) layout(c *codec) {
	c.open(TypeServiceEvent, 6)
	c.int32((*int32)(&m.Object))
	c.text(&m.ID)
	c.int32((*int32)(&m.Kind))
	c.text(&m.Message)
	if c.has(6) {
		c.extensions(extensions{})
	}
}

// Type implements Message.
func (*CheckGroupExistenceWithAck) Type() Type { return TypeCheckGroupExistenceWithAck }

func (m *CheckGroupExistenceWithAck) layout(c *codec) {
	c.open(TypeCheckGroupExistenceWithAck, 4)
	c.text(&m.Group)
	c.int32(&m.AckID)
	c.tracing(4, &m.TracingID)
}

// Type implements Message.
func (*CheckConnectionExistenceWithAck) Type() Type { return TypeCheckConnectionExistence }

func (m *CheckConnectionExistenceWithAck) layout(c *codec) {
	c.open(TypeCheckConnectionExistence, 4)
	c.text(&m.ConnectionID)
	c.int32(&m.AckID)
	c.tracing(4, &m.TracingID)
}

// Type implements Message.
func (*CheckUserExistenceWithAck) Type() Type { return TypeCheckUserExistenceWithAck }

func (m *CheckUserExistenceWithAck) layout(c *codec) {
	c.open(TypeCheckUserExistenceWithAck, 4)
	c.text(&m.UserID)
	c.int32(&m.AckID)
	c.tracing(4, &m.TracingID)
}

// Type implements Message.
func (*UserJoinGroupWithAck) Type() Type { return TypeUserJoinGroupWithAck }

func (m *UserJoinGroupWithAck) layout(c *codec) {
	c.open(TypeUserJoinGroupWithAck, 5)
	c.text(&m.UserID)
	c.text(&m.Group)
	c.int32(&m.AckID)
	if c.has(5) {
		c.extensions(extensions{tracing: &m.TracingID, ttl: &m.TTL, hasTTL: &m.HasTTL})
	}
}

// Type implements Message.
func (*UserLeaveGroupWithAck) Type() Type { return TypeUserLeaveGroupWithAck }

func (m *UserLeaveGroupWithAck) layout(c *codec) {
	c.open(TypeUserLeaveGroupWithAck, 5)
	c.text(&m.UserID)
	c.optionalText(&m.Group)
	c.int32(&m.AckID)
	c.tracing(5, &m.TracingID)
}

// Type implements Message.
func (*AccessKeyRequest) Type() Type { return TypeAccessKeyRequest }

func (m *AccessKeyRequest) layout(c *codec) {
	c.open(TypeAccessKeyRequest, 4)
	c.text(&m.Token)
	c.optionalText(&m.KeyID)
	if c.has(4) {
		c.extensions(extensions{})
	}
}

// Type implements Message.
func (*AccessKeyResponse) Type() Type { return TypeAccessKeyResponse }

func (m *AccessKeyResponse) layout(c *codec) {
	c.open(TypeAccessKeyResponse, 6)
	c.optionalText(&m.KeyID)
	c.optionalText(&m.AccessKey)
	c.optionalText(&m.ErrorType)
	c.optionalText(&m.ErrorMessage)
	if c.has(6) {
		c.extensions(extensions{})
	}
}
