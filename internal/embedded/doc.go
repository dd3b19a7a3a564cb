// Package embedded starts private Postgres and Redis servers for development
// and tests, and makes sure that they end with the process that started them,
// however that process ends.
//
// The servers are the real ones found on the machine, listen on loopback on a
// free port with a random password, and keep everything in one directory. Every
// function is safe for concurrent use on different directories; two servers on
// one directory are the caller's to prevent (hold a lock on it).
//
// It is not for production: see deploy.
package embedded
