// Package permissions is the language in which tokens and hub settings say what
// a client may do by itself, without a backend: join, leave and send to groups,
// read presence and history.
//
// A permission is an action and, after a colon, a pattern of group names:
//
//	joinGroup                 every group
//	sendToGroup:room-7        this group
//	joinGroup:room-*          the groups whose names begin so
//	sendToGroup:user-{user}   the group named after the client's user id
//
// The role names of Azure Web PubSub are understood too. There is only
// allowing: what nothing allows is refused, so a permission that can't be read
// takes nothing away and gives nothing.
package permissions
