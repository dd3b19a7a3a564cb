package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// behaviour is one row of the catalogue.
type behaviour struct{ id, text string }

// catalogue is what clients may expect, and where this server differs.
type catalogue struct {
	rows       []behaviour
	deviations map[string]string // reason by id
}

// areas are the headings by the letter of the ids.
var areas = map[byte]string{
	'N': "Negotiation", 'T': "Transports", 'H': "Handshake", 'I': "Invocations",
	'P': "Pushes and users", 'G': "Groups", 'S': "Streams from the server",
	'U': "Streams from the client", 'C': "Results of clients", 'E': "Errors and Close",
	'K': "Keep-alive", 'L': "Life cycle", 'R': "Stateful reconnect",
	'M': "MessagePack", 'A': "Authentication",
}

// id is the form of a row's name.
var id = regexp.MustCompile(`^[NTHIPGSUCEKLRMA]-[0-9]{2}$`)

// readCatalogue reads both data files and checks them against each other.
func readCatalogue(root string) (*catalogue, error) {
	c := &catalogue{deviations: make(map[string]string)}
	known := make(map[string]bool)
	rows, err := readRows(filepath.Join(root, "e2e", "conformance", "catalogue.tsv"))
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range rows {
		if known[r.id] {
			errs = append(errs, fmt.Errorf("%s is twice in the catalogue", r.id))
		}
		known[r.id] = true
	}
	c.rows = rows
	deviations, err := readRows(filepath.Join(root, "e2e", "conformance", "deviations.tsv"))
	if err != nil {
		return nil, err
	}
	for _, d := range deviations {
		if !known[d.id] {
			errs = append(errs, fmt.Errorf("the deviation %s is not in the catalogue", d.id))
		}
		c.deviations[d.id] = d.text
	}
	return c, errors.Join(errs...)
}

// readRows reads lines of an id, a tab and a text.
func readRows(path string) ([]behaviour, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []behaviour
	for i, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		name, text, ok := strings.Cut(line, "\t")
		if !ok || !id.MatchString(name) || strings.TrimSpace(text) == "" {
			return nil, fmt.Errorf("%s:%d: a line is an id, a tab and a text", path, i+1)
		}
		rows = append(rows, behaviour{name, text})
	}
	return rows, nil
}
