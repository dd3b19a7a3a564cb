package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/tenants"
)

// MaxSealedBytes bounds a sealed document, wherever it is read from.
const MaxSealedBytes = 1 << 20

// Errors of lookups.
var (
	// ErrNotFound says that no tenant has that id, slug or host.
	ErrNotFound = errors.New("no such tenant")
	// ErrUnavailable says that it can't be known now: nothing that holds
	// documents answers, or too many unknown names are being asked for.
	ErrUnavailable = errors.New("tenant documents are not available")
)

// Seal returns d as it is stored in Redis and sent between processes: JSON,
// encrypted and authenticated with the fleet's key for documents.
func Seal(f *fleet.Fleet, d *tenants.Document) ([]byte, error) {
	if d.ID == "" || d.Revision < 1 {
		return nil, fmt.Errorf("seal document: id and revision are required")
	}
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false) // the bounds of what tenants write are those of its text
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("seal document of %s: %w", d.ID, err)
	}
	sealed := f.Seal(fleet.PurposeDocument, nil, data.Bytes())
	if len(sealed) > MaxSealedBytes {
		return nil, fmt.Errorf("document of %s has %d bytes, at most %d are accepted", d.ID, len(sealed), MaxSealedBytes)
	}
	return sealed, nil
}

// Open is the reverse of Seal. Whoever asked for one tenant compares the id.
func Open(f *fleet.Fleet, sealed []byte) (*tenants.Document, error) {
	data, err := f.Open(fleet.PurposeDocument, nil, sealed)
	if err != nil {
		return nil, fmt.Errorf("open document: %w", err)
	}
	d := new(tenants.Document)
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("open document: %w", err)
	}
	if err := d.Limits.Check(); err != nil {
		return nil, fmt.Errorf("open document: %w", err)
	}
	d.Limits.Fill(d.Plan)
	for i := range d.LaterLimits {
		d.LaterLimits[i].Limits.Fill(d.Plan)
	}
	return d, nil
}

// nameKind is by what a tenant is looked up.
type nameKind string

const (
	byID   nameKind = "id"
	bySlug nameKind = "slug"
	byHost nameKind = "host"
)

// name is one thing that a tenant can be found by.
type name struct {
	kind  nameKind
	value string
}

// names lists what d is found by. A deleted tenant is found by nothing.
func names(d *tenants.Document) []name {
	if d == nil || d.Status == tenants.Deleted {
		return nil
	}
	list := []name{{byID, string(d.ID)}}
	if d.Slug != "" {
		list = append(list, name{bySlug, d.Slug})
	}
	for _, h := range d.Hosts {
		list = append(list, name{byHost, strings.ToLower(h)})
	}
	return list
}

// claims reports whether d is found by n.
func claims(d *tenants.Document, n name) bool {
	if d == nil || d.Status == tenants.Deleted {
		return false
	}
	switch n.kind { // as names has them; each request asks
	case byID:
		return n.value == string(d.ID)
	case bySlug:
		return d.Slug != "" && n.value == d.Slug
	case byHost:
		for _, h := range d.Hosts {
			if n.value == strings.ToLower(h) {
				return true
			}
		}
	}
	return false
}
