package accesstoken

import (
	"errors"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestAudience(t *testing.T) {
	t.Parallel()
	toServer := toChat
	toServer.Kind = Server
	toAPI := toSend
	toAPI.Path = "/api/hubs/chat/:send"
	for _, row := range []struct {
		name   string
		target Target
		aud    any
		scope  string
		want   error
	}{
		{"sdk_client", toChat, "http://localhost/client/?hub=chat", "", nil},
		{"with_port", toChat, "http://localhost:8888/client/?hub=chat", "", nil},
		{"other_port", toChat, "http://localhost:1/client/?hub=chat", "", nil},
		{"https", toChat, "https://acme.example.com/client/?hub=chat", "", nil},
		{"host_in_upper_case", toChat, "https://ACME.example.com/client/?hub=chat", "", nil},
		{"no_slash", toChat, "http://localhost/client?hub=chat", "", nil},
		{"path_prefix", toChat, "http://localhost/t/acme/client/?hub=chat", "", nil},
		{"hub_in_upper_case", toChat, "http://localhost/client/?hub=Chat", "", nil},
		{"more_query", toChat, "http://localhost/client/?hub=chat&asrs.op=%2Fchat", "", nil},
		{"array_with_one_right", toChat, []string{"x", "http://localhost/client/?hub=chat"}, "", nil},
		{"sdk_server", toServer, "http://localhost/server/?hub=chat", "", nil},

		{"other_scheme", toChat, "ws://localhost/client/?hub=chat", "", ErrInvalid},
		{"other_host", toChat, "http://other.example.com/client/?hub=chat", "", ErrInvalid},
		{"host_as_suffix", toChat, "http://localhost.evil.example/client/?hub=chat", "", ErrInvalid},
		{"user_in_url", toChat, "http://localhost@evil.example/client/?hub=chat", "", ErrInvalid},
		{"no_host", toChat, "/client/?hub=chat", "", ErrInvalid},
		{"other_hub", toChat, "http://localhost/client/?hub=chat2", "", ErrInvalid},
		{"no_hub", toChat, "http://localhost/client/", "", ErrInvalid},
		{"two_hubs", toChat, "http://localhost/client/?hub=chat&hub=other", "", ErrInvalid},
		{"prefix_of_the_path", toChat, "http://localhost/clientadmin/?hub=chat", "", ErrInvalid},
		{"path_in_upper_case", toChat, "http://localhost/CLIENT/?hub=chat", "", ErrInvalid},
		{"two_slashes", toChat, "http://localhost/client//?hub=chat", "", ErrInvalid},
		{"longer_path", toChat, "http://localhost/client/negotiate?hub=chat", "", ErrInvalid},
		{"prefix_of_another_tenant", toChat, "http://localhost/t/other/client/?hub=chat", "", ErrInvalid},
		{"fragment", toChat, "http://localhost/client/?hub=chat#x", "", ErrInvalid},
		{"missing", toChat, nil, "", ErrInvalid},
		{"empty_array", toChat, []string{}, "", ErrInvalid},
		{"array_of_numbers", toChat, []int{1}, "", ErrInvalid},
		{"number", toChat, 1, "", ErrInvalid},
		{"server_token_as_client", toChat, "http://localhost/server/?hub=chat", "", ErrWrongKind},
		{"rest_token_as_client", toChat, "http://localhost/api/v1/hubs/chat", "", ErrWrongKind},
		{"tenant_wide_rest_token_as_client", toChat, "http://localhost/api", scopeTenant, ErrWrongKind},
		{"client_token_as_server", toServer, "http://localhost/client/?hub=chat", "", ErrWrongKind},
		{"client_token_as_rest", toSend, "http://localhost/client/?hub=chat", "", ErrWrongKind},

		{"rest_path", toSend, "http://localhost/api/v1/hubs/chat/groups/a%2Fb", "", nil},
		{"rest_path_with_slash", toSend, "http://localhost:8888/api/v1/hubs/chat/groups/a%2Fb/", "", nil},
		{"rest_path_with_query", toAPI, "http://localhost/api/hubs/chat/:send?api-version=2022-06-01", "", nil},
		{"rest_path_encoded_otherwise", toAPI, "http://localhost/api/hubs/chat/%3Asend", "", nil},
		{"rest_path_after_prefix", toAPI, "http://localhost/t/acme/api/hubs/chat/:send", "", nil},
		{"rest_slash_is_not_an_escaped_slash", toSend, "http://localhost/api/v1/hubs/chat/groups/a/b", "", ErrInvalid},
		{"rest_part_of_the_path", toSend, "http://localhost/api/v1/hubs/chat", "", ErrInvalid},
		{"rest_other_hub", toAPI, "http://localhost/api/hubs/chat2/:send", "", ErrInvalid},
		{"rest_path_in_upper_case", toAPI, "http://localhost/API/hubs/chat/:send", "", ErrInvalid},
		{"rest_root_without_scope", toAPI, "http://localhost/api", "", ErrInvalid},
		{"rest_root_with_scope", toAPI, "http://localhost/api", scopeTenant, nil},
		{"rest_root_with_unknown_scope", toAPI, "http://localhost/api", "all", ErrInvalid},
		{"rest_root_of_another_host", toAPI, "http://other.example.com/api", scopeTenant, ErrInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			changes := jwt.MapClaims{"aud": row.aud}
			if row.scope != "" {
				changes[claimScope] = row.scope
			}
			_, err := Verify(keys, hs256(t, good(changes)), row.target, now)
			if !errors.Is(err, row.want) {
				t.Fatalf("got %v, want %v", err, row.want)
			}
		})
	}
}
