#!/bin/bash
# Builds what a release brings as programs, each for its machine, into a folder: programs.sh FOLDER [PLATFORM...]
#
#   FOLDER/linux-amd64/kube-oidc-gateway, libkube_oidc_gateway.so   and linux-arm64: linked with glibc, as the image has it
#   FOLDER/windows-amd64/kubectl-oidc.exe
#
# The archives of kubectl-oidc for Linux come from login/dist.sh. Needs Debian's gcc-aarch64-linux-gnu and libc6-dev-arm64-cross for arm64,
# gcc-mingw-w64-x86-64 for Windows.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder=$1
shift
[ $# -gt 0 ] || set -- linux-amd64 linux-arm64 windows-amd64
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
# Where the sources and crates lie is not part of a program: panics name them, and assertions of C code do. Symbols are stripped, so that is all
# that depends on the folder.
export RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export CFLAGS="-ffile-prefix-map=$PWD=/src -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc

for platform; do
    linking=
    case $platform in
    linux-amd64) triple=x86_64-unknown-linux-gnu program=kube-oidc-gateway ;;
    linux-arm64) triple=aarch64-unknown-linux-gnu program=kube-oidc-gateway ;;
    # Its linker would write the time of day into the program.
    windows-amd64) triple=x86_64-pc-windows-gnu program=kubectl-oidc linking=' -Clink-arg=-Wl,--no-insert-timestamp' ;;
    *) echo "programs.sh: no platform $platform: linux-amd64, linux-arm64 and windows-amd64 are there" >&2; exit 2 ;;
    esac
    echo "building $program for $platform" >&2
    rustup target add "$triple" >&2
    RUSTFLAGS="$RUSTFLAGS$linking" cargo build --locked --release -p "$program" --target "$triple"
    [ "$program" = kube-oidc-gateway ] || program=$program.exe
    install -D -m 0755 "$target/$triple/release/$program" "$folder/$platform/$program"
    [ "$program" = kube-oidc-gateway ] || continue
    cargo build --locked --profile native -p gateway-native-module --target "$triple"
    install -m 0644 "$target/$triple/native/libkube_oidc_gateway.so" "$folder/$platform/"
done
