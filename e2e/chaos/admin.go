package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ask sends a request to the api, with the token of the account that owns A and B.
func (w *world) ask(ctx context.Context, method, path, body string, header ...string) (int, []byte, error) {
	return w.askFor(ctx, planOfOthers, method, path, body, header...)
}

// askFor is ask with the token of the account of a plan.
func (w *world) askFor(ctx context.Context, plan, method, path, body string, header ...string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.apiURL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+w.tokens[plan])
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if req.Header.Get("Cookie") != "" { // a person's session
		req.Header.Del("Authorization")
	}
	res, err := web.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it is read
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, text, err
}

// patchHub changes the settings of the hub.
func (w *world) patchHub(ctx context.Context, slug, settings string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	status, text, err := w.ask(ctx, http.MethodPatch, "/v1/tenants/"+slug+"/hubs/"+hubName, settings)
	if err == nil && status >= 300 {
		err = fmt.Errorf("change hub: %d %s", status, text)
	}
	return err
}

func portOf(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return n
}

// signIn signs the owner of the account of a plan in and returns the session's cookie.
func (w *world) signIn(ctx context.Context, plan string) (string, error) {
	body := fmt.Sprintf(`{"email":%q,"password":%q}`, plan+"@example.com", w.secrets.password)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.apiURL+"/v1/session", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := web.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // only its cookies are wanted
	for _, c := range res.Cookies() {
		return c.Name + "=" + c.Value, nil
	}
	return "", fmt.Errorf("signing in answered %s", res.Status)
}
