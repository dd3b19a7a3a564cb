// Package clientmethods is what clients of a hub can do without any backend: the
// hub methods whose names begin with $. They are served by the edge, whatever
// handles the hub's other methods, to the extent that a client's token and the
// hub's settings permit:
//
//	$joinGroup(group, {rewind: {last | after | since}}?)
//	$leaveGroup(group)
//	$sendToGroup(group, method, arguments?, {noEcho}?)  → the message's position
//	$refreshToken(token)                                → {expiresAt}
//	$history({group?, last | after | since}?)           a stream of messages
//	$setPresence(group, state?), $clearPresence(group)
//	$readPresence(group, {after, limit}?)               → {members, count, next}
//	$watchPresence(group), $unwatchPresence(group)      → {members, count}, then $presence
//
// Names are compared without case, like those of all hub methods. No handler ever
// sees an invocation of a name that begins with $.
package clientmethods
