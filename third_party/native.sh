#!/usr/bin/env bash
# Makes every native part for a target (default: this machine), puts the embedded ones into the source tree
# (third_party/embedded/parts, ignored by git) and writes .native/env-TARGET, a shell file with the flags that
# the Go tool needs. Quick when everything is in the cache.
. "$(dirname "$0")/lib.sh"
target=${1:-linux-$(dpkg --print-architecture)}
root=$(cd "$here/.." && pwd)
[ "$target" = "linux-$(dpkg --print-architecture)" ] ||
  die "cannot build for $target here yet: only the recipes for ONNX Runtime and the model serve other targets"
"$here/packages.sh" build
if ! compgen -G "$cache/parts/opencv-$target-*" >/dev/null; then
  say "first build: about 20 minutes on 2 cores (FFmpeg 3, OpenCV 15, ONNX Runtime and the default model 1 each)"
fi

ffmpeg=$("$here/ffmpeg.sh" "$target") # first, so that its progress is not inside OpenCV's
opencv=$("$here/opencv.sh" "$target")
onnxruntime=$("$here/onnxruntime.sh" "$target")
model=$("$here/model.sh")

# place FROM TO: copies only what differs, so that the Go build cache stays warm.
place() {
  mkdir -p "$(dirname "$2")"
  cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}
parts=$here/embedded/parts
place "$onnxruntime/libonnxruntime.so.zst" "$parts/${target/-/_}/libonnxruntime.so.zst"
place "$model/nanodet-g.onnx.zst" "$parts/common/nanodet-g.onnx.zst"
place "$here/nanodet/nanodet-g.yaml" "$parts/common/nanodet-g.yaml"

# Static archives in one group: OpenCV's modules and FFmpeg's libraries refer to each other. The C++ runtime and
# the picture libraries are linked in as well; only libc and its parts stay dynamic.
libs=$(find "$opencv/lib" -name '*.a' | sort | tr '\n' ' ')
libs+=$(printf "$ffmpeg/lib/lib%s.a " avformat avcodec swscale swresample avutil)
mkdir -p "$root/.native"
cat >"$root/.native/env-$target.new" <<ENV
# Written by third_party/native.sh; read by the Makefile. To use it by hand: . .native/env-$target
export CGO_ENABLED=1
export CGO_CFLAGS="-O2 -g"
export CGO_CXXFLAGS="-O2 -g --std=c++11"
export CGO_CPPFLAGS="-I$opencv/include/opencv4"
export CGO_LDFLAGS="-O2 -g -Wl,--start-group $libs -l:libjpeg.a -l:libpng.a -l:libz.a -Wl,--end-group -static-libgcc -static-libstdc++ -lm -ldl -lpthread -lrt"
export GNOMON_SAMPLE="$opencv/samples/vtest.avi"
export GOFLAGS="-tags=customenv,opencv \${GOFLAGS:-}"
ENV
cmp -s "$root/.native/env-$target.new" "$root/.native/env-$target" || cp "$root/.native/env-$target.new" "$root/.native/env-$target"
rm "$root/.native/env-$target.new"
printf '%s\n' "$root/.native/env-$target"
