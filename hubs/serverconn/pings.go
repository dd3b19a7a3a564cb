package serverconn

import (
	"context"
	"strconv"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// probeEvery is how many keep-alives go by between two latency probes.
const probeEvery = 6

// ping returns the next keep-alive. SDKs ping only when they get something. It is
// called by the writer.
func (k *connection) ping() []serviceprotocol.Message {
	if !k.shaken.Load() {
		return nil // nothing comes before the answer to the handshake
	}
	list := []serviceprotocol.Message{serviceprotocol.KeepAlive()}
	if k.probes++; k.probes%probeEvery == 0 {
		now := time.Now().UnixNano()
		k.echoed.Store(now)
		list = append(list, serviceprotocol.Echo(strconv.FormatInt(now, 10)))
	}
	return list
}

// pinged answers a ping of the app server. Keys that aren't known say nothing.
func (k *connection) pinged(m *serviceprotocol.Ping) error {
	if value, ok := m.Echo(); ok {
		k.probed(value)
	}
	if mode, ok := m.Shutdown(); ok {
		k.shutdown(mode)
	}
	if _, _, asked, _ := m.Servers(); asked {
		at, ids := k.pool.servers(k.admission.Hub)
		k.out.force(serviceprotocol.Servers(at, ids))
	}
	if _, ok := m.Status(); ok {
		// It asks every edge, as other questions do.
		if ok, err := k.admit(m, nil, nil, 0); !ok {
			return err
		}
		return k.await(k.status)
	}
	return nil
}

// probed takes the answer to a latency probe.
func (k *connection) probed(value string) {
	at := k.echoed.Load()
	if at == 0 || value != strconv.FormatInt(at, 10) || !k.echoed.CompareAndSwap(at, 0) {
		return
	}
	if h := k.pool.latency.Load(); h != nil {
		(*h).Record(k.ctx, time.Since(time.Unix(0, at)).Seconds())
	}
}

// status tells the app server whether the hub has clients, how many, and how many
// the tenant may have. While nobody can tell, there are some: SDKs would turn to
// other endpoints.
func (k *connection) status(ctx context.Context) {
	s := serviceprotocol.Status{
		Active: true, Clients: -1, Servers: k.pool.count(k.admission.Hub), Capacity: k.admission.Limits().MaxConnections,
	}
	if n, err := k.admission.Backplane().Ask(ctx, hubs.Query{Kind: hubs.CountConnections}); err == nil {
		s.Active, s.Clients = n > 0, n
	}
	k.out.force(s.Ping())
}

// shutdown begins the end of the app server, at its wish. It repeats that until it
// is answered.
func (k *connection) shutdown(mode serviceprotocol.ShutdownMode) {
	if mode == serviceprotocol.ShutdownMigrate && k.level == serviceprotocol.MigrationOff {
		mode = serviceprotocol.ShutdownDrop
	}
	switch mode {
	case serviceprotocol.ShutdownDrop:
		k.drain(false)
		for _, s := range k.all() {
			if s.lose(errShutdown) {
				s.tellClosed("", "")
			}
		}
	case serviceprotocol.ShutdownMigrate:
		k.drain(true)
	case serviceprotocol.ShutdownWait:
		k.drain(false)
	}
	k.out.force(serviceprotocol.ShutdownFinished())
}

// The pace at which clients are asked to move: so many, then a pause.
const (
	moveBatch = 50
	movePause = 20 * time.Millisecond
)

// drain gives the connection no more clients; with move, those that it has may go
// to other app servers. Only the first call of each kind does something.
func (k *connection) drain(move bool) {
	if first := k.draining.CompareAndSwap(false, true); !k.shaken.Load() {
		return
	} else if first {
		k.pool.changed(k)
	}
	if !move || k.level == serviceprotocol.MigrationOff || !k.moving.CompareAndSwap(false, true) {
		return
	}
	k.beside(func() {
		for i, s := range k.all() {
			if i%moveBatch == moveBatch-1 {
				select {
				case <-time.After(movePause):
				case <-k.ctx.Done():
					return
				}
			}
			s.tell(func(d pairing.Downstream) { d.Migrate() })
		}
	})
}

// all returns the sessions in no particular order.
func (k *connection) all() []*session {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]*session, 0, len(k.sessions))
	for _, s := range k.sessions {
		list = append(list, s)
	}
	return list
}
