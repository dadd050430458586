#!/bin/bash
# Makes the images that the nodes run, and saves them into one archive:
#
#   images.sh ARCHIVE COMPOSE EARLIER ENVOY GATEWAY FILTER CONNECTIONS NATIVE
#
# They are the gateway's image, as `make images` makes it, that of an earlier commit (EARLIER is a folder of earlier.sh), and one with Debian's busybox, which pods of the tests run and which
# holds a pod's namespaces. The engine that makes them is in a network namespace: this machine's network and rules stay as they are.
# An archive that was made of the same files is left as it is.
set -euo pipefail

[ $# = 8 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
archive=$1 compose=$2 earlier=$3
shift 3
root=$(cd "$(dirname "$0")/../../.." && pwd)
busybox=$(command -v busybox)
name=kube-oidc-gateway-sandbox-busybox:local

made=$(cat "$0" "$root/sandbox/compose/build-images" "$root"/deploy/image/* "$busybox" "$earlier"/*.wasm "$earlier/kube-oidc-gateway" "$@" | sha256sum)
[ "$(cat "$archive.inputs" 2>/dev/null)" != "$made" ] || exit 0
rm -f "$archive" "$archive.inputs"
mkdir -p "$(dirname "$archive")"

make_images() {
    "$root/sandbox/compose/build-images" --gateway "$@"
    SOURCE=$earlier/source TAG=earlier "$root/sandbox/compose/build-images" --gateway "$1" \
        "$earlier/kube-oidc-gateway" "$earlier/filter.wasm" "$earlier/connections.wasm"
    local tree
    tree=$(mktemp -d)
    mkdir "$tree/bin"
    cp "$busybox" "$tree/bin/busybox"
    tar -C "$tree" -c . | docker import -c 'ENV PATH=/bin' -c 'CMD ["busybox", "sleep", "2147483647"]' - "$name" >/dev/null
    rm -r "$tree"
    docker save -o "$archive" kube-oidc-gateway:local kube-oidc-gateway:earlier "$name"
}
export -f make_images
export root busybox name archive earlier
# There is no way out of that network.
"$root/sandbox/compose/build-images" --debian
ENGINE=own unshare --mount --net "$root/sandbox/compose/with-engine" "$compose" bash -euo pipefail -c 'make_images "$@"' make-images "$@"
echo "$made" >"$archive.inputs"
