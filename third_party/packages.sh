#!/usr/bin/env bash
# System packages that the recipes and the tests need. Installs what is missing when it may (root, or sudo that
# asks nothing); otherwise prints the one command to run and stops. Arguments: build (default), test, interop; each of
# them includes those before it. bench is build and what gnomon is measured against.
. "$(dirname "$0")/lib.sh"

# command or file that proves it | Debian package
build_needs='gcc gcc
g++ g++
make make
cmake cmake
ninja ninja-build
nasm nasm
pkg-config pkg-config
xz xz-utils
zstd zstd
curl curl
openssl openssl
flock util-linux
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
@libjpeg.a libjpeg-dev
@libpng.a libpng-dev
@libz.a zlib1g-dev'
test_needs='mosquitto mosquitto
mosquitto_sub mosquitto-clients
file file
objdump binutils
shellcheck shellcheck
promtool prometheus
ffmpeg ffmpeg
ip iproute2
gst-launch-1.0 gstreamer1.0-tools
/usr/lib/*/gstreamer-1.0/libgstvideotestsrc.so gstreamer1.0-plugins-base
/usr/lib/*/gstreamer-1.0/libgsty4menc.so gstreamer1.0-plugins-good
/usr/lib/*/gstreamer-1.0/libgstx264.so gstreamer1.0-plugins-ugly
/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib gir1.2-gst-rtsp-server-1.0
/usr/lib/python3/dist-packages/gi python3-gi'
# A machine of that architecture compiles and runs it as its own.
[ "$(uname -m)" = aarch64 ] || test_needs+='
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
/usr/aarch64-linux-gnu/include/stdlib.h libc6-dev-arm64-cross
qemu-aarch64 qemu-user'
# A version that the machine has already is as good: the tests are for versions 1 and 2.
interop_needs='aws awscli'
# python3-opencv works with Debian's own Python only, whatever else is called python3.
bench_needs='mosquitto mosquitto
ffmpeg ffmpeg
/usr/lib/python3/dist-packages/cv2* python3-opencv
node nodejs'

present() {
  case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    @*) [ -e "$(gcc -print-file-name="${1#@}" 2>/dev/null)" ] && case "$(gcc -print-file-name="${1#@}")" in /*) ;; *) false ;; esac ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
  esac
}

missing=()
while read -r proof package; do
  present "$proof" || missing+=("$package")
done < <(
  printf '%s\n' "$build_needs"
  case ${1:-build} in test | interop) printf '%s\n' "$test_needs" ;; esac
  case ${1:-build} in interop) printf '%s\n' "$interop_needs" ;; esac
  case ${1:-build} in bench) printf '%s\n' "$bench_needs" ;; esac
)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  die "please install these packages (named as Debian names them) and try again: ${missing[*]}"
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo=(sudo -n)
  else
    die "system packages are missing; run this, then try again:
  sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
fi
say "installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
exec 8>"$cache/locks/apt" # two first builds at once; other programs' locks are waited for by apt itself
flock 8
install=(apt-get install -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}")
# The lists of a fresh machine may be missing or stale: update only if the first try fails.
"${sudo[@]}" "${install[@]}" >"$cache/logs/apt.log" 2>&1 || {
  "${sudo[@]}" apt-get update -qq >>"$cache/logs/apt.log" 2>&1 || true
  "${sudo[@]}" "${install[@]}" >>"$cache/logs/apt.log" 2>&1 || {
    tail -n 5 "$cache/logs/apt.log" >&2
    die "apt-get could not install: ${missing[*]}"
  }
}
