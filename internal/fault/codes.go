package fault

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Code is what is said of one error code in docs/errors.
type Code struct {
	Code    string
	Status  int    // over HTTP; 0 = it is never an answer over HTTP
	Meaning string // a sentence or two
	Remedy  string // what the reader can do
}

// PagesURL is where the page of a code is, the code behind it.
const PagesURL = "https://signalbox.dev/docs/errors/"

// Codes returns every code that a tenant can meet: in answers over HTTP, in
// completions and Close messages, and in the counts of what was refused. They are
// sorted by code.
func Codes() []Code {
	all := slices.Concat(requestCodes, limitCodes, connectionCodes, upstreamCodes, appServerCodes, consoleCodes)
	slices.SortFunc(all, func(a, b Code) int { return cmp.Compare(strings.ToLower(a.Code), strings.ToLower(b.Code)) })
	return all
}

// Page is the page of a code, as Markdown; limits is what there is to say of the limit
// that refuses with it, "" = nothing.
func (c Code) Page(limits string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Made by make gen from internal/fault. -->\n\n# %s\n\n", c.Code)
	if c.Status > 0 {
		fmt.Fprintf(&b, "HTTP status: %d.\n\n", c.Status)
	}
	fmt.Fprintf(&b, "%s\n\n**What to do:** %s\n\n", c.Meaning, c.Remedy)
	if limits != "" {
		fmt.Fprintf(&b, "%s\n\n", limits)
	}
	b.WriteString("[All codes](README.md)\n")
	return b.Bytes()
}

// Index is the page that lists all codes, as Markdown.
func Index() []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Made by make gen from internal/fault. -->\n\n# Error codes\n\n")
	b.WriteString("A problem document has its code in `code`, and in `type` the address of its page here. REST answers have it in the header `x-ms-error-code`, too. What is refused is counted by these codes.\n\n")
	b.WriteString("| code | HTTP | meaning |\n|---|---|---|\n")
	for _, c := range Codes() {
		status := "–"
		if c.Status > 0 {
			status = fmt.Sprint(c.Status)
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s |\n", c.Code, c.Code, status, c.Meaning)
	}
	return b.Bytes()
}

