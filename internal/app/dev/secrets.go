package dev

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets are made once for a DEV_DIR and kept, so that addresses, keys and
// passwords stay the same over restarts.
type secrets struct {
	// ID tells whether data elsewhere belongs to this DEV_DIR.
	ID          string `json:"id"`
	FleetSecret string `json:"fleet_secret"`
	SealingKey  string `json:"sealing_key"`
	Password    string `json:"password"`
	APIToken    string `json:"api_token"`
	// Keys are the access keys of the seeded tenants by slug.
	Keys map[string]keyPair `json:"keys"`
}

type keyPair struct {
	Primary   string `json:"primary"`
	Secondary string `json:"secondary"`
}

// readSecrets returns the secrets of dir, made on first use.
func readSecrets(dir string, slugs []string) (secrets, error) {
	path := filepath.Join(dir, "secrets.json")
	content, err := os.ReadFile(path)
	if err == nil {
		var kept secrets
		if err := json.Unmarshal(content, &kept); err != nil {
			return secrets{}, fmt.Errorf("read %s: %w", path, err)
		}
		return kept, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return secrets{}, fmt.Errorf("read secrets: %w", err)
	}
	made := secrets{
		ID:          rand.Text(),
		FleetSecret: longSecret(),
		SealingKey:  sealingKey(),
		Password:    rand.Text(),
		APIToken:    "sbt_" + longSecret(),
		Keys:        make(map[string]keyPair, len(slugs)),
	}
	for _, slug := range slugs {
		made.Keys[slug] = keyPair{Primary: longSecret(), Secondary: longSecret()}
	}
	return made, writeJSON(path, made)
}

// longSecret has 260 bits, enough for an HMAC key, and no character that a
// connection string or a shell would treat in a special way.
func longSecret() string { return rand.Text() + rand.Text() }

func sealingKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(key)
}

// writeJSON replaces the file in one step; only its owner may read it.
func writeJSON(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	unfinished := path + ".new"
	if err := os.WriteFile(unfinished, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
