#!/usr/bin/env bash
# Lints the repository: .golangci.yml's linters and formatting, the import rules of docs/architecture.md, THIRD_PARTY.md,
# and the shell scripts. Goes on after a failure, so that one run shows everything; exits 1 if anything was found.
#
#   third_party/lint/lint.sh [PACKAGES]   default: all of them
#   third_party/lint/lint.sh --fix        formats the Go sources instead
#
# The Go environment (GOFLAGS with build tags, CGO_*) is taken as it is; `make lint` sets it. The tools are pinned
# and made once, into the cache: golangci-lint with `go install`, in about three minutes of processor time. ShellCheck
# is whatever the machine has, or else Debian's package, unpacked into the cache without installing it. Neither is
# optional: a check that quietly leaves something out is not worth passing.
. "$(dirname "$0")/../lib.sh"
golangci_version=v2.15.0
root=$(cd "$here/.." && pwd) # lib.sh's here is third_party

build_golangci() {
  say "building golangci-lint $golangci_version, once: about 2 minutes on 2 cores"
  # For this machine and without the repository's flags, whatever target is being linted.
  logged "$cache/logs/golangci-lint.log" env GOBIN="$1" GOFLAGS= GOOS= GOARCH= CGO_ENABLED=0 \
    go install -trimpath "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_version"
}

unpack_shellcheck() {
  command -v apt-get >/dev/null || die "shellcheck is missing; please install it and try again"
  cd "$(dirname "$1")"
  if ! apt-get download -qq shellcheck >"$cache/logs/shellcheck.log" 2>&1; then
    tail -n 3 "$cache/logs/shellcheck.log" >&2
    die "shellcheck is missing and could not be fetched; run this, then try again:
  sudo apt-get update && sudo apt-get install --no-install-recommends shellcheck"
  fi
  dpkg-deb --extract shellcheck_*.deb unpacked
  cp unpacked/usr/bin/shellcheck "$1/"
}

# scripts: the repository's shell scripts, by name or by their first line, new ones included.
scripts() {
  local file first
  git ls-files --cached --others --exclude-standard | while read -r file; do
    [ -f "$file" ] || continue # deleted, not yet committed
    case $file in
      *.sh) printf '%s\n' "$file" ;;
      *.*) ;;
      *)
        IFS= read -r first <"$file" 2>/dev/null || true
        case $first in '#!'*[/\ ]sh | '#!'*[/\ ]bash) printf '%s\n' "$file" ;; esac
        ;;
    esac
  done
}

cd "$root"
golangci=$(publish golangci-lint "$(go env GOHOSTOS)-$(go env GOHOSTARCH)" "$(key "$golangci_version" "$(go env GOVERSION)")" build_golangci)/golangci-lint
export GOLANGCI_LINT_CACHE=${GOLANGCI_LINT_CACHE:-$cache/building/golangci-lint}

if [ "${1:-}" = --fix ]; then
  exec "$golangci" fmt
fi

packages=("$@")
if [ ${#packages[@]} -eq 0 ]; then
  packages=(./...)
  [ ! -d testdata/gen ] || packages+=(./testdata/gen/...) # wildcards leave testdata out
fi
failed=()
"$golangci" run "${packages[@]}" || failed+=(golangci-lint)

go run ./third_party/lint/imports || failed+=("import rules")
go run ./third_party/licences || failed+=("third-party works")

shellcheck=$(command -v shellcheck) ||
  shellcheck=$(publish shellcheck "$(dpkg --print-architecture)" "$(key "$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")")" unpack_shellcheck)/shellcheck
# SC2034: lib.sh sets variables that only those who source it use.
# SC2115: the recipes delete below directories that publish has just made, and set -u stops at an unset name.
mapfile -t files < <(scripts)
"$shellcheck" --shell=bash --severity=warning --external-sources --source-path=SCRIPTDIR --exclude=SC2034,SC2115 "${files[@]}" ||
  failed+=(shellcheck)

if [ ${#failed[@]} -gt 0 ]; then
  die "lint found something: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
fi
say "lint: nothing found"