// requestCodes are about the form of requests and who makes them.
var requestCodes = []Code{
	{"invalid", 400, "A name, a parameter or the body breaks a rule. `errors` names each field, what is wrong with it and what would be accepted.", "Correct the field that is named."},
	{"unauthenticated", 401, "The request doesn't say who makes it.", "Send `Authorization: Bearer` with an access key of the tenant or a token."},
	{"invalid_token", 401, "The token is missing, expired, made for another URL, or signed with a key that isn't the tenant's. A tenant that doesn't exist gives the same answer.", "Check the clock, the audience (the URL without its query) and the key."},
	{"token_revoked", 401, "The token, its user or its key was revoked.", "Get a new token, if its bearer may still have one."},
	{"issuer_unavailable", 503, "The keys of the token's issuer can't be read now.", "Try again; check that the issuer's JWKS URL answers."},
	{"wrong_token_kind", 403, "A good token, but one for another interface: a client's token can't call the REST API, nor the reverse.", "Use a token made for this interface."},
	{"forbidden", 403, "Who asks may not do this.", "Ask somebody who may, or for the permission."},
	{"cross_origin", 403, "The request comes from another origin than the console.", "Use an API token instead of the console's session."},
	{"tenant_suspended", 403, "The tenant is suspended: nothing is served for it until an owner or admin of its account resumes it, or the operator who suspended it.", "Resume it in the console's settings of the tenant, or with `POST /v1/tenants/{tenant}/resume`. When that is refused with `set_by_operator`, ask the operator."},
	{"set_by_operator", 403, "An operator of the service has decided that: has suspended the tenant, or set the limit. People of its account can't undo it.", "Ask the operator."},
	{"not_found", 404, "There is no such route, or no such thing that the caller may see.", "Check the path against the documentation."},
	{"method_not_allowed", 405, "The route doesn't take this method.", "Use one of the methods in the `Allow` header."},
	{"not_acceptable", 406, "`Accept` leaves out every type that is answered here.", "Accept one of the types that the message names, or leave `Accept` out."},
	{"unsupported_media_type", 415, "The body is of a type that the route doesn't read, or compressed.", "Send one of the types that the message names."},
	{"conflict", 409, "It clashes with what is there.", "Read the present state, then decide again."},
	{"changed", 412, "What was to be changed is no longer what the caller has seen: somebody else changed it since the `ETag` in `If-Match` was read.", "Read it again, look at what is different, and change that."},
	{"idempotency_conflict", 409, "The Idempotency-Key was used with another request to this hub, or to the control plane by this caller.", "Use a new key for a new request; keep key and body together in repeats."},
	{"idempotency_in_progress", 409, "A request with the same Idempotency-Key was still under way after five seconds.", "Repeat it after `Retry-After`: the answer will be that of the first."},
	{"too_many_idempotency_keys", 429, "The answers of a caller's last 10,000 requests with an Idempotency-Key are kept, each for 24 hours, and there is no room for another.", "Send requests that can be repeated without harm, such as for tokens, without a key."},
	{"too_many_api_requests", 429, "More requests per minute than one caller, or one address, may send to the control plane.", "Wait for `Retry-After`; the `RateLimit` fields of every answer say what is left."},
	{"too_large", 413, "More bytes than the limit that the message names.", "Send less."},
	{"body_too_large", 413, "The body is larger than `max_request_bytes` of the tenant's plan.", "Send less at once."},
	{"message_too_large", 413, "The message is larger than `max_message_bytes` of the tenant's plan.", "Send less, or ask for a larger plan."},
	{"batch_too_large", 400, "A batch has no messages, or more than `max_batch_items` of the tenant's plan.", "Split it."},
	{"not_tried", 503, "A message of a batch wasn't tried, since a limit or an outage stopped one before it.", "Repeat what was not accepted, with the same keys; the order is kept."},
	{"not_supported", 501, "An operation of Azure's API that has no place here.", "See the message for what to do instead."},
	{"unavailable", 503, "Something that is needed is away.", "Try again after `Retry-After`."},
	{"bus_unavailable", 503, "The message bus is away, or an edge didn't answer in time. Unless the message says that nothing was carried out, the outcome is unknown.", "Repeat after `Retry-After` with the same Idempotency-Key."},
	{"outcome_unknown", 503, "It isn't known whether the request was carried out.", "Repeat it with the same Idempotency-Key."},
	{"internal", 500, "A mistake on our side.", "Report the `request_id`. The outcome is unknown; repeat with the same Idempotency-Key."},
	{"Warning.Connection.NotExisted", 404, "The connection doesn't exist, or ended before it was done. Azure's SDKs expect this code.", "Nothing: the client is gone. It comes back with another id."},
	{"Error.Connection.NotExisted", 404, "The connection that should join or leave a group doesn't exist, or is in as many groups as it may be. Azure's SDKs expect this code.", "Check the id and the limit of groups per connection."},
	{"Warning.User.NotExisted", 404, "The user has no connection. Azure's SDKs expect this code.", "Nothing: this is an answer, not a failure."},
	{"Warning.Group.NotExisted", 404, "No connection is in the group. Azure's SDKs expect this code.", "Nothing: this is an answer, not a failure."},
	{"Info.User.NotInGroup", 404, "No connection of the user is in the group. Azure's SDKs expect this code.", "Nothing: this is an answer, not a failure."},
	{"client_error", 400, "The client's method failed; the message is the client's. Azure's SDK makes a HubException of it.", "Look at the client."},
	{"answer_timeout", 504, "The client did not answer the invocation in time. It may still do what it was asked.", "Ask for a longer `timeout`, or check that the client handles the method."},
	{"answer_lost", 502, "The client answered, but the answer is too large, has no JSON form, or the message bus was away when it came.", "Let the client answer with less; for values that JSON can't hold, ask with `Accept: application/octet-stream`."},
}

