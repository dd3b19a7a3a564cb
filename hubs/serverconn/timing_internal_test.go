package serverconn

import (
	"testing"
	"time"
)

// The SDK pings every 5 s, when it hears something, and counts a service that is
// silent for 30 s, or takes 15 s to shake hands, as gone (ServiceConnectionBase).
func TestDefaultTimes_are_those_of_the_SDK(t *testing.T) {
	t.Parallel()
	var d Timing
	d.complete()
	if d.Ping != 5*time.Second || d.Silent != 30*time.Second || d.Handshake != 15*time.Second || d.Stalled > d.Silent {
		t.Errorf("times are %+v", d)
	}
}
