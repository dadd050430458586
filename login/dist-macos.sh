#!/bin/sh
# Builds kubectl-oidc for macOS on both processors, on a Mac, each in an archive as login/dist.sh makes them for Linux:
#
#   login/dist-macos.sh OUT_FOLDER
set -eu

[ $# -eq 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ "$(uname -s)" = Darwin ] || { echo "dist-macos.sh: only a Mac links for macOS (make link-macos tries it elsewhere)" >&2; exit 1; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
export CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
for machine in arm64=aarch64 amd64=x86_64; do
    target=${machine#*=}-apple-darwin
    rustup target add "$target" >&2
    cargo build --locked -p kubectl-oidc --release --target "$target"
    folder=$(mktemp -d)
    cp "${CARGO_TARGET_DIR:-target}/$target/release/kubectl-oidc" LICENSE login/kubectl_complete-oidc "$folder"
    # Rosetta runs the other processor's.
    "$folder/kubectl-oidc" man >"$folder/kubectl-oidc.1"
    for shell in bash zsh fish; do
        "$folder/kubectl-oidc" completion "$shell" >"$folder/completion.$shell"
    done
    (cd "$folder" && find . -exec touch -t 197001010000 {} + && find . -type f | sort | tar -c --uid 0 --gid 0 -T - -f -) |
        gzip -n >"$out/kubectl-oidc-darwin-${machine%%=*}.tar.gz"
    rm -r "$folder"
done