// limitCodes are those of limits.
var limitCodes = []Code{
	{"rate_limited", 429, "More messages per second than the tenant's plan allows, over all edges.", "Wait for `Retry-After`; the `RateLimit` fields of every answer say what is left."},
	{"too_many_requests", 429, "More REST requests per second than the tenant's plan allows, over all edges.", "Wait for `Retry-After`; send many messages in one batch, ask for many things with lists."},
	{"delivery_rate", 429, "More was delivered per second than the tenant's plan allows. Publishes wait for up to a second first; nothing that was accepted is dropped.", "Publish less, or to fewer at once; wait for `Retry-After`."},
	{"group_rate", 429, "More publishes per second to one group than the tenant's plan allows, on one edge.", "Put several messages into one, or spread them over groups; wait for `Retry-After`."},
	{"token_rate", 429, "More tokens per second were asked for than the tenant's plan allows.", "Sign tokens yourself with an access key, or keep them for as long as they are good."},
	{"connect_rate", 429, "More new connections per second than the tenant's plan allows, over all edges.", "Let clients come back after random times; stock clients do with their default delays. Wait for `Retry-After`."},
	{"user_connections", 429, "The user has as many connections in the tenant as one user may. With `close_oldest` in the hub's settings it is the reason in the Close message of the oldest.", "Close connections that aren't needed, or give devices users of their own."},
	{"ip_connect_rate", 429, "More new connections per second from one address than the tenant's plan allows, on one edge.", "Wait for `Retry-After`. Who has many clients behind one address needs a larger limit."},
	{"ip_connections", 429, "One address has as many connections to the tenant on one edge as it may.", "Close some. Who has many clients behind one address needs a larger limit."},
	{"call_rate", 0, "A connection calls more per second than it may. After 100 refusals in a minute it is closed, with leave to reconnect.", "Call less often, or put several calls into one. Calls that wait for no answer are told of with `$limit`."},
	{"method_rate", 0, "A connection calls one method more often than the hub's settings allow (`method_rates`).", "Call it less often, or raise the method's rate in the hub's settings."},
	{"bandwidth", 0, "A connection goes on sending more bytes per second than it may, although it is read slowly.", "Send less, or smaller messages."},
	{"too_many_streams", 0, "A connection has as many streams open in this direction as it may.", "Let one end first."},
	{"simulator_production", 403, "A refusal was to be simulated for a tenant whose environment is production.", "Use a development tenant, or leave out the header `Signalbox-Simulate` and the token's claim `sbx.simulate`."},
	{"kept_out", 429, "A client of this user, or this address, was closed since it went on in spite of refusals. It may not connect for 2 s, for 10 s the second time within five minutes, then for a minute.", "Wait for `Retry-After`; see why its calls were refused."},
	{"quota_exceeded", 409, "A limit of the plan is reached.", "Remove something, or ask for a larger plan."},
	{"allowance_exceeded", 403, "The account has used all that its plan allows in a period, and the plan has no price for more: beyond its messages nothing is published, beyond its connection minutes no new connection is taken. Connections that are there stay. It is no rate: waiting for a second doesn't help. The message names the limit, what is used and when the period ends.", "Change to a larger plan in the console, which is in force at once, or wait for the next period."},
	{"budget_exceeded", 403, "The account has used up the budget that it has set for the period, and the budget says that this is refused then. It is no rate: waiting for a second doesn't help.", "Raise the budget in the console, or wait for the next period; the text says when that is."},
	{"connection_limit", 429, "The tenant has as many connections as its plan allows, or makes new ones too fast.", "Close connections, or ask for a larger plan; clients try again by themselves."},
	{"hub_limit", 403, "The tenant uses as many hubs as its plan allows.", "Delete a hub, or use one of those there are."},
	{"too_many_groups", 0, "A connection is in as many groups as it may be; it didn't join one more.", "Leave groups, or ask for a larger plan."},
	{"group_limit", 0, "The tenant's connections are in as many groups, counted together, as its plan allows; one didn't join one more.", "Leave groups, or ask for a larger plan."},
	{"presence_full", 409, "As many members of the group are present as the tenant's plan allows, or more, with their states, than can be watched at once.", "Let fewer be present, read page by page instead of watching, or ask for a larger plan."},
	{"state_too_large", 413, "A member's state is larger than the tenant's plan allows.", "Keep the state small, with a reference to the rest."},
	{"user_group_limit", 429, "A hub remembers the groups of its users (`PUT /users/{user}/groups/{group}`) in 16 MiB at the most; one more was not added.", "Remove users from groups, add them for a time (`ttl`), or name the groups in clients' tokens."},
	{"too_many_invocations", 429, "Too many invocations of a client, or of a tenant's clients, wait for an answer.", "Ask less at the same time."},
	{"too_many_requests_at_once", 429, "As many REST requests of the tenant are under way on one edge as may be: 64, and a tenth of its messages per second.", "Wait for answers before sending more; wait for `Retry-After`."},
	{"publish_backlog", 429, "More than 32 MiB of the tenant's publishes wait for the message bus on one edge; one more was not taken in, and nothing of it was carried out.", "Wait for answers before sending more; wait for `Retry-After`."},
	{"store_full", 503, "The message bus has little memory left, and the tenant's hubs keep more than the tenant's part of it (or nearly nothing is left for anybody). Nothing was carried out; what is kept stays.", "Repeat it after `Retry-After`; publish less, or let the hubs keep less (`history`)."},
	{"edge_memory", 503, "An edge is short of memory: it takes no new connections, publishes and calls until it has some again; clients of the tenant for which most was waiting were cut off. Nothing of what was refused was carried out.", "Repeat it after `Retry-After`, it may reach another edge. Clients that are cut off read too slowly for what they are sent: send them less."},
	{"too_many_calls_at_once", 0, "As many invocations of the tenant's clients are under way on one edge as may be: 256, and a quarter of its messages per second. The invocation was not carried out.", "Wait for answers before calling again; let the upstream or the app server answer faster."},
	{"message_flood", 0, "A client sent more hub messages per second, or in one frame, than a connection may; it was closed.", "Let the client send less often, or less at once."},
	{"connection_token_guesses", 429, "One address presented more than 20 connection tokens in a minute that were never issued.", "Let clients negotiate again when their connection has ended; wait for `Retry-After`."},
}

