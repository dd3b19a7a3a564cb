package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/signalbox/signalbox/adminapi/client"
)

// maxProblem bounds what is read of an answer that refuses.
const maxProblem = 1 << 20

// apiURL is the control plane's address, without a slash at the end.
func (p *program) apiURL() (string, error) {
	of, err := p.profile()
	if err != nil {
		return "", err
	}
	address := cmp.Or(p.flags.api, p.Env(envAPI), of.APIURL, defaultAPI)
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usage("the control plane's address is %q: accepted is an http or https URL", address)
	}
	if err := p.checkPrivacy(u); err != nil {
		return "", err
	}
	return strings.TrimRight(address, "/"), nil
}

// checkPrivacy refuses to send credentials in the clear, but on this machine.
func (p *program) checkPrivacy(u *url.URL) error {
	host := u.Hostname()
	ip := net.ParseIP(host)
	if u.Scheme == "https" || isLocal(host) || ip != nil && ip.IsLoopback() || p.Env(envAllowHTTP) == "1" {
		return nil
	}
	return usage("%s is no https address, so that secrets would travel in the clear: set %s=1 if the network is yours alone", u.Redacted(), envAllowHTTP)
}

// isLocal tells names of this machine (RFC 6761, section 6.3).
func isLocal(host string) bool { return host == "localhost" || strings.HasSuffix(host, ".localhost") }

// identity is who the program is to the service: a session, a token, or nobody.
type identity struct{ session, token string }

// credentials are what the program shows of who it is: one of them, or neither.
func (p *program) credentials() (session, token string, err error) {
	if p.as != nil {
		return p.as.session, p.as.token, nil
	}
	if token := p.Env(envToken); token != "" {
		return "", token, nil
	}
	of, err := p.profile()
	if err != nil {
		return "", "", err
	}
	address, err := p.apiURL()
	if err != nil {
		return "", "", err
	}
	if address != strings.TrimRight(cmp.Or(of.APIURL, defaultAPI), "/") {
		return "", "", nil // they are for another place
	}
	return of.Session, of.Token, nil
}

// api is the control plane for somebody who is signed in.
func (p *program) api() (*client.ClientWithResponses, error) {
	session, token, err := p.credentials()
	if err != nil {
		return nil, err
	}
	if session == "" && token == "" {
		return nil, p.notSignedIn()
	}
	return p.anybody()
}

// notSignedIn says why there are no credentials.
func (p *program) notSignedIn() error {
	of, err := p.profile()
	if err != nil {
		return err
	}
	address, err := p.apiURL()
	if err != nil {
		return err
	}
	if of.Session != "" || of.Token != "" {
		return fmt.Errorf("%w; the sign-in of the profile is for %s, not for %s", errNotSignedIn, cmp.Or(of.APIURL, defaultAPI), address)
	}
	return errNotSignedIn
}

// anybody is the control plane for whoever it is.
func (p *program) anybody() (*client.ClientWithResponses, error) {
	address, err := p.apiURL()
	if err != nil {
		return nil, err
	}
	return client.NewClientWithResponses(address, client.WithHTTPClient(p))
}

// Do carries out a request of the generated client with credentials. An answer that
// refuses is a *Problem, so that who calls has the answer that was asked for.
func (p *program) Do(req *http.Request) (*http.Response, error) {
	session, token, err := p.credentials()
	if err != nil {
		return nil, err
	}
	switch {
	case session != "":
		req.Header.Set("Cookie", session)
	case token != "":
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if p.flags.idempotency != "" && req.Method == http.MethodPost && req.Context().Value(asideKey{}) == nil {
		req.Header.Set("Idempotency-Key", p.flags.idempotency)
	}
	ctx, cancel := context.WithTimeoutCause(req.Context(), p.flags.timeout, fmt.Errorf("no answer within %v (--timeout)", p.flags.timeout))
	res, err := p.send(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, timedOut(ctx, err)
	}
	res.Body = &bodyOf{res.Body, ctx, cancel}
	return res, p.renew(session, res)
}

// renew notes another session that an answer begins.
func (p *program) renew(session string, res *http.Response) error {
	for _, c := range res.Cookies() {
		now := c.Name + "=" + c.Value
		switch {
		case !strings.HasSuffix(c.Name, "signalbox") || c.Value == "" || c.MaxAge < 0 || now == session:
		case p.as != nil:
			p.as.session = now
		case session != "":
			return p.change(func(of *profile) { of.Session = now })
		}
	}
	return nil
}

// asideKey marks requests that a command needs and isn't about: they don't get its
// idempotency key, or a repeat would get the token of the first time.
type asideKey struct{}

func aside(ctx context.Context) context.Context { return context.WithValue(ctx, asideKey{}, true) }

// send carries out any request, of either plane.
func (p *program) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", p.userAgent())
	began := time.Now()
	res, err := p.client.Do(req)
	if err != nil {
		if p.flags.debug {
			p.say("%s %s: %v", req.Method, req.URL.Redacted(), err)
		}
		return nil, err
	}
	if p.flags.debug {
		p.say("%s %s: %d in %v, request %s", req.Method, req.URL.Redacted(), res.StatusCode, time.Since(began).Round(time.Millisecond), res.Header.Get("X-Request-Id"))
	}
	if res.StatusCode < http.StatusMultipleChoices {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, problemOf(res)
}

// problemOf reads an answer that refuses.
func problemOf(res *http.Response) *Problem {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem)) // what has come tells more than why no more did
	problem := &Problem{}
	if json.Unmarshal(body, problem) != nil || problem.Code == "" {
		problem = &Problem{Title: http.StatusText(res.StatusCode), Code: "unexpected_answer", Detail: printable(string(bytes.TrimSpace(body[:min(len(body), 300)])))}
	}
	problem.Status, problem.retryAfter = res.StatusCode, res.Header.Get("Retry-After")
	return problem
}

