// Command issuer is an OpenID provider for tests: a module of its own, so that its
// library stays out of the product's. It prints its issuer once it serves.
//
//	issuer REDIRECT_URL
//
// Its client is "web" with the secret "secret". Its users have the password
// "verysecure"; their names are their addresses, with "unverified-" in front for those
// whose address it hasn't verified.
package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// users are all that anybody asks for.
type users struct{}

func (users) GetUserByID(id string) *storage.User {
	email, unverified := strings.CutPrefix(id, "unverified-")
	return &storage.User{ID: id, Username: id, Password: "verysecure", Email: email, EmailVerified: !unverified}
}

func (u users) GetUserByUsername(name string) *storage.User { return u.GetUserByID(name) }

func (users) ExampleClientID() string { return "service" }

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil || len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: issuer REDIRECT_URL", err)
		os.Exit(1)
	}
	issuer := "http://" + listener.Addr().String()
	storage.RegisterClients(storage.WebClient("web", "secret", os.Args[1]))
	fmt.Println(issuer)
	err = http.Serve(listener, exampleop.SetupServer(issuer, storage.NewStorage(users{}), slog.New(slog.DiscardHandler), false))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
