# Shared by the recipes in this directory: cache, lock, publish, download. Sourced, never run.
#
# Layout of the cache ($GNOMON_CACHE, default $XDG_CACHE_HOME/gnomon):
#   downloads/SHA256-NAME          verified source archives
#   parts/NAME-TARGET-KEY/         finished parts, published by rename, never changed afterwards
#   building/                      builds in progress; anything here may be deleted
#   locks/, logs/
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GNOMON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gnomon}
mkdir -p "$cache"/{downloads,parts,building,locks,logs}
cache=$(cd "$cache" && pwd)
jobs=${GNOMON_JOBS:-$(nproc)}

say() { printf '%s\n' "gnomon: $*" >&2; }
die() { say "$*"; exit 1; }

# key TARGET FILE-OR-WORD...: the first 16 hex digits of a hash over the target and every input.
# A file counts with its contents, any other word with itself.
key() {
  {
    for part in "$@"; do
      if [ -f "$part" ]; then sha256sum <"$part"; else printf '%s\n' "$part"; fi
    done
  } | sha256sum | cut -c1-16
}

# publish NAME TARGET KEY FUNCTION: runs FUNCTION with an empty directory as its argument, under a lock, and
# renames that directory into place when it succeeds. Prints the final directory. An interrupted build leaves
# only a directory in building/; a concurrent one waits for the lock and then finds the part ready.
publish() {
  local name=$1 target=$2 hash=$3 build=$4 final
  final=$cache/parts/$name-$target-$hash
  if [ ! -d "$final" ]; then
    exec 9>"$cache/locks/$name-$target-$hash"
    if ! flock -n 9; then
      say "$name: another build is making it; waiting"
      flock 9
    fi
    if [ ! -d "$final" ]; then
      local stage
      stage=$cache/building/$name-$target-$hash # ours alone while the lock is held
      rm -rf "$stage"                           # what an interrupted build left
      mkdir -p "$stage/out"
      # A subshell with errexit of its own, and not inside a condition, where bash would ignore errexit: the
      # function's first failing command ends the build.
      local status
      set +e
      (set -e; "$build" "$stage/out" "$final")
      status=$?
      set -e
      if [ $status -ne 0 ]; then
        local log
        for log in "$cache/logs/$name-$target.log"*; do
          [ "$log" -nt "$stage/out" ] || continue
          say "the end of $log:"
          tail -n 25 "$log" >&2
        done
        die "$name failed; its files are left in $stage for a look and may be deleted"
      fi
      sync -f "$stage/out" 2>/dev/null || true
      mv -T "$stage/out" "$final"
      rm -rf "$stage"
    fi
    exec 9>&-
  fi
  printf '%s\n' "$final"
}

# verified FILE SHA256
verified() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]; }

# keep FILE NAME SHA256: moves a verified download into the cache and prints its path.
keep() {
  local final=$cache/downloads/${3:0:16}-$2
  mv -f "$1" "$final"
  printf '%s\n' "$final"
}

# upstream NAME SHA256 URL: the project's own download, or failure.
upstream() {
  local final=$cache/downloads/${2:0:16}-$1 tmp
  if verified "$final" "$2"; then printf '%s\n' "$final"; return 0; fi
  command -v curl >/dev/null || return 1
  tmp=$(mktemp -p "$cache/building")
  # 20 s to connect and a floor of 10 KB/s: a machine without that network learns so quickly and falls back.
  if curl --fail --location --silent --show-error --retry 2 --connect-timeout 20 \
      --speed-limit 10240 --speed-time 30 --output "$tmp" "$3" 2>/dev/null && verified "$tmp" "$2"; then
    keep "$tmp" "$1" "$2"
    return 0
  fi
  rm -f "$tmp"
  return 1
}

