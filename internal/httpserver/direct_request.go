package httpserver

import (
	"bytes"
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// directRequest reads a request that is there as a whole and of one of two forms, a
// POST without a body and a GET that asks for a WebSocket, in the strictest reading of
// RFC 9112: what net/http would take in the same way and no other. size is how long it
// is in b. nil: it is something else, or not all of it.
func directRequest(ctx context.Context, b []byte) (r *http.Request, size int) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, 0
	}
	line, rest, _ := strings.Cut(string(b[:end+2]), "\r\n")
	method, line, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(line, " ")
	if method != http.MethodPost && method != http.MethodGet || version != "HTTP/1.1" ||
		!strings.HasPrefix(target, "/") || !each(target, isVisible) {
		return nil, 0
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, 0
	}
	header, ok := directHeader(rest)
	if !ok {
		return nil, 0
	}
	host := header["Host"]
	if len(host) != 1 || host[0] == "" || !each(host[0], isHost) {
		return nil, 0
	}
	delete(header, "Host")
	if !isDirect(method, header) {
		return nil, 0
	}
	// The scope is the context that all of this package's middlewares share.
	r = new(http.Request).WithContext(&scope{Context: ctx})
	r.Method, r.URL, r.RequestURI = method, u, target
	r.Host = strings.Clone(host[0]) // who keeps it shall not keep the head, with its token
	r.Proto, r.ProtoMajor, r.ProtoMinor = version, 1, 1
	r.Header, r.Body = header, http.NoBody
	return r, end + 4
}

// directHeader reads header fields of the plainest form.
func directHeader(text string) (http.Header, bool) {
	n := strings.Count(text, "\r\n")
	header, values := make(http.Header, n), make([]string, n)
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || !each(name, isToken) {
			return nil, false
		}
		if value = strings.Trim(value, " \t"); !each(value, isText) {
			return nil, false
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if list := header[name]; list != nil {
			header[name] = append(list, value)
			continue
		}
		values[0] = value
		header[name], values = values[:1:1], values[1:]
	}
	return header, true
}

// isDirect reports whether the header says that there is no body, that the connection
// goes on, that no stream of events is wanted, and nothing that would need more than
// that.
func isDirect(method string, header http.Header) bool {
	for _, name := range []string{"Transfer-Encoding", "Trailer", "Expect", "Http2-Settings"} {
		if header[name] != nil {
			return false
		}
	}
	if length := header["Content-Length"]; length != nil && (len(length) != 1 || length[0] != "0") {
		return false
	}
	if header["Pragma"] != nil && header["Cache-Control"] == nil {
		return false // to net/http the one means the other, too
	}
	upgrade := false
	for _, value := range header["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			switch option = strings.Trim(option, " \t"); {
			case strings.EqualFold(option, "upgrade"):
				upgrade = true
			case !strings.EqualFold(option, "keep-alive"):
				return false
			}
		}
	}
	if method == http.MethodPost {
		return !upgrade && header["Upgrade"] == nil
	}
	for _, accept := range header["Accept"] {
		if strings.Contains(strings.ToLower(accept), "event-stream") {
			return false // an answer that is flushed as it grows
		}
	}
	to := header["Upgrade"]
	return upgrade && len(to) == 1 && strings.EqualFold(to[0], "websocket")
}

func each(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isVisible(c byte) bool { return c > ' ' && c < 0x7f }
func isText(c byte) bool    { return c >= ' ' && c < 0x7f || c == '\t' }
func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
func isToken(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
func isHost(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("-._:[]", c) >= 0
}
