package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/signalbox/signalbox/adminapi"
)

// contract answers requests as the API's document says, after it has checked that
// they are what the document says, and the data plane's without looking at them.
type contract struct {
	router routers.Router
	last   bool // answer with the last good status there is, not the first

	mu     sync.Mutex
	called []string
	wrong  []string
}

const (
	contractAPI  = "https://api.invalid"
	contractData = "https://data.invalid"
)

// document is the API's, and what finds its operations.
var document = sync.OnceValues(func() (*openapi3.T, routers.Router) {
	doc, err := adminapi.Spec()
	if err != nil {
		panic(err)
	}
	doc.OpenAPI = "3.0.3" // as the API itself checks requests
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return doc, router
})

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.String(), contractAPI) {
		return answer(http.StatusOK, "application/json", `{"position":"p","messages":[],"value":[],"count":1,"result":1}`), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		c.wrong = append(c.wrong, r.Method+" "+r.URL.Path+": "+err.Error())
		return answer(http.StatusNotFound, "application/problem+json", `{"code":"not_found"}`), nil
	}
	c.called = append(c.called, route.Operation.OperationID)
	options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	if err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}); err != nil {
		c.wrong = append(c.wrong, route.Operation.OperationID+": "+err.Error())
	}
	var good []string
	for status := range route.Operation.Responses.Map() {
		if strings.HasPrefix(status, "2") {
			good = append(good, status)
		}
	}
	slices.Sort(good)
	status := good[0]
	if c.last {
		status = good[len(good)-1]
	}
	code := map[string]int{"200": 200, "201": 201, "202": 202, "204": 204}[status]
	content := route.Operation.Responses.Value(status).Value.Content
	if r.URL.Query().Get("format") == "csv" {
		return answer(code, "text/csv", "id\n1\n"), nil
	}
	if of := content.Get("application/json"); of != nil {
		body, err := json.Marshal(sample("", of.Schema.Value))
		if err != nil {
			return nil, err
		}
		return answer(code, "application/json", string(body)), nil
	}
	if content.Get("application/jsonl") != nil {
		return answer(code, "application/jsonl", "{}\n"), nil
	}
	return answer(code, "", ""), nil
}

