package directory

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/signalbox/signalbox/tenants"
)

// Source is where a Directory turns to when Redis can't answer. Both methods
// return a sealed document, or ErrNotFound.
type Source interface {
	ByID(ctx context.Context, id tenants.ID) ([]byte, error)
	// ByName asks with kind "slug" or "host".
	ByName(ctx context.Context, kind, value string) ([]byte, error)
}

// APISource is the control plane's internal endpoint:
//
//	GET {URL}/internal/documents/{id}
//	GET {URL}/internal/documents?slug=… or ?host=…
//
// 200 carries the sealed document, 404 means that there is none.
type APISource struct {
	URL    string       // base, without a slash at its end
	Client *http.Client // with the fleet's client certificate and a timeout
}

var _ Source = (*APISource)(nil)

// ByID asks for the tenant with that id.
func (s *APISource) ByID(ctx context.Context, id tenants.ID) ([]byte, error) {
	return s.get(ctx, "/internal/documents/"+url.PathEscape(string(id)))
}

// ByName asks for the tenant with that slug or host.
func (s *APISource) ByName(ctx context.Context, kind, value string) ([]byte, error) {
	return s.get(ctx, "/internal/documents?"+url.Values{kind: {value}}.Encode())
}

func (s *APISource) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask control plane for document: %w", err)
	}
	res, err := s.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask control plane for document: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // what matters was read by then
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, ErrNotFound
	default:
		return nil, fmt.Errorf("ask control plane for document: status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxSealedBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read document from control plane: %w", err)
	}
	if len(body) > MaxSealedBytes {
		return nil, fmt.Errorf("document from control plane has more than %d bytes", MaxSealedBytes)
	}
	return body, nil
}
