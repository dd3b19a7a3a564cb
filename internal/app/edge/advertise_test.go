package edge

import "testing"

func TestAdvertisedAddress(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		cfg         Config
		bound, want string
	}{
		"what_is_set_wins":                 {Config{RedisURL: "redis://127.0.0.1", Advertise: "edge-1:20022"}, "[::]:20022", "edge-1:20022"},
		"an_interface_is_its_own_address":  {Config{RedisURL: "redis://127.0.0.1"}, "10.1.2.3:20022", "10.1.2.3:20022"},
		"all_interfaces_give_the_route":    {Config{RedisURL: "redis://127.0.0.1"}, "[::]:20022", "127.0.0.1:20022"},
		"all_of_IPv4_give_the_route":       {Config{RedisURL: "rediss://u:p@127.0.0.1:6380"}, "0.0.0.0:20022", "127.0.0.1:20022"},
		"the_route_of_IPv6_is_put_in_form": {Config{RedisURL: "redis://[::1]:6379/0"}, "[::]:20022", "[::1]:20022"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := row.cfg.advertised(t.Context(), row.bound)
			if err != nil || got != row.want {
				t.Errorf("advertised %q, %v; want %q", got, err, row.want)
			}
		})
	}
}
