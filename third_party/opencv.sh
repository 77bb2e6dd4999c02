#!/usr/bin/env bash
# OpenCV, static, with the modules that gocv binds, reading video through the FFmpeg of ffmpeg.sh. Prints the
# directory.
. "$(dirname "$0")/lib.sh"
version=4.10.0
upstream_sha256=b2171af5be6b26f7a06b1229948bbb2bdaa74fcf5cd097e0af6378fce50a6eb9
debian_sha256=4ca619efbad524c550771ab110332fc81293fb720bd03980fe58bc15f9ca3be8
target=${1:-linux-$(dpkg --print-architecture)}
ffmpeg=$("$here/ffmpeg.sh" "$target")

fetch() {
  upstream "opencv-$version.tar.gz" "$upstream_sha256" "https://github.com/opencv/opencv/archive/refs/tags/$version.tar.gz" ||
    debian_source opencv "$version+dfsg-5" trixie "opencv_$version+dfsg.orig.tar.xz" "$debian_sha256" ||
    die "OpenCV $version could be fetched neither from its own site nor as Debian's source package"
}

build() {
  local out=$1 final=$2 source work log=$cache/logs/opencv-$target.log
  say "OpenCV $version for $target: about 15 minutes on 2 cores (log: $log)"
  source=$(fetch)
  work=$(dirname "$out")/src
  mkdir -p "$work/build"
  tar -xf "$source" -C "$work" --strip-components=1
  : >"$log"
  cd "$work/build"
  # The baseline is what every 64-bit PC of the last fifteen years has; AVX2 code is chosen at run time.
  local cpu=(-DCPU_BASELINE=SSE4_2 -DCPU_DISPATCH=AVX2)
  if [ "$target" = linux-arm64 ]; then
    cpu=()
    if [ "$(dpkg --print-architecture)" != arm64 ]; then
      cpu=(-DCMAKE_TOOLCHAIN_FILE="$work/platforms/linux/aarch64-gnu.toolchain.cmake" -DCMAKE_LIBRARY_ARCHITECTURE=aarch64-linux-gnu)
    fi
  fi
  local off=()
  for feature in 1394 ADE ARAVIS AVIF CUDA EIGEN FLATBUFFERS GPHOTO2 GSTREAMER GTK HALIDE IMGCODEC_HDR \
    IMGCODEC_PFM IMGCODEC_PXM IMGCODEC_SUNRASTER INF_ENGINE IPP ITT JASPER LAPACK OBSENSOR ONNX OPENCL OPENCLAMDBLAS \
    OPENCLAMDFFT OPENEXR OPENGL OPENJPEG OPENMP OPENNI OPENNI2 OPENVX PROTOBUF QT QUIRC TBB TIFF UEYE VA VA_INTEL VTK \
    VULKAN WEBP XIMEA XINE; do
    off+=("-DWITH_$feature=OFF")
  done
  PKG_CONFIG_PATH=$ffmpeg/lib/pkgconfig logged "$log" cmake -G Ninja .. "${cpu[@]}" "${off[@]}" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$final" -DBUILD_SHARED_LIBS=OFF \
    -DBUILD_LIST=core,imgproc,imgcodecs,videoio,highgui,calib3d,features2d,flann,objdetect,dnn,photo,video \
    -DBUILD_TESTS=OFF -DBUILD_PERF_TESTS=OFF -DBUILD_EXAMPLES=OFF -DBUILD_DOCS=OFF -DBUILD_opencv_apps=OFF \
    -DBUILD_JAVA=OFF -DBUILD_opencv_python2=OFF -DBUILD_opencv_python3=OFF -DBUILD_PROTOBUF=OFF -DBUILD_ITT=OFF \
    -DBUILD_JPEG=OFF -DBUILD_PNG=OFF -DBUILD_ZLIB=OFF -DWITH_JPEG=ON -DWITH_PNG=ON -DWITH_V4L=ON \
    -DWITH_FFMPEG=ON -DOPENCV_FFMPEG_SKIP_BUILD_CHECK=ON -DOPENCV_GENERATE_PKGCONFIG=ON -DENABLE_PRECOMPILED_HEADERS=OFF
  grep -q 'FFMPEG: *YES' "$log" || die "OpenCV's configuration did not take our FFmpeg (log: $log)"
  ninja -j"$jobs" 2>&1 | watch_steps "$log.ninja" 15
  DESTDIR=$work/dest logged "$log" ninja install
  cp -a "$work/dest$final/." "$out/"
  rm -rf "$out/bin" "$out/share/opencv4"/{haarcascades,lbpcascades,quality} "$out/share/opencv4"/*.supp
  mkdir -p "$out/samples"
  cp "$work/samples/data/vtest.avi" "$out/samples/"
  [ -f "$work/LICENSE" ] && cp "$work/LICENSE" "$out/"
  ls "$out/lib" >"$out/archives.txt"
}

publish opencv "$target" "$(key "$target" "$0" "$(basename "$ffmpeg")")" build
