#!/bin/sh
# Installs the real agents that tests in this folder and in test/e2e talk to:
# OpenCode with npm, Hermes Agent with pip, at the versions that the catalogue
# was checked with. Running it again does nothing. Prints the two programs'
# paths, one a line.
#
# The folder is $HOLDFAST_TEST_CACHE, or ~/.cache/holdfast-test.
set -eu

OPENCODE=1.18.33
HERMES=0.19.0

cache=${HOLDFAST_TEST_CACHE:-$HOME/.cache/holdfast-test}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

fail() {
	echo "setup: $*" >&2
	exit 1
}

opencode=$cache/opencode/node_modules/.bin/opencode
if [ "$("$opencode" --version 2>/dev/null || true)" != "$OPENCODE" ]; then
	command -v npm >/dev/null || fail "npm is missing; install Node 20 or newer"
	mkdir -p "$cache/opencode"
	npm install --prefix "$cache/opencode" --no-fund --no-audit --save-exact \
		"opencode-ai@$OPENCODE" >"$cache/npm.log" 2>&1 || {
		cat "$cache/npm.log" >&2
		fail "npm could not install opencode-ai@$OPENCODE"
	}
	# Where npm runs no install scripts, the program is not yet in its place.
	"$opencode" --version >/dev/null 2>&1 || node "$cache/opencode/node_modules/opencode-ai/postinstall.mjs" >&2
	[ "$("$opencode" --version)" = "$OPENCODE" ] || fail "opencode does not start"
fi

# Hermes Agent needs Python 3.11, 3.12 or 3.13. A name on the PATH may be a
# version manager's shim for a Python that is not chosen, so each is run.
hermes=$cache/hermes/bin/hermes-acp
ready=$cache/hermes/ready-$HERMES
if [ ! -x "$hermes" ] || [ ! -e "$ready" ]; then
	python=
	for name in python3.12 python3.11 python3.13 python3; do
		if "$name" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then
			python=$name
			break
		fi
	done
	[ -n "$python" ] || fail "Python 3.11, 3.12 or 3.13 with venv is missing"
	rm -rf "$cache/hermes"
	"$python" -m venv "$cache/hermes" || fail "$python could not make a virtual environment"
	"$cache/hermes/bin/pip" install -q --disable-pip-version-check \
		"hermes-agent[acp,mcp]==$HERMES" >"$cache/pip.log" 2>&1 || {
		cat "$cache/pip.log" >&2
		fail "pip could not install hermes-agent $HERMES"
	}
	"$hermes" --check >/dev/null || fail "hermes-acp does not start"
	: >"$ready"
fi

echo "$opencode"
echo "$hermes"
