package rest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// The media types of bodies.
const (
	mediaJSON        = "application/json"
	mediaFrames      = "application/octet-stream"
	mediaMessagePack = "application/x-msgpack"
)

// bodyPatience bounds the reading of one body.
const bodyPatience = 10 * time.Second

// body reads the request's body, which must be of one of the media types.
func (c *call) body(w http.ResponseWriter, accepted ...string) (media string, body []byte, err error) {
	media, ok := mediaOf(c.r.Header.Get("Content-Type"))
	if !ok || !slices.Contains(accepted, media) {
		return "", nil, fault.New(unsupportedMedia, "The Content-Type is not "+strings.Join(accepted, " or ")+".")
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return "", nil, fault.New(unsupportedMedia, "Bodies must not be compressed: send no Content-Encoding.")
	}
	most := c.Limits.MaxRequestBytes
	// A body that drips must not hold a request open; not every writer can tell.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyPatience))
	body, err = io.ReadAll(http.MaxBytesReader(w, c.r.Body, int64(most)))
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return "", nil, fault.New(fault.TooLarge, fmt.Sprintf("The body is larger than %d bytes.", most)).WithLimit(c.limit("max_request_bytes"))
		}
		return "", nil, fault.Wrap(fault.Invalid, "The body could not be read.", err)
	}
	return media, body, nil
}

// mediaOf reads a Content-Type; ok is false for one that is malformed, or whose
// charset isn't UTF-8.
func mediaOf(header string) (media string, ok bool) {
	switch header { // as nearly everybody writes it
	case mediaJSON, mediaFrames, mediaMessagePack:
		return header, true
	}
	media, parameters, err := mime.ParseMediaType(header)
	charset := strings.ToLower(parameters["charset"])
	return media, err == nil && (charset == "" || charset == "utf-8")
}

// fits refuses a message that is larger than the tenant's limit.
func (c *call) fits(size int) error {
	if most := c.Limits.MaxMessageBytes; size > most {
		return fault.New(fault.TooLarge, fmt.Sprintf("The message has %d bytes: max_message_bytes is %d.", size, most)).WithLimit(c.limit("max_message_bytes"))
	}
	return nil
}

// limit is what the tenant's limit of that name refuses with.
func (c *call) limit(name string) fault.Limit {
	r, _ := tenants.Row(name)
	return r.Refusal(&c.Limits, 0)
}
