#!/bin/bash
# Fuzzes every target of the module, one after the other, for FUZZTIME each (a
# minute unless told otherwise), and sends all that the contract walk can think of.
# Names what failed; the status is 1 then. The input that failed is in the package's
# testdata/fuzz: with it, go test fails too.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
count=0
while IFS=: read -r file _ line; do
	target=${line#func }
	target=${target%%(*}
	dir=./$(dirname "${file#./}")
	count=$((count + 1))
	echo "==> $dir $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-1m}" -fuzzminimizetime 300ms "$dir" </dev/null ||
		failed+=("$dir $target")
done < <(grep -rn '^func Fuzz' --include='*_test.go' --exclude-dir=node_modules . | sort)

echo "==> ./adminapi TestContract, TestContract_of_operators, every request"
go test -run '^TestContract' -count 1 ./adminapi -contract.all </dev/null || failed+=("./adminapi TestContract -contract.all")

[ "$count" -gt 0 ] || { echo "no fuzz targets found"; exit 1; }
echo "$count targets, ${#failed[@]} failed"
[ "${#failed[@]}" -eq 0 ] || { printf 'FAILED %s\n' "${failed[@]}"; exit 1; }
