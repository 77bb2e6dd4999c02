#!/usr/bin/env bash
# What is promised of the binary: it needs only libc and its parts, stays under 60 MB, and leaves no file behind.
set -euo pipefail
binary=$1
limit=60000000

needs=$(objdump -p "$binary" | awk '/NEEDED/ { print $2 }' | grep -vE '^(libc|libm|libdl|libpthread|librt)\.so\.[0-9]+$|^ld-linux.*' || true)
if [ -n "$needs" ]; then
  echo "$binary needs more than libc:" "$needs" >&2
  exit 1
fi
size=$(stat -c %s "$binary")
if [ "$size" -ge $limit ]; then
  echo "$binary has $size bytes; it must stay below $limit" >&2
  exit 1
fi
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
# Without CI in the environment, which would silence what must be silent by itself.
env -u CI HOME="$home" XDG_CACHE_HOME="$home/cache" TMPDIR="$home" "$binary" version >/dev/null
left=$(find "$home" -mindepth 1)
if [ -n "$left" ]; then
  echo "$binary leaves files behind:" "$left" >&2
  exit 1
fi
echo "$binary: $((size / 1000000)) MB, needs only libc, leaves no files behind"
