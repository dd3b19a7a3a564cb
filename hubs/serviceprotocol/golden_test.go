package serviceprotocol_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

func payloads(json, messagepack string) []serviceprotocol.Payload {
	return []serviceprotocol.Payload{{Protocol: "json", Data: []byte(json)}, {Protocol: "messagepack", Data: []byte(messagepack)}}
}

var (
	sixSeven  = payloads("\x06\x07\x01\x02\x03\x04\x05", "\x07\x01\x02\x03\x04\x05\x06")
	twoThree  = payloads("\x02\x03\x04\x05\x06\x07\x01", "\x03\x04\x05\x06\x07\x01\x02")
	fourFive  = payloads("\x04\x05\x06\x07\x01\x02\x03", "\x05\x06\x07\x01\x02\x03\x04")
	eight     = payloads("\x01\x02\x03\x04\x05\x06\x07\x08", "\x07\x08\x01\x02\x03\x04\x05\x06")
	seven     = []byte{1, 2, 3, 4, 5, 6, 7}
	userClaim = []serviceprotocol.Claim{{Type: "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", Value: "user1"}}
)

// golden says what each vector means, by its name.
var golden = map[string]serviceprotocol.Message{
	"handshake_request":                          &serviceprotocol.HandshakeRequest{Version: 1},
	"handshake_request_with_property":            &serviceprotocol.HandshakeRequest{Version: 1, ConnectionType: serviceprotocol.ConnectionOnDemand, Target: "abc"},
	"handshake_request_with_migratable_status":   &serviceprotocol.HandshakeRequest{Version: 1, MigrationLevel: serviceprotocol.MigrationShutdownOnly},
	"handshake_request_with_stateful_reconnects": &serviceprotocol.HandshakeRequest{Version: 1, StatefulReconnects: true},
	"handshake_response":                         &serviceprotocol.HandshakeResponse{},
	"handshake_response_with_error":              &serviceprotocol.HandshakeResponse{Error: "Version mismatch."},
	"handshake_response_with_connection_id":      &serviceprotocol.HandshakeResponse{ConnectionID: "abc"},

	"ping":           &serviceprotocol.Ping{},
	"ping_with_pair": &serviceprotocol.Ping{Items: []string{"a", "b"}},

	"open_connection":             &serviceprotocol.OpenConnection{ConnectionID: "conn1"},
	"open_connection_with_claims": &serviceprotocol.OpenConnection{ConnectionID: "conn2", Claims: userClaim},
	"open_connection_with_headers": &serviceprotocol.OpenConnection{ConnectionID: "conn3", Headers: []serviceprotocol.Header{
		{Name: "header-key-1", Values: []string{"header-value-1"}},
		{Name: "header-key-2", Values: []string{"heaer-value-2a", "header-value-2b"}},
		{Name: "header-key-3", Values: []string{"heaer-value-3a", "header-value-3b", "header-value-3c"}},
	}},
	"open_connection_with_query_string1": &serviceprotocol.OpenConnection{ConnectionID: "conn4", Query: "query1=value1"},
	"open_connection_with_query_string2": &serviceprotocol.OpenConnection{ConnectionID: "conn4", Query: "query1=value1&query2=query2&query3=value3"},
	"open_connection_with_protocol":      &serviceprotocol.OpenConnection{ConnectionID: "conn1", Protocol: "json"},
	"open_connection_with_tracing_id":    &serviceprotocol.OpenConnection{ConnectionID: "conn1", TracingID: 888},

	"close_connection":                 &serviceprotocol.CloseConnection{ConnectionID: "conn3"},
	"close_connection_with_error":      &serviceprotocol.CloseConnection{ConnectionID: "conn4", Error: "Error message."},
	"close_connection_with_headers":    &serviceprotocol.CloseConnection{ConnectionID: "conn4", Error: "Error message.", Headers: []serviceprotocol.Header{{Name: "foo", Values: []string{"bar"}}}},
	"close_connection_with_tracing_id": &serviceprotocol.CloseConnection{ConnectionID: "conn4", TracingID: 123},

	"connection_data":                       &serviceprotocol.ConnectionData{ConnectionID: "conn5", Payload: seven},
	"connection_data_with_tracing_id":       &serviceprotocol.ConnectionData{ConnectionID: "conn5", Payload: seven, TracingID: 1234},
	"connection_data_with_type_and_partial": &serviceprotocol.ConnectionData{ConnectionID: "conn6", Payload: seven, DataType: serviceprotocol.DataInvocation, Partial: true},
	"connection_data_handshake":             &serviceprotocol.ConnectionData{ConnectionID: "conn5", Payload: []byte{1, 2}, DataType: serviceprotocol.DataHandshake},
	"connection_reconnect":                  &serviceprotocol.ConnectionReconnect{ConnectionID: "conn7"},

	"multi_connection_data":                 &serviceprotocol.MultiConnectionData{ConnectionIDs: []string{"conn6", "conn7"}, Payloads: twoThree},
	"multi_connection_data_with_tracing_id": &serviceprotocol.MultiConnectionData{ConnectionIDs: []string{"conn6", "conn7"}, Payloads: twoThree, TracingID: 1234},
	"user_data":                             &serviceprotocol.UserData{UserID: "user1", Payloads: sixSeven},
	"user_data_with_tracing_id":             &serviceprotocol.UserData{UserID: "user1", Payloads: sixSeven, TracingID: 1234},
	"multi_user_data":                       &serviceprotocol.MultiUserData{UserIDs: []string{"user1", "user2"}, Payloads: sixSeven},
	"multi_user_data_with_tracing_id":       &serviceprotocol.MultiUserData{UserIDs: []string{"user1", "user2"}, Payloads: sixSeven, TracingID: 1234},
	"broadcast":                             &serviceprotocol.BroadcastData{Payloads: fourFive},
	"broadcast_except":                      &serviceprotocol.BroadcastData{Excluded: []string{"conn7", "conn8", "conn9"}, Payloads: sixSeven},
	"broadcast_with_tracing_id":             &serviceprotocol.BroadcastData{Payloads: fourFive, TracingID: 1234},
	"broadcast_with_filter":                 &serviceprotocol.BroadcastData{Payloads: []serviceprotocol.Payload{{Protocol: "json", Data: []byte{1}}}, Filter: "userId"},
	"group_broadcast":                       &serviceprotocol.GroupBroadcastData{Group: "group3", Payloads: sixSeven},
	"group_broadcast_except":                &serviceprotocol.GroupBroadcastData{Group: "group3", Excluded: []string{"conn12", "conn13"}, Payloads: sixSeven},
	"group_broadcast_with_tracing_id":       &serviceprotocol.GroupBroadcastData{Group: "group3", Payloads: sixSeven, TracingID: 1234},
	"group_broadcast_except_user": &serviceprotocol.GroupBroadcastData{
		Group: "group3", Excluded: []string{"conn12", "conn13"}, Payloads: sixSeven,
		ExcludedUsers: []string{"user1", "user2"}, CallerUserID: "user3",
	},
	"multi_group_broadcast":                 &serviceprotocol.MultiGroupBroadcastData{Groups: []string{"group4", "group5"}, Payloads: eight},
	"multi_group_broadcast_with_tracing_id": &serviceprotocol.MultiGroupBroadcastData{Groups: []string{"group4", "group5"}, Payloads: eight, TracingID: 1234},

	"join_group":                                &serviceprotocol.JoinGroup{ConnectionID: "conn10", Group: "group1"},
	"join_group_with_tracing_id":                &serviceprotocol.JoinGroup{ConnectionID: "conn10", Group: "group1", TracingID: 1234},
	"leave_group":                               &serviceprotocol.LeaveGroup{ConnectionID: "conn11", Group: "group2"},
	"leave_group_with_tracing_id":               &serviceprotocol.LeaveGroup{ConnectionID: "conn11", Group: "group2", TracingID: 1234},
	"user_join_group":                           &serviceprotocol.UserJoinGroup{UserID: "conn10", Group: "group1"},
	"user_join_group_with_tracing_id":           &serviceprotocol.UserJoinGroup{UserID: "conn10", Group: "group1", TracingID: 1234},
	"user_join_group_with_ttl":                  &serviceprotocol.UserJoinGroup{UserID: "conn10", Group: "group1", TTL: 100, HasTTL: true},
	"user_join_group_with_ttl_zero":             &serviceprotocol.UserJoinGroup{UserID: "conn10", Group: "group1", HasTTL: true},
	"user_join_group_with_negative_ttl":         &serviceprotocol.UserJoinGroup{UserID: "conn10", Group: "group1", TTL: -1, HasTTL: true},
	"user_leave_group":                          &serviceprotocol.UserLeaveGroup{UserID: "conn11", Group: "group2"},
	"user_leave_all_groups":                     &serviceprotocol.UserLeaveGroup{UserID: "user1"},
	"user_leave_group_with_tracing_id":          &serviceprotocol.UserLeaveGroup{UserID: "conn11", Group: "group2", TracingID: 1234},
	"join_group_with_ack":                       &serviceprotocol.JoinGroupWithAck{ConnectionID: "conn14", Group: "group1", AckID: 1},
	"join_group_with_ack_with_tracing_id":       &serviceprotocol.JoinGroupWithAck{ConnectionID: "conn14", Group: "group1", AckID: 1, TracingID: 1234},
	"leave_group_with_ack":                      &serviceprotocol.LeaveGroupWithAck{ConnectionID: "conn15", Group: "group2", AckID: 1},
	"leave_all_groups_with_ack":                 &serviceprotocol.LeaveGroupWithAck{ConnectionID: "conn15", AckID: 2},
	"leave_group_with_ack_with_tracing_id":      &serviceprotocol.LeaveGroupWithAck{ConnectionID: "conn15", Group: "group2", AckID: 1, TracingID: 1234},
	"user_join_group_with_ack_with_tracing_id":  &serviceprotocol.UserJoinGroupWithAck{UserID: "conn14", Group: "group1", AckID: 1, TracingID: 1234, TTL: 666, HasTTL: true},
	"user_leave_group_with_ack_with_tracing_id": &serviceprotocol.UserLeaveGroupWithAck{UserID: "conn15", Group: "group2", AckID: 1, TracingID: 1234},
	"user_leave_all_groups_with_ack":            &serviceprotocol.UserLeaveGroupWithAck{UserID: "user1", AckID: 3},
	"ack":                                       &serviceprotocol.Ack{AckID: 1, Status: 100},
	"ack_with_text":                             &serviceprotocol.Ack{AckID: 2, Status: 101, Message: "Joined group successfully"},
	"ack_with_payload":                          &serviceprotocol.Ack{AckID: 2, Payload: []byte{1, 2, 3}},

	"check_user_in_group_with_ack":        &serviceprotocol.CheckUserInGroupWithAck{UserID: "user", Group: "group", AckID: 3, TracingID: 1234},
	"check_group_existence_with_ack":      &serviceprotocol.CheckGroupExistenceWithAck{Group: "group", TracingID: 3},
	"check_connection_existence_with_ack": &serviceprotocol.CheckConnectionExistenceWithAck{ConnectionID: "connId", AckID: 1, TracingID: 2},
	"check_user_existence_with_ack":       &serviceprotocol.CheckUserExistenceWithAck{UserID: "uid", AckID: 4, TracingID: 23},
	"service_error":                       &serviceprotocol.ServiceError{Message: "Maximum message count limit reached: 100000"},
	"service_warning":                     &serviceprotocol.ServiceEvent{Object: serviceprotocol.EventUser, ID: "abc", Kind: serviceprotocol.EventNotExisted, Message: "User abc is not existed."},
	"access_key_request":                  &serviceprotocol.AccessKeyRequest{Token: "token"},
	"access_key_request_with_kid":         &serviceprotocol.AccessKeyRequest{Token: "token", KeyID: "kid"},
	"access_key_response":                 &serviceprotocol.AccessKeyResponse{KeyID: "kid", AccessKey: "key"},
	"access_key_response_with_exception":  &serviceprotocol.AccessKeyResponse{ErrorType: "ArgumentNullException", ErrorMessage: "Value cannot be null. (Parameter 'token invalid')"},

	"close_connection_with_ack":                      &serviceprotocol.CloseConnectionWithAck{ConnectionID: "conn1", AckID: 1},
	"close_connection_with_ack_with_optional":        &serviceprotocol.CloseConnectionWithAck{ConnectionID: "conn1", Reason: "detail", AckID: 1, TracingID: 1},
	"close_connections_with_ack":                     &serviceprotocol.CloseConnectionsWithAck{AckID: 1},
	"close_connections_with_ack_with_optional":       &serviceprotocol.CloseConnectionsWithAck{AckID: 1, Excluded: []string{"connId"}, TracingID: 1},
	"close_user_connections_with_ack":                &serviceprotocol.CloseUserConnectionsWithAck{UserID: "user1", AckID: 1},
	"close_user_connections_with_ack_with_optional":  &serviceprotocol.CloseUserConnectionsWithAck{UserID: "conn1", Reason: "detail", AckID: 1, TracingID: 1},
	"close_group_connections_with_ack":               &serviceprotocol.CloseGroupConnectionsWithAck{Group: "group1", AckID: 1},
	"close_group_connections_with_ack_with_optional": &serviceprotocol.CloseGroupConnectionsWithAck{Group: "group1", Reason: "detail", AckID: 1, TracingID: 1},

	"client_invocation": &serviceprotocol.ClientInvocation{InvocationID: "invocationId", ConnectionID: "conn1", CallerServerID: "server1", Payloads: twoThree},
	"client_completion": &serviceprotocol.ClientCompletion{
		InvocationID: "invocationId", ConnectionID: "conn1", CallerServerID: "server1", Protocol: "json", Payload: []byte{2, 3, 4, 5, 6, 7, 1},
	},
	"error_completion":          &serviceprotocol.ErrorCompletion{InvocationID: "invocationId", ConnectionID: "conn1", CallerServerID: "server1", Error: "invocation failed."},
	"service_mapping":           &serviceprotocol.ServiceMapping{InvocationID: "invocationId", ConnectionID: "conn1", InstanceID: "instance1"},
	"connection_flow_control_1": &serviceprotocol.ConnectionFlowControl{ConnectionID: "conn1", Connection: serviceprotocol.FlowClient, Operation: serviceprotocol.FlowPause},
	"connection_flow_control_2": &serviceprotocol.ConnectionFlowControl{ConnectionID: "conn2", Connection: serviceprotocol.FlowServer, Operation: serviceprotocol.FlowOffline},
	"group_member_query":        &serviceprotocol.GroupMemberQuery{Group: "group", AckID: 1, Max: 10, Continuation: "token", TracingID: 1234},
	"get_connection_claims":     &serviceprotocol.GetConnectionClaims{ConnectionToken: "token", AckID: 7},
	"update_connection_claims":  &serviceprotocol.UpdateConnectionClaims{ConnectionID: "conn1", Claims: []serviceprotocol.Claim{{Type: "role", Value: "admin"}}},
}

