#!/bin/bash
# Runs every check and test of the project, all of them even after a failure, and
# ends with the line "N passed, N failed". The status is 1 when anything failed,
# when a suite ran nothing, or when a test was skipped without a reason. Tests that
# failed and pass three times by themselves are told apart as flaky: CONTRIBUTING.md.
set -uo pipefail
cd "$(dirname "$0")/.."

results=test-results
# How long one package may take, on a slow machine that does other things, too.
package_time=20m
rm -rf "$results"
mkdir -p "$results"
go build -o "$results/testsum" ./scripts/testsum || exit 1

# check <name> <command...>: counts as one test.
check() {
	local name=$1 began=$SECONDS
	shift
	echo "==> $name"
	if "$@" >"$results/$name.log" 2>&1; then
		echo "$name pass" >>"$results/checks"
		echo "    ok ($((SECONDS - began)) s)"
	else
		echo "$name fail" >>"$results/checks"
		tail -n 60 "$results/$name.log"
		echo "    FAILED ($((SECONDS - began)) s): $results/$name.log"
	fi
}

# suite <name> <command...>: a runner whose tests are counted from its report.
# When it ends badly without a failed test, that is a failure of its own.
ended_badly=
suite() {
	local name=$1 began=$SECONDS
	shift
	echo "==> $name"
	if "$@"; then
		echo "    ok ($((SECONDS - began)) s)"
	else
		ended_badly+=$name,
		echo "    FAILED ($((SECONDS - began)) s)"
	fi
}

go_tests() {
	# The fault suite is a module of its own.
	{
		local root=0
		go test -race -timeout "$package_time" -json ./... || root=$?
		(cd e2e/chaos && go test -mod=mod -race -timeout "$package_time" -json ./...) && [ "$root" -eq 0 ]
	} 2>"$results/go.stderr" | tee "$results/go.json" | "$results/testsum" watch
	[ "${PIPESTATUS[0]}" -ne 0 ] || return 0
	cat "$results/go.stderr"
	"$results/testsum" again -go "$results/go.json" -nested "$(go list -m)/e2e/chaos" -flaky "$results/flaky.json" -keep "$results/flaky"
}
web_tests() {
	(cd web && npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="../$results/vitest.json")
}
e2e_tests() {
	(cd e2e && node run.mjs "../$results/e2e.tap")
}

check build make --no-print-directory -j2 build e2e/node_modules/.stamp
check generated-code scripts/verify.sh
check lint make --no-print-directory lint
check web-lint npm --prefix web run --silent lint
check web-types npm --prefix web run --silent typecheck
suite go go_tests
suite vitest web_tests
suite tap e2e_tests

"$results/testsum" total -ended-badly "$ended_badly" -flaky "$results/flaky.json" -checks "$results/checks" -go "$results/go.json" -vitest "$results/vitest.json" -tap "$results/e2e.tap"
