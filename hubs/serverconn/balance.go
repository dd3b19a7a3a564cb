package serverconn

import (
	"time"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// A hub's busiest server connection is relieved when it has more than crowded
// clients and more than twice as many as the average of all hubs here.
const crowded = 500

// balance asks app servers for further server connections until the Pool closes.
func (p *Pool) balance() {
	tick := time.NewTicker(p.cfg.Timing.Balance)
	defer tick.Stop()
	for {
		select {
		case <-p.stopped:
			return
		case now := <-tick.C:
			for _, k := range p.overloaded(now) {
				// SDKs open one more server connection, unless their own limit says no.
				k.out.force(serviceprotocol.Target(p.cfg.Instance))
			}
		}
	}
}

// overloaded returns the busiest server connection of each hub that needs more of
// them, and notes that they are asked for.
func (p *Pool) overloaded(now time.Time) []*connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return nil
	}
	clients, connections := 0, 0
	for _, h := range p.hubs {
		for _, k := range h.all {
			if k.takesClients() {
				clients, connections = clients+int(k.clients.Load()), connections+1
			}
		}
	}
	var list []*connection
	for _, h := range p.hubs {
		var least, most *connection
		for _, k := range h.all {
			if !k.takesClients() {
				continue
			}
			if least == nil || k.less(least) {
				least = k
			}
			if most == nil || most.less(k) {
				most = k
			}
		}
		// New clients go to the least loaded one: that one is what must be too full.
		if least == nil || now.Sub(h.asked) < time.Minute {
			continue
		}
		if n := int(least.clients.Load()); n > crowded && n*connections > 2*clients || n > 10*crowded {
			h.asked = now
			list = append(list, most)
		}
	}
	return list
}
