// Package redisclient makes Redis clients and is the one place where Redis keys
// get their names.
package redisclient

import (
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/signalbox/signalbox/tenants"
)

// prefix sets the service's keys apart in a shared Redis.
const prefix = "sb:"

// HubKeys names the keys of one hub. They share a hash tag, so that one script
// can touch them on a cluster. Tenant ids are ULIDs and hub names hold neither
// braces nor slashes: two hubs never share a key.
//
// Those of a partition have a hash tag of its own, but for the first of a hub, which
// has the hub's. What is of a hub whatever its partitions, as UserGroups and Presence, is
// under the hub's: what changes it together with a stream goes to the first partition.
type HubKeys struct{ tag, hub string }

// Hub returns the keys of a tenant's hub; hub is the canonical name.
func Hub(t tenants.ID, hub string) HubKeys {
	tag := prefix + "{" + string(t) + "/" + hub + "}:"
	return HubKeys{tag: tag, hub: tag}
}

// HubPartition returns the keys of a partition of a hub that has several, or had
// several before; "" is the hub that never had. A partition's name is its generation,
// a full stop and its number.
func HubPartition(t tenants.ID, hub, partition string) HubKeys {
	k := Hub(t, hub)
	if _, number, _ := strings.Cut(partition, "."); number == "0" {
		k.tag += partition + ":"
	} else if partition != "" {
		k.tag = prefix + "{" + string(t) + "/" + hub + "/" + partition + "}:"
	}
	return k
}

// Partitions is the hash of the generation and number of the partitions in force.
func (k HubKeys) Partitions() string { return k.hub + "partitions" }

// Stream is the hub's log of entries.
func (k HubKeys) Stream() string { return k.tag + "stream" }

// GroupIndexes is how many indexes of groups a hub has at most.
const GroupIndexes = 256

// GroupIndex is the stream of the ids of those entries of the log that are for a
// group, in hubs that keep one. Groups share them: their number, and so what they
// take in Redis, must not grow with the names that a tenant thinks of.
func (k HubKeys) GroupIndex(group string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(group)) // never fails
	return k.NthGroupIndex(int(h.Sum32() % GroupIndexes))
}

// NthGroupIndex is the index with a number, 0 to GroupIndexes-1.
func (k HubKeys) NthGroupIndex(n int) string { return k.tag + "index:" + strconv.Itoa(n) }

// Head is the hash that says where the hub's stream ends and, by edge run, what was
// published last; it answers repeats and fences stragglers.
func (k HubKeys) Head() string { return k.tag + "head" }

// Doorbell is the Pub/Sub channel that carries each new entry.
func (k HubKeys) Doorbell() string { return k.tag + "bell" }

// Accepted is the hash of accepted messages by minute. Those of the minute that is counted
// are in Head.
func (k HubKeys) Accepted() string { return k.tag + "accepted" }

// Idempotency is the remembered answer to one idempotency key. That of a hub with
// partitions is the name of the partition that has the answer.
func (k HubKeys) Idempotency(key string) string { return k.tag + "idem:" + key }

// UserGroups is the hash of groups that a user was added to, with expiry.
func (k HubKeys) UserGroups(user string) string { return k.hub + "ugroups:" + user }

// RememberedUsers is the sorted set of the users with UserGroups, by the end of them.
func (k HubKeys) RememberedUsers() string { return k.hub + "remembered:users" }

// RememberedBytes has how many bytes the groups of each user take; "" is all of them.
func (k HubKeys) RememberedBytes() string { return k.hub + "remembered:bytes" }

// Publisher is the hash of the answers to an edge run's publishes that shared a round
// trip with others to this hub; it answers repeats, like Head.
func (k HubKeys) Publisher(id string) string { return k.tag + "pub:" + id }

// Owner says which edge run serves a connection.
func (k HubKeys) Owner(connection string) string { return k.hub + "owner:" + connection }

// Edges is the set of the edge runs that follow the hub. A member counts only
// while the edge's lease lives.
func (k HubKeys) Edges() string { return k.tag + "edges" }

// Servers is the hash of the edges that have server connections of the hub, by
// edge run. An entry counts only while the edge's lease lives.
func (k HubKeys) Servers() string { return k.hub + "servers" }

// Presence is the hash of the connections that an edge run has announced as
// present, by connection and group.
func (k HubKeys) Presence(run string) string { return k.hub + "present:" + run }

// PresenceCounts is the hash of how many presences each member of a group has, for
// hubs that tell of it.
func (k HubKeys) PresenceCounts() string { return k.hub + "present:counts" }

// PresenceTold is the hash of the members whose coming was told last, and of what is
// being told.
func (k HubKeys) PresenceTold() string { return k.hub + "present:told" }

// PresenceDue is the sorted set of the members of whom there may be something to
// tell, by the millisecond when it is due.
func (k HubKeys) PresenceDue() string { return k.hub + "present:due" }

// ServersDoorbell is the Pub/Sub channel that carries each changed entry of it.
func (k HubKeys) ServersDoorbell() string { return k.hub + "servers:bell" }

// ServersLog is the stream of the same, for edges that don't listen to Pub/Sub.
func (k HubKeys) ServersLog() string { return k.hub + "servers:log" }

// ServersSeen exists while the hub has an app server, and for a while after.
func (k HubKeys) ServersSeen() string { return k.hub + "servers:seen" }

// The keys of tenant documents.
const (
	// DocumentsGeneration is present while Redis holds the documents; when it is
	// missing, Redis has lost them.
	DocumentsGeneration = prefix + "docs:generation"
	// DocumentsDoorbell is the channel on which changed tenant ids are announced.
	DocumentsDoorbell = prefix + "docs:bell"
	// DocumentsLog is the stream of the same announcements, for edges that don't
	// listen to Pub/Sub.
	DocumentsLog = prefix + "docs:log"
)

