package transport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/transport"
)

// A hub on any net/http router: clients connect to /chat, the program sends
// through the hub's backplane.
func ExampleMount() {
	hub, err := hubs.NewServer(hubs.Config{Name: "chat"})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	if err := transport.Mount(mux, "/chat", hub); err != nil {
		panic(err)
	}

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/chat/negotiate?negotiateVersion=1", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 application/json
}