// bodyOf is an answer's body that ends the request's context when it is closed.
type bodyOf struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // that of this one request
	done func()
}

func (b *bodyOf) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	if err != nil && !errors.Is(err, io.EOF) {
		err = timedOut(b.ctx, err)
	}
	return n, err
}

func (b *bodyOf) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// timedOut says that a request took too long, where that is why it failed.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// maxPage is the most that the API puts into a page.
const maxPage = 200

// pages asks for page after page until there are most things, or all, and hands each
// on; most 0 = all. When there are so many pages that the service says to wait, it
// waits.
func pages[T any](p *program, most int, ask func(cursor *string, limit *int) ([]T, *string, error), page func([]T) error) error {
	var cursor *string
	for count := 0; ; {
		size := maxPage
		if most > 0 {
			size = min(size, most-count)
		}
		things, next, err := ask(cursor, &size)
		if refused, ok := errors.AsType[*Problem](err); ok && cursor != nil && refused.Status == http.StatusTooManyRequests {
			if err := sleep(p.ctx, refused.pause(time.Second)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := page(things); err != nil {
			return err
		}
		count += len(things)
		if value(next) == "" || most > 0 && count >= most {
			return nil
		}
		cursor = next
	}
}

// listPages prints page after page.
func listPages[T any](p *program, most int, ask func(cursor *string, limit *int) ([]T, *string, error), id func(T) string, columns ...column[T]) error {
	if most < 0 {
		return usage("--limit is %d: accepted is 0 or more", most)
	}
	out := &listing[T]{p: p, id: id, columns: columns}
	if err := pages(p, most, ask, out.add); err != nil {
		return err
	}
	return out.end()
}

// tenant is the one that a command is about, by slug or id.
func (p *program) tenant() (string, error) {
	of, err := p.profile()
	if err != nil {
		return "", err
	}
	if t := cmp.Or(p.flags.tenant, p.Env(envTenant), of.Tenant); t != "" {
		return t, checkName(t)
	}
	return "", usage("which tenant? Say --tenant, or choose one with \"signalbox tenants use\"")
}

// account is the one that a command is about, by id: the only one where nobody says.
func (p *program) account(ctx context.Context, api *client.ClientWithResponses) (string, error) {
	of, err := p.profile()
	if err != nil {
		return "", err
	}
	if a := cmp.Or(p.flags.account, p.Env(envAccount), of.Account); a != "" {
		return a, checkName(a)
	}
	who, err := api.GetSessionWithResponse(ctx)
	if err != nil {
		return "", err
	}
	if accounts := who.JSON200.Accounts; len(accounts) == 1 {
		return accounts[0].ID, nil
	}
	return "", usage("which account? Say --account, or choose one with \"signalbox accounts use\"; \"signalbox accounts list\" lists them")
}

// checkName refuses names that mean another address in a path, on the way or at its
// end.
func checkName(name string) error {
	if name == "." || name == ".." {
		return usage("%q is no name: it would mean another address", name)
	}
	return nil
}

// inTenant has what commands of a tenant begin with.
func (p *program) inTenant() (*client.ClientWithResponses, string, error) {
	api, err := p.api()
	if err != nil {
		return nil, "", err
	}
	t, err := p.tenant()
	return api, t, err
}

// inAccount has what commands of an account begin with.
func (p *program) inAccount(ctx context.Context) (*client.ClientWithResponses, string, error) {
	api, err := p.api()
	if err != nil {
		return nil, "", err
	}
	a, err := p.account(ctx, api)
	return api, a, err
}

// unchanged asks for a change only of what is still as it was read in the answer seen.
func unchanged(seen *http.Response) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		if tag := seen.Header.Get("ETag"); tag != "" {
			r.Header.Set("If-Match", tag)
		}
		return nil
	}
}
