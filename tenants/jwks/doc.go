// Package jwks keeps the public keys of the identity providers whose tokens a
// tenant's clients may use (accesstoken.PublicKeys).
//
// Keys are fetched when they are first needed and kept by tenant and issuer: what
// one tenant's issuer publishes is never looked at for another tenant. A key id
// that isn't known makes the set be fetched again, at most once in a while, so
// that made-up ids cost nothing; and when the provider doesn't answer, the keys
// that are known stay good for a day.
package jwks