# debian_source PACKAGE VERSION SUITE FILE SHA256: the original tarball of a Debian source package, from the
# mirrors that this machine's apt is already set up with, without touching apt's own configuration.
debian_source() {
  local pkg=$1 version=$2 suite=$3 file=$4 sum=$5 final dir uri
  final=$cache/downloads/${sum:0:16}-$file
  if verified "$final" "$sum"; then printf '%s\n' "$final"; return 0; fi
  command -v apt-get >/dev/null || return 1
  dir=$(mktemp -d -p "$cache/building")
  mkdir -p "$dir/lists/partial" "$dir/archives/partial"
  uri=$(apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(CODENAME)|$(COMPONENT)' |
    awk -F'|' '$2 == "Debian" && $4 == "main" && $3 !~ /-/ { print $1; exit }')
  [ -n "$uri" ] || return 1
  printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite" >"$dir/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir" -o APT::Sandbox::User=root -o Acquire::Retries=3)
  if (cd "$dir" && "${apt[@]}" update && "${apt[@]}" source --download-only --tar-only "$pkg=$version") >"$dir/log" 2>&1 &&
    verified "$dir/$file" "$sum"; then
    keep "$dir/$file" "$file" "$sum"
    rm -rf "$dir"
    return 0
  fi
  tail -n 5 "$dir/log" >&2
  rm -rf "$dir"
  return 1
}

# npm_package NAME VERSION SHA512-BASE64: the package's tarball; nothing in it is run.
npm_package() {
  local name=$1 version=$2 integrity=$3 dir file final
  final=$cache/downloads/$(printf '%s' "$name-$version" | tr '/@' '--' | sed 's/^-*//').tgz
  if [ -f "$final" ] && [ "$(npm_digest "$final")" = "$integrity" ]; then printf '%s\n' "$final"; return 0; fi
  command -v npm >/dev/null || die "npm is needed to fetch $name: apt-get install npm"
  dir=$(mktemp -d -p "$cache/building")
  (cd "$dir" && npm pack --silent --ignore-scripts "$name@$version") >"$dir/name" 2>"$dir/log" || {
    tail -n 5 "$dir/log" >&2
    die "npm could not fetch $name@$version; is the npm registry reachable? (npm ping)"
  }
  file=$dir/$(tail -n 1 "$dir/name")
  [ "$(npm_digest "$file")" = "$integrity" ] || die "$name@$version is not the package this recipe was written for: its sha512 differs"
  mv -f "$file" "$final"
  rm -rf "$dir"
  printf '%s\n' "$final"
}

npm_digest() { openssl dgst -sha512 -binary "$1" | base64 -w0; }

# watch_steps LOG MINUTES: copies a build's output to LOG and shows its progress: ninja's [n/m] counters as a
# bar on a terminal, as a line every tenth when piped. Lines without a counter only go to the log.
watch_steps() {
  local tty=0
  [ -t 2 ] && tty=1
  awk -v log_file="$1" -v tty="$tty" -v minutes="$2" -v q="'" '
    BEGIN { start = systime_(); last = -1 }
    function systime_(   t) { "date +%s" | getline t; close("date +%s"); return t }
    { print > log_file }
    match($0, /^\[[0-9]+\/[0-9]+\]/) {
      split(substr($0, 2, RLENGTH - 2), n, "/")
      pct = int(100 * n[1] / n[2])
      if (pct == last) next
      if (tty) {
        bar = sprintf("%" int(pct / 2.5) "s", ""); gsub(/ /, "#", bar)
        printf("\r  [%-40s] %3d%%  %d of %d", bar, pct, n[1], n[2]) > "/dev/stderr"
      } else if (int(pct / 10) != int(last / 10)) {
        printf("  %3d%%  %d of %d, %d s\n", pct, n[1], n[2], systime_() - start) > "/dev/stderr"
      }
      last = pct
    }
    END { if (tty && last >= 0) printf("\n") > "/dev/stderr" }'
}

# logged LOG COMMAND...: runs a command with its output in LOG; on failure shows the end of it.
logged() {
  local log=$1
  shift
  if ! "$@" >>"$log" 2>&1; then
    tail -n 25 "$log" >&2
    die "failed: $1 (whole log: $log)"
  fi
}
