//go:build !race

package hubs_test

const raceEnabled = false
