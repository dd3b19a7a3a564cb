package edge

import (
	"net/http"
	"strings"
	"testing"
)

// SEC-09: routes name requests in metrics, and nothing of what callers send gets into them
// or into the log: SignalR clients carry their token in the query.
func TestMetricsAndLogsHoldRoutesAndNoTokens(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	token := clientJWT(t, demo, 0, "chat", "ann")
	key := demo.Keys[0].Secret
	c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?negotiateVersion=1&hub=chat&access_token="+token, "", "", nil)
	c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?negotiateVersion=1&hub=chat&access_token=spoiled"+token, "", "", nil)
	c.do(http.MethodPost, c.base(0, "demo")+"/api/hubs/chat/users/ann/:send", key, `{"target":"t","arguments":[]}`, nil)
	c.connect(0, demo, "chat", "bob")

	_, metrics := c.do(http.MethodGet, "http://"+c.edges[0].AdminAddr()+"/metrics", "", "", nil)
	for _, route := range []string{`http_route="/api/hubs/{hub}/users/{user}/:send"`, `http_route="/client"`} {
		if !strings.Contains(metrics, route) {
			t.Errorf("no %s in the metrics", route)
		}
	}
	for where, text := range map[string]string{"metrics": metrics, "log": c.logs.String()} {
		for what, secret := range map[string]string{"client token": token, "access key": key, "any token": "eyJ"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s in the %s", what, where)
			}
		}
	}
	if t.Failed() {
		t.Log(metrics)
	}
}
