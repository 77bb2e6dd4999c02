#!/usr/bin/env bash
# The npm packages that `make test-interop` drives devcloud with, pinned by devcloud/interop/node/package-lock.json.
# Prints the directory in which Node finds them (NODE_PATH). None of their scripts is run.
. "$(dirname "$0")/lib.sh"
lists=$here/../devcloud/interop/node

build() {
  local log=$cache/logs/interop-node.log
  command -v npm >/dev/null || die "npm is needed to fetch AWS's device SDK for Node: apt-get install npm"
  say "AWS's device SDK for Node: some seconds (20 MB from the npm registry)"
  : >"$log"
  cp "$lists/package.json" "$lists/package-lock.json" "$1/"
  cd "$1"
  logged "$log" npm ci --ignore-scripts --no-audit --no-fund
}

command -v node >/dev/null || die "node is needed to run AWS's device SDK: apt-get install nodejs"
printf '%s/node_modules\n' "$(publish interop-node any "$(key any "$0" "$lists"/package*.json)" build)"
