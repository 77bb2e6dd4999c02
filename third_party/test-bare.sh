#!/usr/bin/env bash
# A bare clone with nothing but the Go tool: everything compiles and is vetted, and the binary says what is missing
# and how to get it.
set -euo pipefail
cd "$(dirname "$0")/.."
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git ls-files -z | xargs -0 cp --parents --target-directory "$clone"
cd "$clone"
export GOFLAGS=-buildvcs=false CGO_CPPFLAGS='' CGO_LDFLAGS=''
go build ./...
go vet ./...
go build -o gnomon .
says() { # WANT ARGS...: the command fails and says WANT
  local want=$1 said
  shift
  if said=$(./gnomon "$@" 2>&1); then
    echo "gnomon $* succeeded in a bare clone" >&2
    exit 1
  fi
  case $said in
    *"$want"*) ;;
    *)
      printf 'gnomon %s in a bare clone says\n  %s\nand not\n  %s\n' "$*" "$said" "$want" >&2
      exit 1
      ;;
  esac
}
says 'ONNX Runtime is not inside this build: build with `make build`' version
says 'the default model is not inside this build: build with `make build`' models inspect default
says 'this binary was built without OpenCV and can read no pictures; build it with `make build`' detect --model testdata/models/yolov8.onnx testdata/pictures/wide_256x128.png
says 'this binary was built without OpenCV' run
echo "bare clone: compiles and says what is missing"
