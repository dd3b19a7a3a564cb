#!/bin/sh
# Builds edges whose clocks are five minutes ahead and behind, for row F-16 of make
# chaos: with a time package that says so, since nothing else moves the clock of one
# static program. The product itself knows nothing of it.
set -eu
out=$1
mkdir -p "$out"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
original=$(go env GOROOT)/src/time/time.go
for skew in ahead:300 behind:-300; do
	name=${skew%%:*}
	seconds=${skew#*:}
	sed "/^func Now() Time {/,/^}/s/sec, nsec, mono := runtimeNow()/&; sec += $seconds/" "$original" >"$made/$name.go"
	if cmp -s "$original" "$made/$name.go"; then
		echo "skewed: time.Now of $(go version) isn't written as expected" >&2
		exit 1
	fi
	printf '{"Replace":{"%s":"%s"}}\n' "$original" "$made/$name.go" >"$made/$name.json"
	go build -overlay "$made/$name.json" -o "$out/edge-$name" ./cmd/edge
done