// connectionCodes are counted when connections are refused or end.
var connectionCodes = []Code{
	{"handshake_failed", 0, "The handshake of a connection failed: too late, not valid, or a protocol that isn't served.", "Use a SignalR client, and a network that lets WebSockets through."},
	{"connection_retires", 0, "A call came to an edge that is being replaced, more than 5 s after its client should have been asked to reconnect: the client always had calls under way; or it crossed the end of the connection. It was not carried out.", "Nothing: clients come back by themselves, on another edge. Repeat the call there."},
	{"no_handler", 0, "A client invoked a method of a hub that nobody handles.", "Connect an app server, set an upstream URL, or only send over REST."},
	{"invocation_failed", 0, "A hub method failed without saying why to the client.", "See the log of the hub's server."},
	{"connection_refused", 0, "A filter or OnConnected refused the connection.", "See what the hub's server checks."},
	{"slow_consumer", 0, "More waited for a connection than its queue holds: it was closed rather than thinned.", "Send less to it, or let it read faster; it may come back and catch up."},
	{"protocol_error", 0, "What came over a connection is no valid hub message.", "Check the client, and what is between it and the service."},
	{"client_timeout", 0, "A client was silent for longer than its time-out.", "Nothing, if the network was gone; else let the client's keep-alive match the hub's."},
	{"stream_idle", 0, "An upload stream brought nothing for too long and was ended.", "Let the client complete its streams."},
	{"history_gone", 410, "What came after a position is no longer kept. Over REST and in `$history`, `from` and `to` are the positions between which it lay. A connection whose edge missed it was closed, to begin anew.", "Reload the state, then go on after the position in `to`."},
	{"not_replicated", 503, "A send asked for `ack=replicated`, and no replica of the message bus is known to have the message. The text says whether it may have been sent all the same.", "Repeat it with the same Idempotency-Key, or be content with `ack=stream`."},
	{"publish_lost", 0, "A send with `ack=none` that could not be carried out after it was answered.", "Use `ack=stream` for what must not be lost."},
	{"gap_notice", 0, "Messages were lost to an edge, and its clients were told with `$gap`, since the hub's settings say so; the count is that of connections.", "Reload the state of what lies between `from` and `to`, and join groups again."},
	{"history_unavailable", 0, "The history of a hub can't be read now.", "Try again in a moment."},
	{"permission_denied", 403, "The token doesn't allow what the client asked for.", "Give the token the permission; the console can try a token in advance."},
	{"unknown_method", 404, "There is no `$` method of that name.", "See the documentation of client methods."},
	{"invalid_argument", 400, "An argument of a `$` method is not valid.", "See the documentation of client methods."},
	{"not_in_group", 404, "Who is to be present in a group isn't in it.", "Join the group first."},
	{"presence_unavailable", 503, "Not every edge could be asked who is present. After the death of one this lasts for some seconds.", "Try again in a moment."},
	{"wrong_user", 403, "The new token of a connection, or a request for it, is of another user.", "Use a token of the same user, or connect anew."},
	{"origin_not_allowed", 403, "The page's origin is not among the allowed origins of the hub.", "Add the origin to the hub's settings, exactly as browsers send it."},
	{"invalid_name", 400, "A group, user or connection id breaks the rule of names.", "See the rule in the message."},
	{"invalid_message", 400, "A message to be sent is not valid.", "Check its form."},
}

