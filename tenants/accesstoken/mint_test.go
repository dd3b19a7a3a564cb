package accesstoken

import (
	"fmt"
	"testing"
	"time"
)

func TestMintedTokensAreAccepted(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"http://localhost:8888", "https://acme.example.com/", "http://localhost:8888/t/acme", "http://LOCALHOST/t/acme/"} {
		client, err := MintClient(keys[0], endpoint, ClientOptions{Hub: "chat", UserID: "ann", CloseOnExpiry: true}, now)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Verify(keys, client.Token, toChat, now)
		if err != nil {
			t.Fatalf("%s: %v", endpoint, err)
		}
		if p.UserID != "ann" || p.KeyID != "key-1" || !p.CloseAt.Equal(client.ExpiresAt) || !client.ExpiresAt.Equal(now.Add(time.Hour)) {
			t.Fatalf("got %+v", p)
		}
		rest, err := MintREST(keys[1], endpoint, 0, now)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = Verify(keys, rest.Token, toSend, now); err != nil || p.KeyID != "key-2" {
			t.Fatalf("%s: %+v, %v", endpoint, p, err)
		}
	}
}

func TestMintedURLs(t *testing.T) {
	t.Parallel()
	client, err := MintClient(keys[0], "http://127.0.0.1:8888/t/acme", ClientOptions{Hub: "chat"}, now)
	if err != nil || client.URL != "http://127.0.0.1:8888/t/acme/client/?hub=chat" {
		t.Fatalf("got %q, %v", client.URL, err)
	}
	rest, err := MintREST(keys[0], "http://127.0.0.1:8888", 0, now)
	if err != nil || rest.URL != "http://127.0.0.1:8888/api" {
		t.Fatalf("got %q, %v", rest.URL, err)
	}
}

func TestMintRefuses(t *testing.T) {
	t.Parallel()
	for name, mint := range map[string]func() (Minted, error){
		"client_life": func() (Minted, error) {
			return MintClient(keys[0], "http://h", ClientOptions{Hub: "chat", Life: 25 * time.Hour}, now)
		},
		"rest_life":     func() (Minted, error) { return MintREST(keys[0], "http://h", 2*time.Hour, now) },
		"negative_life": func() (Minted, error) { return MintREST(keys[0], "http://h", -1, now) },
		"endpoint":      func() (Minted, error) { return MintREST(keys[0], "h:1", 0, now) },
		"user_id": func() (Minted, error) {
			return MintClient(keys[0], "http://h", ClientOptions{UserID: fmt.Sprint(make([]byte, 300))}, now)
		},
		"key_with_no_secret": func() (Minted, error) {
			k := keys[0]
			k.Secret = ""
			return MintREST(k, "http://h", 0, now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m, err := mint(); err == nil {
				t.Fatalf("got %+v", m)
			}
		})
	}
}

func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, in, out, base string // out "" = refused
	}{
		{"production", "Endpoint=https://acme.example.com;AccessKey=abc=;Version=1.0;", "Endpoint=https://acme.example.com;AccessKey=abc=;Version=1.0;", "https://acme.example.com"},
		{"dev", "Endpoint=http://localhost;Port=8888;AccessKey=abc;Version=1.0;", "Endpoint=http://localhost;Port=8888;AccessKey=abc;Version=1.0;", "http://localhost:8888"},
		{"port_overrides", " endpoint =http://localhost:1/;ACCESSKEY=abc;port=2", "Endpoint=http://localhost;Port=2;AccessKey=abc;Version=1.0;", "http://localhost:2"},
		{"port_in_endpoint", "Endpoint=http://localhost:8888;AccessKey=abc;x;AuthType=azure", "Endpoint=http://localhost;Port=8888;AccessKey=abc;Version=1.0;", "http://localhost:8888"},
		{"no_key", "Endpoint=http://localhost;Version=1.0;", "", ""},
		{"no_endpoint", "AccessKey=abc;Version=1.0;", "", ""},
		{"twice", "Endpoint=http://a;endpoint=http://b;AccessKey=abc", "", ""},
		{"port_range", "Endpoint=http://a;Port=70000;AccessKey=abc", "", ""},
		{"version", "Endpoint=http://a;AccessKey=abc;Version=2.0", "", ""},
		{"relative_endpoint", "Endpoint=a;AccessKey=abc", "", ""},
		{"empty", "", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, err := ParseConnectionString(row.in)
			if row.out == "" {
				if err == nil {
					t.Fatalf("got %v", c.Reveal())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Reveal() != row.out || c.BaseURL() != row.base {
				t.Fatalf("got %s at %s", c.Reveal(), c.BaseURL())
			}
			if s := fmt.Sprintf("%v %+v", c, c); len(s) == 0 || containsKey(s) {
				t.Fatalf("shows its key: %s", s)
			}
		})
	}
	if _, err := NewConnectionString("http://localhost/t/acme", "abc"); err == nil {
		t.Fatal("an endpoint with a path was accepted")
	}
}

func containsKey(s string) bool {
	for i := 0; i+3 <= len(s); i++ {
		if s[i:i+3] == "abc" {
			return true
		}
	}
	return false
}
