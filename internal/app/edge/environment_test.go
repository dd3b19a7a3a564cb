package edge

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// TestDevelopment_says_why_a_token_is_not_good to whoever has a key, and to nobody else.
func TestDevelopment_says_why_a_token_is_not_good(t *testing.T) {
	t.Parallel()
	dev, live := document("dev", 1), document("live", 1)
	dev.Environment, live.Environment = tenants.Development, tenants.Production
	c := startEdges(t, 1, dev, live)
	old := func(d *tenants.Document, key tenants.DocKey) string {
		m, err := accesstoken.MintClient(key, "http://localhost/t/"+d.Slug, accesstoken.ClientOptions{Hub: "chat"}, time.Now().Add(-20*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return m.Token
	}
	for _, row := range []struct {
		name  string
		of    *tenants.Document
		token string
		told  bool
	}{
		{"of a development tenant", dev, old(dev, dev.Keys[0]), true},
		{"signed by somebody else", dev, old(dev, live.Keys[0]), false},
		{"of a production tenant", live, old(live, live.Keys[0]), false},
	} {
		res, body := c.do(http.MethodPost, c.base(0, row.of.Slug)+"/client/negotiate?hub=chat", row.token, "", nil)
		if res.StatusCode != http.StatusUnauthorized || strings.Contains(body, whyNot) != row.told || row.told && !strings.Contains(body, "expired") {
			t.Errorf("a token %s is answered with %d %q", row.name, res.StatusCode, body)
		}
		_, body = c.do(http.MethodPost, c.base(0, row.of.Slug)+"/api/v1/hubs/chat", row.token, `{"target":"x","arguments":[]}`, nil)
		if strings.Contains(body, whyNot) != row.told {
			t.Errorf("over REST, a token %s is answered with %q", row.name, body)
		}
	}
}
