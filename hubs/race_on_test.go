//go:build race

package hubs_test

// raceEnabled: pools and goroutines allocate differently under the race detector.
const raceEnabled = true