// upstreamCodes are those of webhooks.
var upstreamCodes = []Code{
	{"upstream_no_rule", 0, "No rule of the hub's upstream takes the invocation.", "Add a rule for it."},
	{"upstream_unsupported", 0, "The upstream's mode can't carry this kind of call.", "Use a mode that can, or an app server."},
	{"upstream_status", 0, "The upstream answered with a status of failure.", "See the delivery log and the upstream's own."},
	{"upstream_response_invalid", 0, "The upstream's answer isn't of the form that the mode asks for.", "See the delivery log and the documentation of the mode."},
	{"upstream_position", 0, "The upstream's answer follows a position that is none of this hub, or that wasn't reached within two seconds.", "Send back the X-Signalbox-Position of what was sent for this very call."},
	{"upstream_response_too_large", 0, "The upstream's answer is larger than 1 MiB.", "Answer with less, or stream."},
	{"upstream_timeout", 0, "The upstream didn't answer in time.", "Answer faster, or raise the hub's time-out."},
	{"upstream_unreachable", 0, "The upstream can't be reached: name, connection or certificate.", "Check its URL from outside."},
	{"upstream_busy", 0, "The address of the upstream gets as many requests, of all tenants together, as it may, or the tenant has as many streams of upstreams open; no turn came in time.", "Answer faster, or in parallel."},
	{"upstream_requests", 0, "The tenant has as many requests to its upstreams under way on one edge as it may, and none of them ended within the hub's `timeout_seconds`. Events are tried again.", "Answer faster; put what takes long behind the answer, or ask for a larger plan."},
	{"upstream_endpoints", 409, "The upstreams of the tenant's hubs have as many different URLs as its plan allows.", "Use placeholders (`{hub}`, `{category}`, `{event}`) instead of several URLs, remove one, or ask for a larger plan."},
	{"upstream_circuit_open", 0, "The upstream failed so often that it is left alone for a while.", "Repair it; it is tried again by itself."},
	{"upstream_event_lost", 0, "An event couldn't be delivered in all its attempts.", "Replay it from the delivery log."},
	{"upstream_cancelled", 0, "The client left before the upstream answered.", "Nothing."},
	{"webhook_secret_missing", 409, "The mode signs with a webhook secret, and the hub has none.", "Make one first."},
	{"body_truncated", 409, "The delivery's body was too large to be kept whole, so it can't be replayed.", "Send it again from where it came."},
}