// vectors reads a file of testdata.
func vectors(tb testing.TB, file string) map[string][]byte {
	tb.Helper()
	content, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	bodies := map[string][]byte{}
	for line := range strings.Lines(string(content)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		body, err := hex.DecodeString(text)
		if err != nil || bodies[name] != nil {
			tb.Fatalf("%s: %s is there twice or not hexadecimal: %v", file, name, err)
		}
		bodies[name] = body
	}
	return bodies
}

func TestCurrent_messages_are_read_and_written_byte_for_byte(t *testing.T) {
	t.Parallel()
	bodies := vectors(t, "current.txt")
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := golden[name]
			if !ok {
				t.Fatal("golden_test.go doesn't say what it means")
			}
			got, err := serviceprotocol.Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(framed(body), serviceprotocol.Append(nil, want)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, kind := range known() {
		found := false
		for name := range bodies {
			found = found || golden[name] != nil && golden[name].Type() == kind
		}
		if !found {
			t.Errorf("no vector for type %d", kind)
		}
	}
}

func TestOlder_forms_are_read(t *testing.T) {
	t.Parallel()
	for name, body := range vectors(t, "older.txt") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message, _, _ := strings.Cut(name, "_no_")
			message = strings.TrimSuffix(message, "_2024")
			got, err := serviceprotocol.Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(golden[message], got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// known are the types with a layout: all but RefreshAuth, whose layout isn't public.
func known() []serviceprotocol.Type {
	var types []serviceprotocol.Type
	for t := serviceprotocol.TypeHandshakeRequest; t <= serviceprotocol.TypeUpdateConnectionClaims; t++ {
		if t != serviceprotocol.TypeRefreshAuth {
			types = append(types, t)
		}
	}
	return types
}

// framed puts the length prefix before a message, independently of Append.
func framed(body []byte) []byte {
	var prefix []byte
	size := uint(len(body))
	for size >= 0x80 {
		prefix = append(prefix, byte(size)|0x80)
		size >>= 7
	}
	return append(append(prefix, byte(size)), body...)
}
