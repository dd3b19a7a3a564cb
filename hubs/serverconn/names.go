package serverconn

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/signalbox/signalbox/hubs"
)

// The bounds of texts, in characters, beside those of names in package hubs. Lists
// have none but that of the message.
const (
	maxReason     = 1024
	maxServer     = 256
	maxTarget     = 256
	maxInvocation = 1024
	maxTTL        = 365 * 24 * 3600 // seconds
)

// The codes of what is refused.
const (
	codeHandshake   = "handshake_failed"
	codeConnections = "server_connections"
	codeHandler     = "no_app_servers"
	codeProtocol    = "protocol_error"
	codeSilent      = "server_timeout"
	codeStalled     = "slow_consumer"
	codeName        = "invalid_name"
	codeMessage     = "invalid_message"
	codeTooLarge    = "message_too_large"
	codeFilter      = "filter_unsupported"
	codeUnsupported = "unsupported"
	codeUnavailable = "unavailable"
	codeUnknown     = "outcome_unknown"
	codeRate        = "rate_limited"
	codeSlowed      = "server_slowed"
	codeInvocations = "too_many_invocations"
)

// refusal is why something that an app server asked for isn't done. Its text is
// shown to the app server.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.code + ": " + r.text }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// checkNames applies a rule of package hubs to names.
func checkNames(rule func(string) error, names ...string) error {
	for _, name := range names {
		if err := rule(name); err != nil {
			return &refusal{codeName, err.Error()}
		}
	}
	return nil
}

// checkText bounds an id that isn't looked at.
func checkText(what, value string, most int) error {
	if value == "" || len(value) > most || !utf8.ValidString(value) {
		return refuse(codeName, "the %s must be 1 to %d bytes of UTF-8", what, most)
	}
	return nil
}

// connectionID is an app server's name for a server connection, or a new one when it
// has none that can be used.
func connectionID(name string) string {
	if hubs.CheckConnectionID(name) != nil {
		return hubs.NewConnectionID()
	}
	return name
}

// cutText shortens a text that clients or logs get.
func cutText(s string, most int) string {
	s = strings.ToValidUTF8(s, "�")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
