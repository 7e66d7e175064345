#!/usr/bin/env bash
# Runs every test, after getting what the Node and browser tests need: the npm
# packages of test/node, and Chromium through apt-get where that is allowed.
# What can't be had is said before and after the tests, and the tests that need
# it are skipped; what is there must not be skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    echo "not root, and no sudo without a password" >&2
    return 1
  fi
}

install_chromium() {
  command -v apt-get >/dev/null || { echo "no apt-get here" >&2; return 1; }
  local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  local log
  log=$(mktemp)
  echo "installing chromium through apt-get" >&2
  if as_root "${get[@]}" install -y --no-install-recommends chromium >"$log" 2>&1 </dev/null ||
    { as_root "${get[@]}" update >>"$log" 2>&1 &&
      as_root "${get[@]}" install -y --no-install-recommends chromium >>"$log" 2>&1 </dev/null; }; then
    rm -f "$log"
    return 0
  fi
  tail -n 20 "$log" >&2
  rm -f "$log"
  return 1
}

find_chromium() {
  command -v chromium || command -v chromium-browser || command -v google-chrome
}

have_node=0
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
  missing+=("node and npm are not installed: the Node and browser tests are SKIPPED")
elif npm ci --prefix test/node --ignore-scripts --no-audit --no-fund --loglevel=error >&2 </dev/null; then
  have_node=1
  export PUSHD_REQUIRE_NODE=1
else
  missing+=("npm could not install test/node: the Node and browser tests are SKIPPED")
fi

if [ "$have_node" = 1 ]; then
  if find_chromium >/dev/null || install_chromium; then
    PUSHD_CHROMIUM=$(find_chromium)
    export PUSHD_CHROMIUM PUSHD_REQUIRE_BROWSER=1
  else
    missing+=("Chromium is not installed and could not be: the browser tests are SKIPPED")
  fi
fi

say_missing() {
  [ "${#missing[@]}" = 0 ] && return
  echo
  echo "!!! NOT EVERYTHING IS TESTED HERE"
  printf '!!! %s\n' "${missing[@]}"
  echo
}

say_missing
status=0
go test -race -shuffle=on -timeout 12m ./... || status=$?
say_missing
exit "$status"