// appServerCodes are those of app servers.
var appServerCodes = []Code{
	{"no_app_server", 0, "No app server of the hub takes clients now. Clients may come back.", "Start one; check its connection string and the hub's name."},
	{"no_app_servers", 0, "The hub's settings leave its clients to others than app servers.", "Set the hub's handler to app servers or automatic."},
	{"app_servers_unknown", 0, "It wasn't known within 12 s which app servers the hub has, for as long the handshake was held. Clients may come back.", "Nothing: clients come back by themselves."},
	{"app_server_away", 0, "The client's token requires an app server that isn't connected.", "Let the client negotiate again."},
	{"app_server_unreachable", 0, "The edge with the app server can't be reached.", "Nothing: clients come back by themselves."},
	{"app_server_lost", 0, "The connection of the client's app server is gone.", "Nothing: clients come back by themselves, or move to another app server."},
	{"app_server_moved", 0, "The client has moved to another app server before the one that had the call answered it.", "Call again. An app server that shuts down has half a second for what runs, a Go hub a second more; streams end."},
	{"handler_changed", 0, "The hub's clients are handled by something else now: an app server has come, or the hub's settings were changed.", "Nothing: clients come back by themselves."},
	{"server_connections", 429, "The tenant has as many server connections as it may.", "Use fewer connections per hub, or fewer app servers."},
	{"server_timeout", 0, "An app server's connection was silent for too long.", "Check the network between; the SDK reconnects by itself."},
	{"server_slowed", 0, "An app server's connection is read more slowly, since it sends more than the tenant's plan allows.", "Send less, or ask for a larger plan."},
	{"filter_unsupported", 0, "An app server sent a message with a filter that isn't supported.", "Send to groups, users or connections."},
	{"unsupported", 0, "An app server sent a message of a kind that isn't supported.", "See the documentation of the tested range of SDKs."},
}

