package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Runs of several processes, with the race detector and without Pub/Sub stand beside
// each other.
func TestResults_of_several_processes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "results.json")
	one, err := readResults(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := readResults(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		by *results
		result
	}{
		{one, result{Row: "F-01", Seed: 1, Verdict: late}},
		{other, result{Row: "F-01", Seed: 2, Verdict: passed}},
		{one, result{Row: "F-01", Seed: 1, Race: true, Verdict: passed}},
		{other, result{Row: "F-01", Seed: 1, Verdict: passed}},
		{other, result{Row: "F-01", Seed: 1, Streams: true, Verdict: passed}},
		{one, result{Row: "F-02", Seed: 1, Verdict: violated}},
	} {
		if err := x.by.keep(x.result); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readResults(path)
	if err != nil {
		t.Fatal(err)
	}
	if runs := all.of("F-01"); len(runs) != 4 || runs[0].name() != "1" || runs[0].Verdict != passed || runs[2].name() != "race 1" || runs[3].name() != "streams-only 1" {
		t.Errorf("kept %+v", runs)
	}
	if !all.has(result{Row: "F-01", Seed: 1, Race: true}) || all.has(result{Row: "F-01", Seed: 2, Race: true}) || all.has(result{Row: "F-02", Seed: 1}) ||
		!all.has(result{Row: "F-01", Seed: 1, Streams: true}) || all.has(result{Row: "F-01", Seed: 1, Race: true, Streams: true}) {
		t.Error("what is to be run again is not what hasn't passed")
	}
	if _, err := raceBuilt(filepath.Dir(path), "edge"); err == nil {
		t.Error("a program that isn't there was taken")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raceBuilt(filepath.Dir(self), filepath.Base(self)); err != nil {
		t.Errorf("this program: %v", err)
	}
}
