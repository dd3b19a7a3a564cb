// Package strict reads the service protocol as the SDK for .NET does, for tests:
// what the service sends has to come through it, and mean the same as it does to
// package serviceprotocol. It shares no code with that package.
//
// The SDK's reader trusts its peer. It takes the items of a message by their
// place, reads the value of an extension key only if the key applies to the type
// of the message, and then goes on wherever it is: a key that doesn't apply (and,
// in SDKs until March 2024, a key that is unknown) makes its value the next key.
// Headers and payloads go into dictionaries that refuse a second entry of the
// same name, whatever its case. This reader does the same, and where the SDK
// would go on with what it has misread, or leave bytes unread, it says so.
package strict
