package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// invokePatience is how long a client may take to answer unless the request
	// says otherwise.
	invokePatience     = 10 * time.Second
	mostInvokePatience = 100 * time.Second
	// invocationsAtOnce is how many invocations of a tenant's clients wait on one
	// edge at a time: each holds a request open.
	invocationsAtOnce = 1000
	// protocolHeader names the hub protocol of a Completion in an answer.
	protocolHeader = "X-Protocol"
)

// waits are the invocations that wait for clients, by tenant and hub.
type waits struct {
	mu      sync.Mutex
	tenants map[tenants.ID]int
	hubs    map[waitKey]*hubWait
}

type waitKey struct {
	tenant tenants.ID
	hub    string
}

// hubWait is what the invocations of a hub's clients share.
type hubWait struct {
	hub   hubs.Context
	users int
}

// enter takes a place; it reports false when the tenant has none left. Those who
// wait at the same time share a hubs.Context, which joins the hub once.
func (v *waits) enter(k waitKey, b hubs.Backplane) (hubs.Context, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tenants[k.tenant] >= invocationsAtOnce {
		return hubs.Context{}, false
	}
	v.tenants[k.tenant]++
	w := v.hubs[k]
	if w == nil {
		w = &hubWait{hub: hubs.NewContext(b)}
		v.hubs[k] = w
	}
	w.users++
	return w.hub, true
}

func (v *waits) exit(k waitKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tenants[k.tenant]--; v.tenants[k.tenant] == 0 {
		delete(v.tenants, k.tenant)
	}
	if w := v.hubs[k]; w != nil {
		if w.users--; w.users == 0 {
			delete(v.hubs, k)
		}
	}
}

// invokeConnection asks one client for an answer and returns it: as JSON, or as
// the Completion itself where the request speaks in frames (as the SDK of Azure
// does).
func (h *Handler) invokeConnection(w http.ResponseWriter, c *call) (int, error) {
	patience, err := c.seconds("timeout", invokePatience, mostInvokePatience)
	if err != nil {
		return 0, err
	}
	message, size, err := c.message(w)
	if err != nil {
		return 0, err
	}
	frames := message.Frames != nil || strings.Contains(c.r.Header.Get("Accept"), mediaFrames)
	message = &hubs.Broadcast{Target: message.Target, Arguments: message.Arguments}
	b, err := c.open(charge(size))
	if err != nil {
		return 0, err
	}
	key := waitKey{c.Tenant, c.hub}
	hub, ok := h.waits.enter(key, b)
	if !ok {
		return 0, &LimitError{
			Limit: manyInvocations(tenants.ScopeTenant, "invocations_at_once", invocationsAtOnce),
			Text:  fmt.Sprintf("%d invocations of the tenant's clients wait for an answer on this edge.", invocationsAtOnce),
		}
	}
	defer h.waits.exit(key)
	ctx, cancel := context.WithTimeoutCause(c.r.Context(), patience, errClientSilent)
	defer cancel()
	answer, err := hub.InvokeConnection(ctx, hubs.ClientInvocation{Connection: c.connection, Message: message, Charge: charge(size)})
	if err != nil {
		return 0, invocationFault(err, patience)
	}
	if frames {
		return writeCompletion(w, answer)
	}
	return writeAnswer(w, answer)
}

// errClientSilent is the cause of a context whose client took too long.
var errClientSilent = errors.New("the client did not answer in time")

// invocationFault puts into words why there is no answer.
func invocationFault(err error, patience time.Duration) error {
	switch {
	case errors.Is(err, hubs.ErrNoConnection):
		return missing(codeNoConnection, "The connection doesn't exist.")
	case errors.Is(err, hubs.ErrDisconnected):
		return missing(codeNoConnection, "The connection ended before the client answered.")
	case errors.Is(err, hubs.ErrManyInvocations):
		return &LimitError{
			Limit: manyInvocations(tenants.ScopeConnection, "pending_results", 100),
			Text:  "100 invocations of this client wait for an answer.",
		}
	case errors.Is(err, hubs.ErrAnswerLost):
		return fault.New(clientFailed, "The client answered, but the answer couldn't be brought here: it is too large, or the message bus was away.").WithCode(codeAnswerLost)
	case errors.Is(err, errClientSilent):
		return fault.New(clientSilent, fmt.Sprintf("The client did not answer within %s. It may still do what it was asked.", patience)).WithCode(codeAnswerTimeout)
	}
	return err
}

// writeAnswer answers with {"result": ...}.
func writeAnswer(w http.ResponseWriter, a hubs.ClientAnswer) (int, error) {
	if a.HasError {
		// The SDK of Azure makes a HubException of a 400.
		return 0, fault.New(fault.Invalid, a.Error).WithCode(codeClientError)
	}
	body := []byte("{}")
	if a.Result.Present() {
		result, err := protocol.AppendJSON([]byte(`{"result":`), a.Result)
		if err != nil {
			return 0, fault.New(clientFailed, "The client's answer has no JSON form. Ask for it with Accept: "+mediaFrames+".").WithCode(codeAnswerLost)
		}
		body = append(result, '}')
	}
	return writeBody(w, http.StatusOK, mediaJSON, body)
}

// writeCompletion answers with a Completion in the client's hub protocol.
func writeCompletion(w http.ResponseWriter, a hubs.ClientAnswer) (int, error) {
	name := "json"
	if a.Result.Present() && a.Result.Encoding == protocol.MessagePack {
		name = "messagepack"
	}
	p, _ := protocol.ByName(name) // both are there
	frame, err := p.Append(nil, &protocol.Message{Type: protocol.Completion, InvocationID: "0", Result: a.Result, Error: a.Error, HasError: a.HasError})
	if err != nil {
		return 0, fmt.Errorf("encode the client's answer: %w", err)
	}
	w.Header().Set(protocolHeader, name)
	return writeBody(w, http.StatusOK, mediaFrames, frame)
}

// written says that an operation has answered by itself.
const written = 0

// writeBody answers with a body; operations return what it returns.
func writeBody(w http.ResponseWriter, status int, media string, body []byte) (int, error) {
	header := w.Header()
	header.Set("Content-Type", media)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
	return written, nil
}

// writeJSON answers with v, which has nothing that JSON can't hold.
func writeJSON(w http.ResponseWriter, status int, v any) (int, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("encode an answer: %w", err)
	}
	return writeBody(w, status, mediaJSON, body)
}

// seconds returns a parameter in whole seconds.
func (c *call) seconds(name string, otherwise, most time.Duration) (time.Duration, error) {
	query := c.r.URL.Query()
	if !query.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < 1 || n > int(most/time.Second) {
		return 0, invalid(name, "The "+name+" is not valid.", fmt.Sprintf("whole seconds from 1 to %d", int(most/time.Second)))
	}
	return time.Duration(n) * time.Second, nil
}

// manyInvocations is a bound on invocations that wait for an answer.
func manyInvocations(scope tenants.LimitScope, name string, most int64) fault.Limit {
	return fault.Limit{
		Code: codeManyInvocations, Scope: string(scope), Limit: name, Max: most, Counted: fault.CountedEdge,
		RetryAfterMS: time.Second.Milliseconds(), Doc: fault.PagesURL + codeManyInvocations,
	}
}
