package edge

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The requests of Azure's management SDK in its transient mode, as it makes them:
// hub in lower case, the audience without the port and with a part of the query,
// names in Pascal case, and a 404 that counts only with its code.
func TestRequestsOfTheManagementSDK(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Hosts = []string{"demo.example.com"}
	c := startEdges(t, 3, demo)
	c.connect(0, demo, "app_chat", "ann b")
	c.connect(1, demo, "chat", "ann b")
	const version = "api-version=2022-06-01"
	for _, application := range []string{"", "application=app&"} {
		for _, row := range []struct {
			method, path, more, body, media string
			status                          int
			code                            string
		}{
			{"POST", "/:send", "&excluded=a&excluded=b", `{"Target":"m","Arguments":["x",{"Y":1}]}`, "application/json", 202, ""},
			{"POST", "/:send", "", `{"Target":"m","Arguments":[]}`, "application/json; charset=utf-8", 202, ""},
			{"POST", "/users/ann%20b/:send", "", `{"Target":"m","Arguments":null}`, "application/json", 202, ""},
			{"POST", "/groups/a%2Fb/:send", "&excluded=a", `{"Target":"m","Arguments":["x"]}`, "application/json", 202, ""},
			{"POST", "/connections/nobody/:send", "", `{"Target":"m","Arguments":["x"]}`, "application/json", 202, ""},
			{"POST", "/:send", "", "\x81\xa4json\xc4\x27{\"type\":1,\"target\":\"m\",\"arguments\":[]}\x1e", "application/octet-stream", 202, ""},
			{"PUT", "/users/ann%20b/groups/a%2Fb", "", "", "", 200, ""},
			{"PUT", "/users/ann%20b/groups/a%2Fb", "&ttl=10", "", "", 200, ""},
			{"GET", "/users/ann%20b/groups/a%2Fb", "", "", "", 200, ""},
			{"DELETE", "/users/ann%20b/groups/a%2Fb", "", "", "", 204, ""},
			{"GET", "/users/ann%20b/groups/a%2Fb", "", "", "", 404, "Info.User.NotInGroup"},
			{"DELETE", "/users/ann%20b/groups", "", "", "", 204, ""},
			{"PUT", "/groups/g/connections/nobody", "", "", "", 404, "Error.Connection.NotExisted"},
			{"DELETE", "/groups/g/connections/nobody", "", "", "", 404, "Error.Connection.NotExisted"},
			{"DELETE", "/connections/nobody/groups", "", "", "", 200, ""},
			{"HEAD", "/users/ann%20b", "", "", "", 200, ""},
			{"HEAD", "/users/nobody", "", "", "", 404, "Warning.User.NotExisted"},
			{"HEAD", "/groups/nothing", "", "", "", 404, "Warning.Group.NotExisted"},
			{"HEAD", "/connections/nobody", "", "", "", 404, "Warning.Connection.NotExisted"},
			{"DELETE", "/connections/nobody", "&reason=enough%20now", "", "", 404, "Warning.Connection.NotExisted"},
		} {
			for edge := range c.edges {
				query := "?" + application + version
				audience := "http://demo.example.com/api/hubs/chat" + row.path + query
				token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
					"aud": audience, "nameid": "machine_0123456789abcdef", "nbf": time.Now().Unix(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
				})
				token.Header["kid"] = "-1234567890"
				bearer, err := token.SignedString([]byte(demo.Keys[0].Secret))
				if err != nil {
					t.Fatal(err)
				}
				at := "http://" + c.edges[edge].Addr() + "/api/hubs/chat" + row.path + query + row.more
				res, body := c.do(row.method, at, bearer, row.body, func(r *http.Request) {
					r.Host = "demo.example.com"
					r.Header.Set("Asrs-User-Agent", "Microsoft.Azure.SignalR.Management/1.30.0")
					r.Header.Set("X-ASRS-Message-Tracing-Id", "1234567890")
					if row.media != "" {
						r.Header.Set("Content-Type", row.media)
					}
				})
				if res.StatusCode != row.status || res.Header.Get("X-Ms-Error-Code") != row.code {
					t.Errorf("%s %s%s on edge %d: %d %q, want %d %q: %s", row.method, application, row.path, edge, res.StatusCode, res.Header.Get("X-Ms-Error-Code"), row.status, row.code, body)
				}
				if res.Header.Get("RateLimit") == "" || res.Header.Get("RateLimit-Policy") == "" {
					t.Errorf("%s %s on edge %d has no RateLimit fields", row.method, row.path, edge)
				}
			}
		}
	}
	for _, edge := range c.edges { // without a token, as its health check asks
		if res, _ := c.do(http.MethodHead, "http://"+edge.Addr()+"/api/health?"+version, "", "", hostOf("demo.example.com")); res.StatusCode != http.StatusOK {
			t.Errorf("health: %d", res.StatusCode)
		}
	}
}
