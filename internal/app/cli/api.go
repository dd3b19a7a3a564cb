package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// noCommand says why an operation of the API has no command of its own; "api" reaches
// all of them.
var noCommand = map[string]string{
	"getSignInOptions": "tells the console's sign-in page which buttons it needs",
	"beginOidc":        "sends a browser to the OpenID provider; programs use an API token",
	"finishOidc":       "is where the OpenID provider sends a browser back",
	"linkIdentity":     "sends a browser to the OpenID provider",
	"getOpenapi":       "is the document that this program is made from",
}

func (p *program) apiCommand() *cobra.Command {
	var fields, headers []string
	var file string
	var include bool
	c := &cobra.Command{
		Use: "api METHOD PATH", Short: "Make any request to the control plane, signed in",
		Long: `Make a request to the control plane's API with your sign-in, and print the answer as it
is. {tenant} and {account} in PATH stand for those that are chosen.`,
		Example: "  signalbox api GET /v1/tenants/{tenant}/limits\n  signalbox api POST /v1/tenants --field name=Shop --field slug=shop\n  signalbox api GET /openapi.json",
		Args:    exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			method, path := strings.ToUpper(args[0]), args[1]
			if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, method) {
				return usage("METHOD is %q: accepted is GET, POST, PUT, PATCH or DELETE", args[0])
			}
			if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
				return usage("PATH is %q: accepted is one that begins with one slash, as /v1/tenants", path)
			}
			body, err := p.apiBody(fields, file)
			if err != nil {
				return err
			}
			if path, err = p.fillIn(c, path); err != nil {
				return err
			}
			address, err := p.apiURL()
			if err != nil {
				return err
			}
			req, err := http.NewRequestWithContext(c.Context(), method, address+path, bytes.NewReader(body))
			if err != nil {
				return usage("PATH is %q: %s", args[1], err)
			}
			if body != nil {
				req.Header.Set("Content-Type", "application/json")
			}
			for _, h := range headers {
				name, text, ok := strings.Cut(h, ":")
				if !ok {
					return usage("--header is %q: accepted is NAME: VALUE", h)
				}
				req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(text))
			}
			res, err := p.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			if include {
				if err := p.line(res.Proto + " " + res.Status); err != nil {
					return err
				}
				for _, name := range []string{"Etag", "Idempotent-Replay", "Ratelimit", "X-Request-Id"} {
					if v := res.Header.Get(name); v != "" {
						if err := p.line(name + ": " + v); err != nil {
							return err
						}
					}
				}
				if err := p.line(""); err != nil {
					return err
				}
			}
			_, err = io.Copy(p.Out, res.Body)
			return err
		},
	}
	c.Flags().StringArrayVarP(&fields, "field", "f", nil, "`NAME=VALUE` of the body: JSON, or a text; may be repeated")
	c.Flags().StringVar(&file, "file", "", "a `file` with the body; - is the standard input")
	c.Flags().StringArrayVarP(&headers, "header", "H", nil, "`NAME: VALUE` of the request, as 'If-Match: \"abc\"'; may be repeated")
	c.Flags().BoolVarP(&include, "include", "i", false, "print status and header, too")
	return c
}

func (p *program) apiBody(fields []string, file string) ([]byte, error) {
	switch {
	case file != "" && len(fields) > 0:
		return nil, usage("--file has the body: leave --field out")
	case file != "":
		return p.readFile(file)
	case len(fields) == 0:
		return nil, nil
	}
	return bodyOfFields(fields)
}

// fillIn puts the tenant and account that are chosen into a path.
func (p *program) fillIn(c *cobra.Command, path string) (string, error) {
	if strings.Contains(path, "{tenant}") {
		t, err := p.tenant()
		if err != nil {
			return "", err
		}
		path = strings.ReplaceAll(path, "{tenant}", t)
	}
	if strings.Contains(path, "{account}") {
		_, a, err := p.inAccount(c.Context())
		if err != nil {
			return "", err
		}
		path = strings.ReplaceAll(path, "{account}", a)
	}
	return path, nil
}

// bodyOfFields makes an object of NAME=VALUE.
func bodyOfFields(fields []string) ([]byte, error) {
	object := make(map[string]json.RawMessage, len(fields))
	for _, f := range fields {
		name, text, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, usage("--field is %q: accepted is NAME=VALUE", f)
		}
		if json.Valid([]byte(text)) {
			object[name] = json.RawMessage(text)
			continue
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			return nil, err
		}
		object[name] = quoted
	}
	return json.Marshal(object)
}
