#!/usr/bin/env bash
# FFmpeg, static and without any external library but zlib: what OpenCV's videoio needs to read files and RTSP
# and to write annotated video. LGPL-2.1-or-later: no --enable-gpl, no --enable-nonfree. Prints the directory.
. "$(dirname "$0")/lib.sh"
version=7.1.5
sha256=de668509caf9e35e3cd162473441fdb29538c6d96ed080292b3cf9e6fc5d558f
target=${1:-linux-$(dpkg --print-architecture)}

demuxers=aac,asf,avi,dv,flac,flv,gif,h261,h263,h264,hevc,hls,image2,image2pipe,ivf,m4v,matroska,mjpeg,mov,mp3,mpegps,mpegts,mpegtsraw,mpegvideo,mpjpeg,mxf,nut,obu,ogg,rawvideo,rm,rtp,rtsp,sdp,swf,vc1,wav,yuv4mpegpipe
decoders=ansi,asv1,asv2,bmp,cinepak,dirac,dnxhd,dvvideo,ffv1,ffvhuff,flashsv,flashsv2,flv,gif,h261,h263,h263i,h263p,h264,hevc,huffyuv,indeo2,indeo3,indeo4,indeo5,jpeg2000,jpegls,lagarith,magicyuv,mjpeg,mjpegb,mpeg1video,mpeg2video,mpeg4,mpegvideo,msmpeg4v1,msmpeg4v2,msmpeg4v3,msvideo1,pbm,pgm,png,ppm,prores,qtrle,rawvideo,rv10,rv20,rv30,rv40,snow,sp5x,svq1,svq3,theora,tiff,utvideo,vc1,vc1image,vp3,vp5,vp6,vp6a,vp6f,vp7,vp8,vp9,webp,wmv1,wmv2,wmv3,yuv4
parsers=aac,av1,bmp,dirac,dnxhd,dvbsub,flac,gif,h261,h263,h264,hevc,jpeg2000,mjpeg,mpeg4video,mpegaudio,mpegvideo,png,rv34,vc1,vp3,vp8,vp9,webp
protocols=crypto,data,file,ftp,hls,http,httpproxy,pipe,rtmp,rtmpt,rtp,srtp,tcp,udp,unix
muxers=avi,image2,matroska,mjpeg,mov,mp4,mpegts,null,rtp,rtsp
encoders=ffv1,huffyuv,mjpeg,mpeg4,png,rawvideo
bsfs=aac_adtstoasc,av1_frame_merge,dump_extradata,extract_extradata,h264_mp4toannexb,hevc_mp4toannexb,mjpeg2jpeg,mpeg4_unpack_bframes,null,setts,vp9_superframe,vp9_superframe_split

build() {
  local out=$1 final=$2 source work log=$cache/logs/ffmpeg-$target.log
  say "FFmpeg $version for $target: about 3 minutes on 2 cores (log: $log)"
  source=$(upstream "ffmpeg-$version.tar.xz" "$sha256" "https://ffmpeg.org/releases/ffmpeg-$version.tar.xz") ||
    source=$(debian_source ffmpeg "7:$version-0+deb13u1" trixie "ffmpeg_$version.orig.tar.xz" "$sha256") ||
    die "FFmpeg $version could be fetched neither from its own site nor as Debian's source package"
  work=$(dirname "$out")/src
  mkdir "$work"
  tar -xf "$source" -C "$work" --strip-components=1
  : >"$log"
  cd "$work"
  local cross=()
  if [ "$target" = linux-arm64 ] && [ "$(dpkg --print-architecture)" != arm64 ]; then
    cross=(--enable-cross-compile --arch=aarch64 --target-os=linux --cross-prefix=aarch64-linux-gnu-)
  fi
  logged "$log" ./configure --prefix="$final" "${cross[@]}" \
    --enable-static --disable-shared --enable-pic --disable-autodetect --disable-everything \
    --disable-programs --disable-doc --disable-avdevice --disable-avfilter --disable-postproc --disable-debug \
    --enable-network --enable-zlib --enable-swscale --enable-swresample \
    --enable-demuxer="$demuxers" --enable-decoder="$decoders" --enable-parser="$parsers" \
    --enable-protocol="$protocols" --enable-muxer="$muxers" --enable-encoder="$encoders" --enable-bsf="$bsfs"
  # FFmpeg has no counter of its own: one line a compiled file, out of those that its makefiles would build.
  local total
  total=$(make -n 2>/dev/null | grep -cE '^(printf|echo) "(CC|X86ASM|AS)' || true)
  make -j"$jobs" 2>&1 | awk -v total="${total:-0}" '/^(CC|X86ASM|AS)\t/ { n++; if (total >= n) printf("[%d/%d] ", n, total) } { print; fflush() }' |
    watch_steps "$log.make" 3
  logged "$log" make install DESTDIR="$work/dest"
  cp -a "$work/dest$final/." "$out/"
  rm -rf "$out/share"
  cp COPYING.LGPLv2.1 LICENSE.md "$out/"
}

publish ffmpeg "$target" "$(key "$target" "$0")" build
