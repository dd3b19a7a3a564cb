// Package dev runs the whole product on one machine: a private Postgres and
// Redis, one api, some edges as separate processes, and a round-robin front over
// the edges without any stickiness.
//
// Other programs rely on its contract: the variables of Config, the file
// dev.json (Descriptor), the line "ready", and SIGTERM or Ctrl-C as the end.
// Children end with it however it ends. A child that is killed by hand is
// started again a second later on the same ports, and dev.json gets its new pid.
package dev
