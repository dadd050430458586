#!/bin/bash
# Builds the gateway of an earlier commit once, for an upgrade from it: earlier.sh COMMIT FOLDER TARGET TRIM
#
# FOLDER is a part of the cache: what is in it afterwards is the program, both modules and the commit's own folder deploy/.
# TARGET is this project's target folder, whose crates of others are used again. TRIM is the program filter-trim.
set -euo pipefail

[ $# = 4 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
commit=$1 folder=$2 target=$3 trim=$4
root=$(cd "$(dirname "$0")/../../.." && pwd)
[ ! -d "$folder" ] || exit 0
git -C "$root" cat-file -e "$commit^{commit}" 2>/dev/null || {
    echo "earlier.sh: this clone does not have the commit $commit, from which an upgrade is tried: git fetch --unshallow" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "Building the gateway of $commit, once: some minutes" >&2
mkdir "$work/source" "$work/made"
git -C "$root" archive "$commit" | tar -x -C "$work/source"
cd "$work/source"
# Cargo finds the crates of others compiled in this project's own target folder. Those of the commit have the names of this
# project's: another version keeps them apart.
sed -i '/^\[workspace.package\]/,/^$/s/^version = .*/version = "0.1.999"/' Cargo.toml
grep -q '^version = "0.1.999"$' Cargo.toml
cargo update --workspace --offline --quiet
export CARGO_BUILD_BUILD_DIR=$target CARGO_TARGET_DIR=$work/target
modules=$work/target/wasm32-wasip1/wasm
# The same flags as the Makefile's, for the crates of others are compiled with them already.
RUSTFLAGS="--remap-path-prefix=$root=/src --remap-path-prefix=$HOME/.cargo=/cargo" \
    cargo build --locked --quiet --profile wasm --target wasm32-wasip1 -p gateway-filter -p gateway-connections
"$trim" "$modules/filter.wasm"
"$trim" --network "$modules/connections.wasm"
# What is linked has no version in its name, and lies where this project's own would: cargo is to make that anew.
rm -rf "$target"/wasm32-wasip1/wasm/.fingerprint/gateway-{filter,connections}-*
cargo build --locked --quiet --release -p kube-oidc-gateway
rm -rf "$target"/release/.fingerprint/kube-oidc-gateway-*
cp "$modules/filter.wasm" "$modules/connections.wasm" "$work/target/release/kube-oidc-gateway" "$work/made/"
# The bills of material are made of the lock file and the sources.
cp -r "$work/source" "$work/made/source"
mkdir -p "$(dirname "$folder")"
mv "$work/made" "$folder.$$"
mv -T "$folder.$$" "$folder"
