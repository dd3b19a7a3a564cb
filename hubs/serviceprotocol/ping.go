package serviceprotocol

import (
	"strconv"
	"strings"
	"time"
)

// The keys of pings. A ping has any number of pairs of a key and a value; peers
// pass over keys that they don't know.
const (
	pingStatus       = "status"
	pingServers      = "servers"
	pingTarget       = "target"
	pingShutdown     = "shutdown"
	pingOffline      = "offline"
	pingEcho         = "echo"
	pingTrace        = "d-m"
	pingClientCount  = "clientcount"
	pingServerCount  = "servercount"
	pingCapacity     = "capacity"
	pingHubClients   = "#clientInHub"
	pingClients      = "#client"
	shutdownFinished = "finack"
)

// Value returns the value of a key.
func (m *Ping) Value(key string) (string, bool) {
	for i := 0; i+1 < len(m.Items); i += 2 {
		if m.Items[i] == key {
			return m.Items[i+1], true
		}
	}
	return "", false
}

// KeepAlive is the ping with nothing in it.
func KeepAlive() *Ping { return &Ping{} }

// ClientCounts is how app servers of the SDK keep alive: the clients that they
// have in the hub, and those of this server connection.
func ClientCounts(hub, connection int) *Ping {
	return &Ping{Items: []string{pingHubClients, strconv.Itoa(hub), pingClients, strconv.Itoa(connection)}}
}

// StatusRequest asks the service for its status. The SDK sends it every 10
// seconds on one of its connections.
func StatusRequest() *Ping { return &Ping{Items: []string{pingStatus, "1"}} }

// Status is what the service says of a hub. Counts below 0 are left out.
type Status struct {
	Active   bool // there are clients
	Clients  int
	Servers  int
	Capacity int // connections that the service takes
}

// Ping returns the status as a ping.
func (s Status) Ping() *Ping {
	items := []string{pingStatus, "0"}
	if s.Active {
		items[1] = "1"
	}
	for _, count := range []struct {
		key   string
		value int
	}{{pingClientCount, s.Clients}, {pingServerCount, s.Servers}, {pingCapacity, s.Capacity}} {
		if count.value >= 0 {
			items = append(items, count.key, strconv.Itoa(count.value))
		}
	}
	return &Ping{Items: items}
}

// Status reads the status, or the question for it: from an app server the ping
// is the question, from the service the answer.
func (m *Ping) Status() (Status, bool) {
	value, ok := m.Value(pingStatus)
	if !ok {
		return Status{}, false
	}
	return Status{
		Active: value == "1", Clients: m.count(pingClientCount), Servers: m.count(pingServerCount), Capacity: m.count(pingCapacity),
	}, true
}

func (m *Ping) count(key string) int {
	value, _ := m.Value(key)
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// ServersRequest asks which app servers the hub has.
func ServersRequest() *Ping { return &Ping{Items: []string{pingServers, ""}} }

// Servers answers a ServersRequest: the ids of the hub's app servers as known at
// a time, which never goes back.
func Servers(at time.Time, ids []string) *Ping {
	return &Ping{Items: []string{pingServers, strconv.FormatInt(at.UnixMilli(), 10) + ":" + strings.Join(ids, ";")}}
}

// Servers reads a question for the app servers (asked) or the answer.
func (m *Ping) Servers() (at int64, ids []string, asked, ok bool) {
	value, ok := m.Value(pingServers)
	if !ok {
		return 0, nil, false, false
	}
	if value == "" {
		return 0, nil, true, true
	}
	number, list, ok := strings.Cut(value, ":")
	at, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return 0, nil, false, false
	}
	for id := range strings.SplitSeq(list, ";") {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return at, ids, false, true
}

// Target asks the app server for one more server connection, of type
// ConnectionOnDemand, to the service instance.
func Target(instanceID string) *Ping { return &Ping{Items: []string{pingTarget, instanceID}} }

// Target reads the service instance of a target ping.
func (m *Ping) Target() (instanceID string, ok bool) { return m.Value(pingTarget) }

// ShutdownMode says what becomes of the clients of an app server that goes.
type ShutdownMode uint8

// The modes of a shutdown.
const (
	ShutdownDrop    ShutdownMode = 0 // they are closed
	ShutdownMigrate ShutdownMode = 1 // they are moved to other app servers
	ShutdownWait    ShutdownMode = 2 // they stay until they leave
)

// Shutdown says that the app server goes. It is repeated until it is answered by
// ShutdownFinished on the same server connection.
func Shutdown(mode ShutdownMode) *Ping {
	return &Ping{Items: []string{pingShutdown, "fin:" + strconv.Itoa(int(mode))}}
}

// Shutdown reads the mode of an app server's shutdown.
func (m *Ping) Shutdown() (ShutdownMode, bool) {
	switch value, _ := m.Value(pingShutdown); value {
	case "fin:0":
		return ShutdownDrop, true
	case "fin:1":
		return ShutdownMigrate, true
	case "fin:2":
		return ShutdownWait, true
	}
	return 0, false
}

// ShutdownFinished answers a Shutdown: the server connection gets no new clients.
func ShutdownFinished() *Ping { return &Ping{Items: []string{pingShutdown, shutdownFinished}} }

// ShutdownFinished tells whether the ping answers a Shutdown.
func (m *Ping) ShutdownFinished() bool {
	value, _ := m.Value(pingShutdown)
	return value == shutdownFinished
}

// Offline says that a service instance has died, and its clients with it; every
// instance when the id is empty.
func Offline(instanceID string) *Ping { return &Ping{Items: []string{pingOffline, instanceID}} }

// Offline reads the service instance that has died.
func (m *Ping) Offline() (instanceID string, ok bool) { return m.Value(pingOffline) }

// Echo asks the app server to send the same ping back.
func Echo(value string) *Ping { return &Ping{Items: []string{pingEcho, value}} }

// Echo reads the value of an echo.
func (m *Ping) Echo() (value string, ok bool) { return m.Value(pingEcho) }

// Trace switches the app server's logs of messages on or off.
func Trace(on bool) *Ping {
	if on {
		return &Ping{Items: []string{pingTrace, "1"}}
	}
	return &Ping{Items: []string{pingTrace, "0"}}
}
