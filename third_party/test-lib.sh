#!/usr/bin/env bash
# The cache's promises: a part is whole or absent, whatever fails, is killed or runs twice.
set -euo pipefail
GNOMON_CACHE=$(mktemp -d)
export GNOMON_CACHE
trap 'rm -rf "$GNOMON_CACHE"' EXIT
. "$(dirname "$0")/lib.sh"
expect() { # WHAT CONDITION...
  local what=$1
  shift
  "$@" || { echo "lib.sh: $what" >&2; exit 1; }
}
absent() { ! compgen -G "$cache/parts/$1-*" >/dev/null; }

# Each build runs in a bash of its own, as the recipes do: inside a condition bash would ignore errexit.
attempt() { # NAME BODY: publishes with a function of that body; must not succeed
  local lib
  lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh
  bash -c ". '$lib'; build() { $2; }; publish $1 any k build" test >/dev/null 2>&1 || return 0
  expect "a build that $1 succeeded" false
}
attempt fails 'touch "$1/half"; false; touch "$1/rest"'
expect "a failing build left a part" absent fails
attempt dies 'touch "$1/half"; kill -9 $BASHPID'
expect "a killed build left a part" absent dies

slow() { echo once >>"$cache/count"; sleep 1; touch "$1/done"; }
(publish slow any k slow >/dev/null 2>&1) & first=$!
(publish slow any k slow >/dev/null 2>&1) & second=$!
wait $first && wait $second
expect "two builds at once both built" [ "$(wc -l <"$cache/count")" = 1 ]
expect "the part is not whole" [ -e "$cache/parts/slow-any-k/done" ]
expect "a finished part was built again" [ "$(publish slow any k false)" = "$cache/parts/slow-any-k" ]

echo one >"$cache/file"
a=$(key target "$cache/file")
echo two >"$cache/file"
expect "the key does not cover a file's contents" [ "$a" != "$(key target "$cache/file")" ]
expect "the key does not cover the target" [ "$(key a x)" != "$(key b x)" ]

echo data >"$cache/building/x"
sum=$(sha256sum <"$cache/building/x" | cut -d' ' -f1)
expect "a good download was refused" verified "$cache/building/x" "$sum"
echo spoiled >>"$cache/building/x"
if verified "$cache/building/x" "$sum"; then expect "a spoiled download was accepted" false; fi
echo "lib.sh: parts are whole or absent"
