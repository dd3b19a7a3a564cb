package fleet

import "time"

// The addresses of an edge's internal listener at which the control plane asks for its
// state (GET), and holds (POST, for the seconds of HoldSeconds) or releases (DELETE) it.
const (
	EdgeStatePath = "/internal/edge"
	EdgeHoldPath  = "/internal/edge/hold"
)

// HoldSeconds is the parameter of EdgeHoldPath that says for how long the edge is held: a
// whole number of seconds up to MostHold. Then it releases itself, whoever is away.
const HoldSeconds = "seconds"

// MostHold is the longest that an edge is held.
const MostHold = 24 * time.Hour

// EdgeState is what an edge says of itself.
type EdgeState struct {
	Run      string    `json:"run"`
	Version  string    `json:"version"`
	Revision string    `json:"revision,omitempty"`
	Started  time.Time `json:"started"`
	// Ready says whether it should get connections, as /readyz does.
	Ready bool `json:"ready"`
	// Held edges take no new connections and hand those that they have to others, until
	// they are released, or for so many seconds more.
	Held    bool    `json:"held"`
	HeldFor float64 `json:"held_for,omitempty"`
	// Draining edges are about to end.
	Draining    bool `json:"draining"`
	CutOff      bool `json:"cut_off"`
	Connections int  `json:"connections"`
	// ServerConnections are those of app servers.
	ServerConnections int `json:"server_connections"`
	Tenants           int `json:"tenants"` // whose documents it has
	Hubs              int `json:"hubs"`    // that it follows
	// HubsBehind are those of them whose stream it has yet to read on, EntriesWaiting
	// what it has heard of and not carried out.
	HubsBehind     int `json:"hubs_behind"`
	EntriesWaiting int `json:"entries_waiting"`
	// Lag is for how many seconds the oldest of both has waited; 0 = nothing waits.
	Lag       float64 `json:"lag"`
	RedisAway bool    `json:"redis_away"`
}
