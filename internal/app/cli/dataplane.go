package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/signalbox/signalbox/adminapi/client"
	"github.com/signalbox/signalbox/hubs/connectionstring"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// dataPlane is a tenant's data plane: with an access key of the environment's, or
// with tokens that the control plane issues to whoever is signed in.
type dataPlane struct {
	p    *program
	base string // without a slash at the end
	// With a key there is no control plane.
	key string
	// Else a token for REST is kept until it ends.
	api     *client.ClientWithResponses
	tenant  string
	bearer  string
	expires time.Time
}

// apiVersion asks for the newer form of answers, which have positions.
const apiVersion = "2022-06-01"

func (p *program) dataPlane(ctx context.Context) (*dataPlane, error) {
	if s := p.Env(envConnection); s != "" && p.flags.tenant == "" {
		parsed, err := connectionstring.Parse(s)
		if err != nil {
			return nil, usage("%s: %s", envConnection, err)
		}
		at, err := url.Parse(parsed.Server)
		if err != nil {
			return nil, usage("%s: %s", envConnection, err)
		}
		if err := p.checkPrivacy(at); err != nil {
			return nil, err
		}
		return &dataPlane{p: p, base: strings.TrimSuffix(parsed.Server, "/"), key: string(parsed.Key)}, nil
	}
	api, tenant, err := p.inTenant()
	if err != nil {
		return nil, err
	}
	d := &dataPlane{p: p, api: api, tenant: tenant}
	_, err = d.token(ctx)
	return d, err
}

// token is good for REST requests, for five minutes at least.
func (d *dataPlane) token(ctx context.Context) (string, error) {
	if d.key != "" {
		return d.key, nil
	}
	if time.Until(d.expires) > 5*time.Minute {
		return d.bearer, nil
	}
	t, err := d.api.CreateRestTokenWithResponse(aside(ctx), d.tenant, client.RestTokenRequest{})
	if err != nil {
		return "", err
	}
	at, err := url.Parse(t.JSON201.URL)
	if err != nil {
		return "", fmt.Errorf("read the data plane's address: %w", err)
	}
	if err := d.p.checkPrivacy(at); err != nil {
		return "", err
	}
	// The address of the REST API is below that of the tenant.
	d.base, d.bearer, d.expires = strings.TrimSuffix(strings.TrimSuffix(t.JSON201.URL, "/"), "/api"), t.JSON201.Token, t.JSON201.ExpiresAt
	return d.bearer, nil
}

// do sends a request to an address below the tenant's, such as "/api/hubs/chat/:send".
// A refusal is a *Problem. The answer's body is for the caller to close.
func (d *dataPlane) do(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	for part := range strings.SplitSeq(path, "/") {
		if err := checkName(part); err != nil {
			return nil, err
		}
	}
	token, err := d.token(ctx)
	if err != nil {
		return nil, err
	}
	if query == nil {
		query = url.Values{}
	}
	query.Set("api-version", apiVersion)
	ctx, cancel := context.WithTimeoutCause(ctx, d.p.flags.timeout, fmt.Errorf("no answer within %v (--timeout)", d.p.flags.timeout))
	req, err := http.NewRequestWithContext(ctx, method, d.base+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		cancel()
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := d.p.send(req)
	if err != nil {
		defer cancel()
		return nil, timedOut(ctx, err)
	}
	res.Body = &bodyOf{res.Body, ctx, cancel}
	return res, nil
}

// ask is do whose answer in JSON goes to v; nil = nobody wants it.
func (d *dataPlane) ask(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte, v any) error {
	res, err := d.do(ctx, method, path, query, header, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(v); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// hubPath is the address of a hub and of what is below it: names are escaped.
func hubPath(hub string, below ...string) string {
	path := "/api/hubs/" + url.PathEscape(hub)
	for _, part := range below {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// clientToken is where and with what a client of a hub connects.
func (d *dataPlane) clientToken(ctx context.Context, in client.ClientTokenRequest) (address, token string, err error) {
	if d.key == "" {
		t, err := d.api.CreateClientTokenWithResponse(aside(ctx), d.tenant, in)
		if err != nil {
			return "", "", err
		}
		return t.JSON201.URL, t.JSON201.Token, nil
	}
	hub, err := tenants.HubName(in.Hub)
	if err != nil {
		return "", "", usage("HUB: %s", err)
	}
	made, err := accesstoken.MintClient(tenants.DocKey{ID: "cli", Secret: d.key}, d.base, accesstoken.ClientOptions{
		Hub: hub, UserID: value(in.UserID), Groups: value(in.Groups), Permissions: value(in.Permissions),
	}, time.Now())
	if err != nil {
		return "", "", usage("%s", err)
	}
	return made.URL, made.Token, nil
}
