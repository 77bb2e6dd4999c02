#!/usr/bin/env bash
# ONNX Runtime: Microsoft's own builds as they come in the npm package onnxruntime-node, whose install script is
# never run. x64 carries the CUDA and TensorRT bridges, arm64 is CPU only. Prints the directory.
. "$(dirname "$0")/lib.sh"
version=1.29.0
integrity=WjiVVB72riILz8HbYvxvmjKyE/WmkYoSfKY++axo5jAR609HQg8MwiG/HhShpTcJfmmAdzxxmB+MMST3A+SiPA==
target=${1:-linux-$(dpkg --print-architecture)}
case $target in
  linux-amd64) folder=x64 ;;
  linux-arm64) folder=arm64 ;;
  *) die "ONNX Runtime: no build for $target; there are linux-amd64 and linux-arm64" ;;
esac

build() {
  local out=$1 package log=$cache/logs/onnxruntime-$target.log
  say "ONNX Runtime $version for $target: about a minute (107 MB from the npm registry)"
  package=$(npm_package onnxruntime-node "$version" "$integrity")
  : >"$log"
  cd "$out"
  logged "$log" tar -xzf "$package" --strip-components=5 "package/bin/napi-v6/linux/$folder/libonnxruntime.so.1"
  if [ "$target" = linux-amd64 ]; then # 1.2 MB less in the binary; unpacked again by third_party/embedded
    (cd "$here/.." && GOFLAGS='' CGO_ENABLED=0 GOOS='' GOARCH='' go run ./third_party/embedded/pack) <libonnxruntime.so.1 >packed.so 2>>"$log"
  else
    ln libonnxruntime.so.1 packed.so
  fi
  # A window of 16 MB costs 30 KB and spares 48 MB of memory while it is unpacked.
  logged "$log" zstd --ultra -22 --zstd=wlog=24 -T0 --quiet packed.so -o libonnxruntime.so.zst
  rm packed.so
}

publish onnxruntime "$target" "$(key "$target" "$0" "$here"/embedded/branches/branches.go "$here"/embedded/pack/main.go)" build