// consoleCodes are those of the control plane's API.
var consoleCodes = []Code{
	{"max_tenants", 409, "The account has as many tenants as its plan allows: Free 3, Pro 20, Scale 100.", "Delete one, or ask for a larger plan."},
	{"max_hubs", 409, "The tenant has as many configured hubs as its plan allows.", "Delete one, or ask for a larger plan."},
	{"max_hub_bytes", 409, "The settings of the tenant's hubs are together too large.", "Remove settings that aren't needed."},
	{"max_api_tokens", 409, "The account has as many API tokens as it may.", "Delete one that isn't used."},
	{"token_too_long", 400, "The token that was asked for would be longer than 4,096 bytes.", "Give it fewer groups and permissions; a pattern does for many."},
	{"issuer_taken", 409, "The tenant has an issuer of this name already.", "Change that one."},
	{"overlap_running", 409, "The slot's former key still is good beside the present one. Replacing the present one with an overlap, too, would end the former at once.", "Wait until it ends, end it (`DELETE /v1/tenants/{tenant}/keys/{slot}/former`), or replace both at once with `overlap_seconds` 0."},
	{"demo_permissions", 409, "Hubs of the tenant have permissions of the demo, which production tenants can't have.", "Take them out of the settings of the hubs that the message names, then change the environment."},
	{"domain_exists", 409, "The tenant has this domain already.", "Verify that one."},
	{"domain_taken", 409, "The domain was verified for another tenant, and the DNS record that verified it is still there.", "Remove that record from the domain's DNS and verify again, or remove the domain from that tenant."},
	{"domain_unverified", 409, "The DNS record that verifies the domain isn't there yet, or has another value.", "Make the TXT record that the message names; DNS may go on showing what was for as long as its TTL."},
	{"dns_unavailable", 503, "The DNS servers of the domain don't answer.", "Try again in a minute; check that the domain's name servers work."},
	{"max_domains", 409, "The tenant has as many domains as it may.", "Remove one."},
	{"keys_revoked", 409, "Both access keys of the tenant are revoked, so nothing that they sign would be good.", "Regenerate one of them, or lift its revocation."},
	{"max_revocations", 409, "The tenant has as many revocations in force as it may.", "Rotate a key instead: that revokes all its tokens."},
	{"max_issuers", 409, "The tenant has as many issuers of its own as it may.", "Delete one."},
	{"host_taken", 409, "The host belongs to another tenant.", "Choose another one."},
	{"slug_taken", 409, "The short name belongs to another tenant.", "Choose another one."},
	{"email_taken", 409, "There is a user with this address already.", "Sign in, or set a new password."},
	{"provider_email_unverified", 403, "The OpenID provider names no address, or one that it has not verified, so nobody can be found by it.", "Confirm the address at the provider, or sign in with a password and link the provider in the security settings."},
	{"link_first", 403, "The address that the OpenID provider vouches for has a user who never confirmed it.", "Sign in with the password, or set a new one, and link the provider in the security settings."},
	{"identity_taken", 409, "The identity at the OpenID provider is linked to a user already.", "Unlink it there first."},
	{"provider_refused", 401, "The OpenID provider refused, or its answer belongs to another attempt.", "Begin again."},
	{"provider_unavailable", 503, "The OpenID provider can't be reached.", "Try again, or sign in with the password."},
	{"no_password", 409, "The user could not sign in any more: there is no password.", "Set a password first."},
	{"email_unverified", 403, "The caller's own address isn't confirmed yet.", "Open the link in the mail, or have it sent again from the security settings."},
	{"link_expired", 404, "The link of a mail was used already, withdrawn, or is too old.", "Ask for a new one."},
	{"session_required", 403, "What concerns people and tokens themselves takes a session of the console.", "Sign in to the console."},
	{"insufficient_scope", 403, "The API token has scopes, and the one that the message names isn't among them.", "Make a token with that scope."},
	{"second_factor_required", 403, "The account requires a second factor of its members, and the caller has none.", "Set one up in the security settings of the console."},
	{"second_factor_needed", 409, "An account of the user's requires a second factor, so it can't be switched off.", "Leave the account first, or let its owner no longer require it."},
	{"second_factor_missing", 409, "Whoever requires a second factor of others must have one.", "Set up your own first."},
	{"second_factor_enabled", 409, "The user has a second factor already.", "Switch it off first to set up another one."},
	{"wrong_code", 401, "The code of the second step isn't right, too old, or was used before.", "Wait for the next code; check the clock of the device."},
	{"first_step_missing", 401, "The second step of signing in came without the first, or more than ten minutes after it.", "Begin again with address and password."},
	{"owners_only", 403, "Only owners make, change and remove owners.", "Ask an owner."},
	{"last_owner", 409, "The account would be left without an owner.", "Make somebody else owner first."},
	{"operator_taken", 409, "There is an operator of the service with this address already.", "Use another address, or `api operator reset`."},
	{"system_tenant", 409, "This is the service's own tenant, by which consoles hear of what happens.", "Leave it as it is."},
	{"verification_busy", 429, "This audit log is being verified already, or as many others are as may be at a time.", "Wait for `Retry-After`, then try again."},
	{"last_ready_edge", 409, "No other edge is ready, so draining this one would leave nobody to connect to.", "Undrain or start another edge first, or drain this one with force."},
	{"edge_unreachable", 503, "The edge doesn't answer the control plane.", "Look whether it runs and whether its internal listener can be reached; try again."},
	{"already_member", 409, "Who is invited is a member already.", "Change the member's role instead."},
	{"already_invited", 409, "The address has an open invitation.", "Send that one again, or withdraw it."},
	{"already_verified", 409, "The address is confirmed already.", "Nothing."},
	{"sign_in_first", 401, "The invited address has a user, who must be signed in to accept.", "Sign in with that address."},
	{"another_address", 403, "The invitation is for another address than the caller's.", "Sign in with the invited address, or ask for an invitation to yours."},
	{"max_members", 409, "The account has as many members as its plan allows: Free 2, Pro 20, Scale 500.", "Remove somebody, or choose a larger plan."},
	{"max_invitations", 409, "The account has as many open invitations as it may.", "Withdraw some."},
	{"max_accounts", 409, "The user owns as many accounts as one person may.", "Make somebody else owner of one."},
	{"allowance_used", 409, "The plan would refuse all that is beyond its allowance, of which the account has used more in this period already.", "Let the change count from the period's end (`effective: period_end`)."},
	{"max_plan_changes", 409, "The plan was changed at once as often as it may be in one period.", "Let the change count from the period's end (`effective: period_end`)."},
	{"wrong_credentials", 401, "Mail address and password don't match.", "Try again, or set a new password."},
}
