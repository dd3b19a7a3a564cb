package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
)

// settings is the file in which the program keeps who is signed in where. It holds
// secrets: nobody else may read it.
type settings struct {
	path    string
	nowhere error // why there is no path

	Current  string              `json:"current,omitempty"`
	Profiles map[string]*profile `json:"profiles,omitempty"`
}

// profile is one place to be signed in to.
type profile struct {
	APIURL string `json:"api_url,omitempty"`
	// Session is the cookie of a sign-in, Token an API token; one of them.
	Session string `json:"session,omitempty"`
	Token   string `json:"token,omitempty"`
	Email   string `json:"email,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	Account string `json:"account,omitempty"`
}

const defaultProfile = "default"

// load reads the settings; a file that isn't there is empty. A pipeline may have no
// home, and needs none: the environment says all.
func (p *program) load() (*settings, error) {
	if p.settings != nil {
		return p.settings, nil
	}
	s := &settings{}
	if s.path, s.nowhere = settingsPath(p.Env); s.nowhere == nil {
		if err := s.read(p); err != nil {
			return nil, err
		}
	}
	if s.Profiles == nil {
		s.Profiles = map[string]*profile{}
	}
	p.settings = s
	return s, nil
}

func settingsPath(env func(string) string) (string, error) {
	dir := env(envConfigDir)
	if dir == "" {
		base, err := configHome(env)
		if err != nil {
			return "", err
		}
		dir = filepath.Join(base, "signalbox")
	}
	return filepath.Join(dir, "config.json"), nil
}

func (s *settings) read(p *program) error {
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil {
		return fmt.Errorf("read settings: %s: %w", s.path, err)
	}
	if info, err := os.Stat(s.path); err == nil && info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		p.say("signalbox: %s can be read by others and holds secrets: run chmod 600 on it", s.path)
	}
	return nil
}

// configHome is where people's programs keep settings.
func configHome(env func(string) string) (string, error) {
	if dir := env("XDG_CONFIG_HOME"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the directory for settings (set %s): %w", envConfigDir, err)
	}
	return dir, nil
}

// save writes the settings, whole or not at all.
func (s *settings) save() error {
	if s.nowhere != nil {
		return s.nowhere
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save settings: %w", err)
	}
	f, err := os.CreateTemp(dir, ".config-*") // 0600
	if err != nil {
		return fmt.Errorf("save settings: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return fmt.Errorf("save settings: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// profileName is the one in use.
func (p *program) profileName() (string, error) {
	s, err := p.load()
	if err != nil {
		return "", err
	}
	return cmp.Or(p.flags.profile, p.Env(envProfile), s.Current, defaultProfile), nil
}

// profile is the one in use; an empty one when it isn't there yet.
func (p *program) profile() (*profile, error) {
	name, err := p.profileName()
	if err != nil {
		return nil, err
	}
	if found := p.settings.Profiles[name]; found != nil {
		return found, nil
	}
	return &profile{}, nil
}

// change changes the profile in use and saves it.
func (p *program) change(how func(*profile)) error {
	name, err := p.profileName()
	if err != nil {
		return err
	}
	s := p.settings
	if s.Profiles[name] == nil {
		s.Profiles[name] = &profile{}
	}
	how(s.Profiles[name])
	if s.Current == "" {
		s.Current = name
	}
	return s.save()
}

func (p *program) profilesCommand() *cobra.Command {
	type row struct {
		Name    string `json:"name"`
		Current bool   `json:"current"`
		APIURL  string `json:"api_url"`
		Email   string `json:"email,omitempty"`
		Tenant  string `json:"tenant,omitempty"`
		Account string `json:"account,omitempty"`
	}
	return group("profiles", "Places to be signed in to, side by side",
		&cobra.Command{
			Use: "list", Short: "List the profiles", Example: "  signalbox profiles list", Args: none(),
			RunE: func(*cobra.Command, []string) error {
				current, err := p.profileName()
				if err != nil {
					return err
				}
				var rows []row
				for _, name := range slices.Sorted(maps.Keys(p.settings.Profiles)) {
					of := p.settings.Profiles[name]
					rows = append(rows, row{Name: name, Current: name == current, APIURL: cmp.Or(of.APIURL, defaultAPI), Email: of.Email, Tenant: of.Tenant, Account: of.Account})
				}
				return list(p, rows, func(r row) string { return r.Name },
					column[row]{"NAME", func(r row) string { return r.Name }}, column[row]{"CURRENT", func(r row) string { return yes(r.Current) }},
					column[row]{"API", func(r row) string { return r.APIURL }}, column[row]{"EMAIL", func(r row) string { return r.Email }},
					column[row]{"TENANT", func(r row) string { return r.Tenant }})
			},
		},
		&cobra.Command{
			Use: "use NAME", Short: "Use a profile from now on", Example: "  signalbox profiles use staging", Args: exactly(1), ValidArgsFunction: p.completeProfiles,
			RunE: func(_ *cobra.Command, args []string) error {
				s, err := p.load()
				if err != nil {
					return err
				}
				if s.Profiles[args[0]] == nil {
					return usage("there is no profile %q: make it with \"signalbox login --profile %s\"", args[0], args[0])
				}
				s.Current = args[0]
				if err := s.save(); err != nil {
					return err
				}
				return p.done("Using profile %s.", args[0])
			},
		},
		&cobra.Command{
			Use: "remove NAME", Short: "Forget a profile; sign out first", Example: "  signalbox profiles remove staging", Args: exactly(1), ValidArgsFunction: p.completeProfiles,
			RunE: func(_ *cobra.Command, args []string) error {
				s, err := p.load()
				if err != nil {
					return err
				}
				of := s.Profiles[args[0]]
				switch {
				case of == nil:
					return usage("there is no profile %q", args[0])
				case of.Session != "":
					return usage("somebody is signed in with profile %q: run \"signalbox logout --profile %s\" first", args[0], args[0])
				}
				delete(s.Profiles, args[0])
				if s.Current == args[0] {
					s.Current = ""
				}
				if err := s.save(); err != nil {
					return err
				}
				return p.done("Profile %s is forgotten.", args[0])
			},
		},
	)
}