// Document is a tenant's sealed document.
func Document(t tenants.ID) string { return prefix + "doc:" + string(t) }

// OfTenant is a pattern that all keys of a tenant match and no other's: those of its
// hubs and its own, but for Document, which outlives the tenant as a tombstone.
func OfTenant(t tenants.ID) string { return prefix + "{" + string(t) + "[/}]*" }

// SlugIndex and HostIndex point to a tenant's id.
func SlugIndex(slug string) string { return prefix + "slug:" + slug }

// HostIndex points from a host, lower case, with or without port, to a tenant's id.
func HostIndex(host string) string { return prefix + "host:" + host }

// RateBucket is the fleet-wide token bucket of one of a tenant's rates.
func RateBucket(t tenants.ID, limit string) string {
	return prefix + "{" + string(t) + "}:rate:" + limit
}

// UserConnections is the sorted set of a user's connections, the oldest first.
func UserConnections(t tenants.ID, user string) string {
	return prefix + "{" + string(t) + "}:user:" + user
}

// LimitFigures is the hash of what was counted of a tenant's limits on a day.
func LimitFigures(t tenants.ID, day string) string {
	return prefix + "{" + string(t) + "}:limits:" + day
}

// LimitUse is the hash of what edges use of a tenant's limits now, by edge run.
func LimitUse(t tenants.ID) string { return prefix + "{" + string(t) + "}:limits:use" }

// KeptOut is the hash of who is kept out for a while, by user or address.
func KeptOut(t tenants.ID) string { return prefix + "{" + string(t) + "}:keptout" }

// Offences counts how often somebody was closed within a few minutes.
func Offences(t tenants.ID, who string) string {
	return prefix + "{" + string(t) + "}:offences:" + who
}

// Simulated remembers that a token's simulation was carried out.
func Simulated(t tenants.ID, token string) string {
	return prefix + "{" + string(t) + "}:simulated:" + token
}

// StreamSizes is the hash of the bytes in a tenant's hub streams, by hub.
func StreamSizes(t tenants.ID) string { return prefix + "{" + string(t) + "}:streams" }

// ConnectionCounts is the hash of a tenant's connections by edge run.
func ConnectionCounts(t tenants.ID) string { return prefix + "{" + string(t) + "}:connections" }

// MembershipCounts is the hash of a tenant's group memberships by edge run.
func MembershipCounts(t tenants.ID) string { return prefix + "{" + string(t) + "}:memberships" }

// Deliveries is the stream with a tenant's log of requests to its upstreams.
func Deliveries(t tenants.ID) string { return prefix + "{" + string(t) + "}:deliveries" }

// Departures is the set of a user's connections whose end upstreams haven't been
// told of yet, since the user may be back in a moment.
func (k HubKeys) Departures(user string) string { return k.hub + "left:" + user }

// PresenceEdges is the set of the edge runs that have announced presence.
const PresenceEdges = prefix + "present"

// PresenceHubs is the set of the hubs, as tenant/hub, in which an edge run has.
func PresenceHubs(run string) string { return prefix + "edge:" + run + ":present" }

// PresenceNews is the sorted set of the hubs, as tenant/hub, that may have something
// to tell of presence, by the millisecond when the first of it is due.
const PresenceNews = prefix + "present:news"

// PresenceReaper says which edge run sees to the end of a dead one's presence.
func PresenceReaper(run string) string { return prefix + "edge:" + run + ":reaper" }

// EdgeLease is the hash with an edge run's internal address; it expires with
// the edge.
func EdgeLease(run string) string { return prefix + "edge:" + run }

// Edges is the sorted set of the edges that live: "run address", by the second of
// their last word.
const Edges = prefix + "edges"

// EdgeReplies is the Pub/Sub channel on which an edge run gets answers to its
// commands and queries.
func EdgeReplies(run string) string { return prefix + "edge:" + run + ":replies" }

// EdgeInbox is the stream of questions and answers to an edge that doesn't listen to
// Pub/Sub. It exists while the edge lives.
func EdgeInbox(run string) string { return prefix + "edge:" + run + ":inbox" }

// readerWake is the stream that ends the waiting of a Follower's nth reader.
func readerWake(follower string, n int) string {
	return prefix + "wake:" + follower + ":" + strconv.Itoa(n)
}

// UsageStream carries usage flushes from edges to the control plane.
const UsageStream = prefix + "usage"

// UsageUnreadable keeps usage flushes that could not be read, for people.
const UsageUnreadable = prefix + "usage:unreadable"

// Spending is the hash of what an account has used in a period, as its edges count
// it, for accounts whose budgets are enforced.
func Spending(a tenants.AccountID) string { return prefix + "{" + string(a) + "}:spending" }

// SpendingReport is the number of the last report of an edge's run that Spending has.
func SpendingReport(a tenants.AccountID, run string) string { return Spending(a) + ":" + run }

// BudgetNotice says that an edge has taken on to tell a tenant's webhooks of a notice.
func BudgetNotice(t tenants.ID, id string) string {
	return prefix + "{" + string(t) + "}:" + id
}

// UsageHubs is the sorted set of the hubs that were published to, by the minute of
// the last time.
const UsageHubs = prefix + "usage:hubs"

// UsageHub is the member of UsageHubs of a hub, or of a partition of it.
func UsageHub(t tenants.ID, hub, partition string) string {
	name := string(t) + "/" + hub
	if partition != "" {
		name += "/" + partition
	}
	return name
}
