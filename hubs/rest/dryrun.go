package rest

import (
	"net/http"

	"github.com/signalbox/signalbox/hubs"
)

// estimate is what a send would count.
type estimate struct {
	DryRun bool `json:"dryRun"`
	// MessagesAccepted is exact; what is delivered depends on who is connected when
	// the message is sent, and on exclusions, which are not in the estimate.
	MessagesAccepted  int `json:"messagesAccepted"`
	Recipients        int `json:"recipients"`
	MessagesDelivered int `json:"messagesDelivered"`
	Bytes             int `json:"bytes"`
	DeliveredBytes    int `json:"deliveredBytes"`
}

// dryRun tells whether a send is to be judged and not sent.
func (c *call) dryRun() (bool, error) {
	query := c.r.URL.Query()
	switch value := query.Get("dry_run"); {
	case !query.Has("dry_run"), value == "false":
		return false, nil
	case value == "true":
		return true, nil
	}
	return false, invalid("dry_run", "The value is not valid.", "true, false")
}

// estimate answers what a message would count if it was sent now. It has been
// checked like one that is sent, and is charged as a question.
func (h *Handler) estimate(w http.ResponseWriter, c *call, e *hubs.Entry, size int) (int, error) {
	b, err := c.open(0)
	if err != nil {
		return 0, err
	}
	var recipients int
	switch e.Kind {
	case hubs.SendToGroups:
		recipients, err = b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountGroup, Name: c.group})
	case hubs.SendToUsers:
		recipients, err = b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountUser, Name: c.user})
	case hubs.SendToConnections:
		recipients, err = b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountConnection, Name: c.connection})
	default:
		recipients, err = b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountConnections})
	}
	if err != nil {
		return 0, err
	}
	return writeJSON(w, http.StatusOK, estimate{
		DryRun: true, MessagesAccepted: charge(size), Recipients: recipients, MessagesDelivered: recipients * charge(size),
		Bytes: size, DeliveredBytes: recipients * size,
	})
}
