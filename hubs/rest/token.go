package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
)

// The life of tokens that clients connect with.
const (
	tokenMinutes     = 60
	mostTokenMinutes = 24 * 60
)

// generateToken makes a token with which a client connects to the hub.
func (h *Handler) generateToken(w http.ResponseWriter, c *call) (int, error) {
	query := c.r.URL.Query()
	user := query.Get("userId")
	if user != "" {
		if err := hubs.CheckUser(user); err != nil {
			return 0, misnamed("userId", err)
		}
	}
	minutes := tokenMinutes
	if s := query.Get("minutesToExpire"); s != "" {
		var err error
		if minutes, err = strconv.Atoi(s); err != nil || minutes < 1 || minutes > mostTokenMinutes {
			return 0, invalid("minutesToExpire", "The time is not valid.", fmt.Sprintf("whole minutes from 1 to %d", mostTokenMinutes))
		}
	}
	if _, err := c.open(0); err != nil {
		return 0, err
	}
	token, err := c.Token(c.hub, user, time.Duration(minutes)*time.Minute)
	if err != nil {
		return 0, err
	}
	return writeJSON(w, http.StatusOK, struct {
		Token string `json:"token"`
	}{token})
}

// accessKey answers for what Azure gives to app servers that have no key.
func (h *Handler) accessKey(w http.ResponseWriter, r *http.Request) {
	h.scoped(r, func(scope Scope, err error) {
		if err != nil {
			h.fail(w, r, err)
			return
		}
		(&call{Scope: scope, w: w, r: r}).limitHeaders()
		h.fail(w, r, fault.New(notSupported, "Access keys are not given out here: app servers connect with a connection string that holds one.").WithCode(codeNotSupported))
	})
}
