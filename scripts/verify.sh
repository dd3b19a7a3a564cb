#!/bin/sh
# Checks that what is generated and committed is what its generator makes: code
# from adminapi/openapi.yaml, docs/conformance.md and docs/security-tests.md from
# the names of tests, docs/errors from the table of codes, docs/roles.md from the
# table of operations, docs/limits.md from the table of limits, docs/cli.md from the commands. Nothing in the checkout is changed.
set -eu

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
status=0

# compare <committed> <fresh>
compare() {
	if ! diff -u "$1" "$2" >"$fresh/diff"; then
		head -n 40 "$fresh/diff"
		echo "$1 is stale: run make gen"
		status=1
	fi
}

cp adminapi/openapi.yaml "$fresh/openapi.yaml"
go build -modfile=tools/go.mod -o "$fresh/oapi-codegen" github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen
sed "s|^output:.*|output: $fresh/api.gen.go|" adminapi/oapi-codegen.yaml >"$fresh/oapi-codegen.yaml"
(cd adminapi && "$fresh/oapi-codegen" -config "$fresh/oapi-codegen.yaml" openapi.yaml)
compare adminapi/api.gen.go "$fresh/api.gen.go"
sed "s|^output:.*|output: $fresh/operator.gen.go|" adminapi/operatorapi/oapi-codegen.yaml >"$fresh/oapi-codegen.yaml"
(cd adminapi/operatorapi && "$fresh/oapi-codegen" -config "$fresh/oapi-codegen.yaml" openapi.yaml)
compare adminapi/operatorapi/api.gen.go "$fresh/operator.gen.go"

sed "s|^output:.*|output: $fresh/client.gen.go|" adminapi/client/oapi-codegen.yaml >"$fresh/client.yaml"
(cd adminapi/client && "$fresh/oapi-codegen" -config "$fresh/client.yaml" ../openapi.yaml)
compare adminapi/client/client.gen.go "$fresh/client.gen.go"

(cd web && npx --no-install openapi-typescript ../adminapi/openapi.yaml -o "$fresh/schema.d.ts" >/dev/null)
compare web/src/shared/api/schema.d.ts "$fresh/schema.d.ts"
(cd web && npx --no-install openapi-typescript ../adminapi/operatorapi/openapi.yaml -o "$fresh/operator.d.ts" >/dev/null)
compare web/operator/src/api/schema.d.ts "$fresh/operator.d.ts"

go run ./e2e/conformance/table -o "$fresh"
compare docs/conformance.md "$fresh/conformance.md"
compare docs/security-tests.md "$fresh/security-tests.md"

go run ./adminapi/rolespage -o "$fresh"
compare docs/roles.md "$fresh/roles.md"

go run ./tenants/limitspage -o "$fresh"
compare docs/limits.md "$fresh/limits.md"

go run ./cmd/signalbox reference docs/cli.md --to "$fresh/cli.md"
compare docs/cli.md "$fresh/cli.md"

go run ./internal/fault/pages -o "$fresh/errors"
for page in docs/errors/*.md "$fresh"/errors/*.md; do
	compare "docs/errors/${page##*/}" "$fresh/errors/${page##*/}"
done

exit $status
