#!/bin/sh
# Builds kubectl-oidc for a release: static binaries for Linux, each in an archive with license, man page and completions.
#
#   login/dist.sh OUT_FOLDER [TARGET...]
#
# Needs a C compiler for each target (Debian: musl-tools, gcc-aarch64-linux-gnu) and, for what this machine cannot run, QEMU
# (qemu-user-static); the Rust targets are added if rustup is there.
set -eu

out=$1
shift
[ $# -gt 0 ] || set -- x86_64-unknown-linux-musl aarch64-unknown-linux-musl

cd "$(dirname "$0")/.."
target_dir=${CARGO_TARGET_DIR:-target}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Small, in one unit and linked as a whole: kubectl loads it for every command. Unwinding stays: a panic over one connection
# to the listener must not end the login.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
export CC_x86_64_unknown_linux_musl=${CC_x86_64_unknown_linux_musl:-musl-gcc}
export CC_aarch64_unknown_linux_musl=${CC_aarch64_unknown_linux_musl:-aarch64-linux-gnu-gcc}
# Where the sources and crates lie is no part of a program.
export RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export CFLAGS="-ffile-prefix-map=$PWD=/src -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
# Rust brings musl along and its linker; only the compiler for assembly and C comes from outside.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld

limit=$((10 * 1024 * 1024))
for target; do
    if command -v rustup >/dev/null; then
        rustup target add "$target" >&2
    fi
    echo "building for $target" >&2
    cargo build --locked -p kubectl-oidc --release --target "$target"
    binary=$target_dir/$target/release/kubectl-oidc
    size=$(wc -c <"$binary")
    if [ "$size" -gt "$limit" ]; then
        echo "dist: $binary has $size bytes, more than $limit" >&2
        exit 1
    fi
    if readelf -lW "$binary" | grep -q INTERP; then
        echo "dist: $binary is not static" >&2
        exit 1
    fi
    case $target in
        x86_64-*) arch=amd64 ;;
        aarch64-*) arch=arm64 ;;
        *) arch=${target%%-*} ;;
    esac
    folder=$(mktemp -d)
    cp "$binary" LICENSE "$folder"
    cp login/kubectl_complete-oidc "$folder"
    # Each writes its own texts, and so is seen to run; what this machine cannot run, QEMU does.
    emulator=
    [ "$(uname -m)" = "${target%%-*}" ] || emulator=qemu-${target%%-*}-static
    $emulator "$binary" man >"$folder/kubectl-oidc.1"
    for shell in bash zsh fish; do
        $emulator "$binary" completion "$shell" >"$folder/completion.$shell"
    done
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$folder" -c . |
        gzip -n >"$out/kubectl-oidc-linux-$arch.tar.gz"
    rm -r "$folder"
    echo "$out/kubectl-oidc-linux-$arch.tar.gz ($size bytes unpacked)" >&2
done
(cd "$out" && sha256sum kubectl-oidc-*.tar.gz >SHA256SUMS)