func answer(status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// sample makes a value of a schema, with one of everything.
func sample(name string, s *openapi3.Schema) any {
	switch {
	case len(s.AllOf) > 0:
		return sample(name, s.AllOf[0].Value)
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type.Is("object"):
		object := map[string]any{}
		for field, of := range s.Properties {
			if field != "next_cursor" { // there is one page
				object[field] = sample(field, of.Value)
			}
		}
		return object
	case s.Type.Is("array"):
		return []any{sample(name, s.Items.Value)}
	case s.Type.Is("boolean"):
		return true
	case s.Type.Is("integer"), s.Type.Is("number"):
		return 1
	case name == "limit":
		return "messages_per_second"
	case s.Format == "date-time":
		return "2030-01-31T12:00:00Z"
	case name == "url" || name == "endpoint":
		return contractData + "/t/acme/api"
	}
	return "sample"
}

// examples are the command lines of a command's examples, without the program's name.
func examples(t *testing.T, c *cobra.Command) (all [][]string) {
	t.Helper()
	for line := range strings.Lines(c.Example) {
		var words []string
		word, quote, quoted := "", rune(0), false
		flush := func() {
			if word != "" || quoted {
				words = append(words, word)
			}
			word, quoted = "", false
		}
		for _, r := range line {
			switch {
			case quote != 0 && r == quote:
				quote = 0
			case quote != 0:
				word += string(r)
			case r == '\'' || r == '"':
				quote, quoted = r, true
			case r == ' ' || r == '\n':
				flush()
			default:
				word += string(r)
			}
		}
		flush()
		if i := slices.Index(words, "|"); i >= 0 {
			words = words[i+1:]
		}
		if len(words) < 2 || words[0] != "signalbox" {
			t.Fatalf("%s: the example %q is no command line of signalbox", c.CommandPath(), line)
		}
		all = append(all, words[1:])
	}
	return all
}

// asExample runs a command line as the examples are meant: somebody is signed in.
func asExample(t *testing.T, transport http.RoundTripper, args []string) (status int, out, errs string) {
	t.Helper()
	dir := t.TempDir()
	config := `{"current":"default","profiles":{"default":{"api_url":"` + contractAPI + `","session":"signalbox=s","tenant":"acme"},"staging":{"api_url":"` + contractAPI + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	status = Run(t.Context(), System{
		In: strings.NewReader("sbt_as-good-as-a-password\nanother password\n"), Out: &stdout, Err: &stderr, Version: "test", Transport: transport,
		Env: func(name string) string { return map[string]string{envConfigDir: dir, envAPI: contractAPI}[name] },
	}, args)
	return status, stdout.String(), stderr.String()
}

// needsService are commands whose examples can't come to a good end without a service.
var needsService = map[string]bool{"signalbox listen": true, "signalbox usage watch": true}

// TestParity runs the examples of all commands against the document: each request
// must be one that the API takes, each command must call the operations that it says
// it calls and no others, and each operation of the document must have a command or a
// reason why not.
func TestParity(t *testing.T) {
	t.Parallel()
	doc, router := document()
	missing := map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			missing[operation.OperationID] = method + " " + path
		}
	}
	for id := range noCommand {
		if missing[id] == "" {
			t.Errorf("noCommand in api.go has %s, which is no operation of adminapi/openapi.yaml: take it out", id)
		}
		delete(missing, id)
	}
	root := newProgram(t.Context(), System{Env: func(string) string { return "" }, In: http.NoBody, Out: io.Discard, Err: io.Discard}).root()
	walk(root, func(c *cobra.Command) {
		if !c.Runnable() || c.HasAvailableSubCommands() && c.Example == "" {
			return
		}
		t.Run(strings.ReplaceAll(c.CommandPath(), " ", "_"), func(t *testing.T) {
			lines := examples(t, c)
			if len(lines) == 0 {
				t.Fatal("the command has no example: give it one that calls all its operations")
			}
			called := map[string]bool{}
			for _, line := range lines {
				for _, last := range []bool{false, true} {
					contract := &contract{router: router, last: last}
					status, out, errs := asExample(t, contract, append(line, "--yes"))
					for _, wrong := range contract.wrong {
						t.Errorf("%v makes a request that the API doesn't take: %s", line, wrong)
					}
					if status != exitOK && !needsService[c.CommandPath()] {
						t.Errorf("%v ended with %d\n%s%s", line, status, out, errs)
					}
					for _, id := range contract.called {
						called[id] = true
					}
				}
			}
			says := operationsOf(c)
			for _, id := range says {
				if _, known := missing[id]; !known && noCommand[id] != "" {
					t.Errorf("%s has a command: take it out of noCommand in api.go", id)
				}
				if !called[id] {
					t.Errorf("the command says that it calls %s, and none of its examples does", id)
				}
			}
			for id := range called {
				if !slices.Contains(says, id) && c.Name() != "api" {
					t.Errorf("the command calls %s and doesn't say so: add it to its operations(…)", id)
				}
			}
		})
		for _, id := range operationsOf(c) {
			missing[id] = ""
		}
	})
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		if missing[id] != "" {
			t.Errorf("operation %s (%s) has no command: add one to internal/app/cli with operations(…, %q) and an example, or say in noCommand of api.go why it needs none", id, missing[id], id)
		}
	}
}

// TestHelp_says_what_everything_is: no command or flag is without a word.
func TestHelp_says_what_everything_is(t *testing.T) {
	t.Parallel()
	root := newProgram(t.Context(), System{Env: func(string) string { return "" }, In: http.NoBody, Out: io.Discard, Err: io.Discard}).root()
	walk(root, func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: flag --%s has no help", c.CommandPath(), f.Name)
			}
		})
	})
}
