package outbound

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

// nobodys are networks without public servers, written down a second time.
var nobodys = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8",
}

// FuzzDial holds that a connection is made to an address of the public internet
// alone, and to the ports of HTTPS, whatever a name has led to.
func FuzzDial(f *testing.F) {
	for _, s := range []string{
		"127.0.0.1", "8.8.8.8", "169.254.169.254", "10.0.0.1", "100.64.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "fd00:ec2::254",
		"64:ff9b::7f00:1", "2002:7f00:1::", "2606:4700::1111", "fe80::1", "::127.0.0.1", "255.255.255.255",
	} {
		ip := netip.MustParseAddr(s)
		f.Add(ip.AsSlice(), uint16(443), false)
		f.Add(ip.AsSlice(), uint16(6379), true)
	}
	var networks []*net.IPNet
	for _, n := range nobodys {
		_, network, err := net.ParseCIDR(n)
		if err != nil {
			f.Fatal(err)
		}
		networks = append(networks, network)
	}
	transport := NewTransport(Config{})
	f.Fuzz(func(t *testing.T, address []byte, port uint16, plain bool) {
		ip, ok := netip.AddrFromSlice(address)
		if !ok {
			return
		}
		network := "tcp6"
		if ip.Is4() {
			network = "tcp4"
		}
		ctx := context.WithValue(context.Background(), plainKey{}, plain)
		if transport.control(ctx, network, netip.AddrPortFrom(ip, port).String(), nil) != nil {
			return
		}
		if plain || port != 443 && port != 8443 {
			t.Errorf("connects to %s, port %d, plain %v", ip, port, plain)
		}
		for _, n := range networks {
			if n.Contains(net.IP(ip.AsSlice())) || n.Contains(net.IP(ip.Unmap().AsSlice())) {
				t.Errorf("connects to %s, which is in %s", ip, n)
			}
		}
	})
}
