#!/usr/bin/env bash
# The table of gnomon's targets, with what other programs reach on the same machine: makes what gnomon is measured against
# (a bare loop in C, onnxruntime-node, Debian's OpenCV and ffmpeg, mosquitto), then runs third_party/benchtable with the
# arguments given here. What cannot be had is left out, and its rows say so. `make bench` calls it, after a build.
#
#   third_party/bench.sh [--models DIR] [--json FILE] [--strict] …     (--help lists all)
. "$(dirname "$0")/lib.sh"
# The same version as gnomon's own runtime, out of the same package, so that only what is around it differs.
version=1.29.0
integrity=WjiVVB72riILz8HbYvxvmjKyE/WmkYoSfKY++axo5jAR609HQg8MwiG/HhShpTcJfmmAdzxxmB+MMST3A+SiPA==
common_integrity=/F63/e2VJoaVXGGNu6S5QH7jivBThGO95OzAVXXQ8hTta/b1QxI8udHa6cI3+3mAb5WWIIaMMwfZw01oivjJ1g==
target=linux-$(dpkg --print-architecture)
case $target in
  linux-amd64) folder=x64 ;;
  linux-arm64) folder=arm64 ;;
  *) die "there is no ONNX Runtime for $target" ;;
esac
root=$(cd "$here/.." && pwd)

# The package's own script would download more; what is needed is inside the tarball, but for its interface package. The
# two others that it names serve that script alone.
build_node() {
  local package common log=$cache/logs/peer-node.log
  package=$(npm_package onnxruntime-node "$version" "$integrity")
  common=$(npm_package onnxruntime-common "$version" "$common_integrity")
  mkdir -p "$1/node_modules/onnxruntime-node" "$1/node_modules/onnxruntime-common"
  : >"$log"
  logged "$log" tar -xzf "$package" -C "$1/node_modules/onnxruntime-node" --strip-components=1 \
    package/package.json package/dist "package/bin/napi-v6/linux/$folder/onnxruntime_binding.node" "package/bin/napi-v6/linux/$folder/libonnxruntime.so.1"
  logged "$log" tar -xzf "$common" -C "$1/node_modules/onnxruntime-common" --strip-components=1
}

build_bare() {
  local log=$cache/logs/peer-bare.log
  : >"$log"
  logged "$log" gcc -O2 -Wall -Wextra -I"$headers" -o "$1/bare" "$here/peers/bare.c" -ldl -lpthread
}

"$here/packages.sh" bench || say "going on without them; what needs them is left out"
headers=$(cd "$root" && GOFLAGS='' go list -m -f '{{.Dir}}' github.com/yalue/onnxruntime_go)
node=$(publish peer-node "$target" "$(key "$target" "$version" "$integrity" "$common_integrity")" build_node)
bare=$(publish peer-bare "$target" "$(key "$target" "$here/peers/bare.c" "$headers/onnxruntime_c_api.h")" build_bare)
runtime=$("$here/onnxruntime.sh" "$target")
model=$("$here/model.sh")

cd "$root"
table=$(mktemp -d)
trap 'rm -rf "$table"' EXIT
GOFLAGS='' CGO_ENABLED=0 go build -o "$table/benchtable" ./third_party/benchtable
"$table/benchtable" --gnomon bin/gnomon --sample "${GNOMON_SAMPLE:?is set by .native/env-$target}" --library "$runtime/libonnxruntime.so.1" \
  --default-model "$model/nanodet-g.onnx" --default-manifest "$here/nanodet/nanodet-g.yaml" \
  --bare "$bare/bare" --peers "$here/peers" --node-modules "$node/node_modules" --models "${BENCH_MODELS:-}" "$@"
