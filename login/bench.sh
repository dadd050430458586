#!/bin/sh
# What a kubectl command waits for when the token is there, from a file and from a keyring (GNOME's, on a bus of its own).
#
#   login/bench.sh KUBECTL_OIDC OIDC_PROVIDER
#
# Fails if the keyring's path takes more than 15 ms beyond the keyring's own answer (the smallest of all runs, so that a busy
# machine measures the program and not itself).
#
# Needs hyperfine, dbus-run-session, gnome-keyring-daemon and, for what the keyring itself takes, secret-tool.
set -eu

program=$(realpath "$1") provider=$(realpath "$2")
home=$(mktemp -d)
cd "$home"
"$provider" --preset kubernetes-sandbox --ca-file ca.pem >provider.json &
pid=$!
trap 'kill $pid; rm -rf "$home"' EXIT
until [ -s provider.json ]; do sleep 0.1; done
issuer=$(sed 's/.*"url":"\([^"]*\)".*/\1/' provider.json)

cat >inner.sh <<INNER
printf login | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
get_token="$program get-token --oidc-issuer-url=$issuer --oidc-client-id=kubernetes-sandbox \
    --certificate-authority=$home/ca.pem --username=k8s-user1 --password=k8s-user1-password"
until \$get_token --token-store=keyring >/dev/null 2>&1; do sleep 0.1; done
\$get_token --token-store=file >/dev/null
hyperfine -N --warmup 5 --runs 100 --export-csv figures.csv \
    -n 'start alone (--version)' '$program --version' \
    -n 'get-token from a file' "\$get_token --token-store=file" \
    -n 'get-token from the keyring' "\$get_token --token-store=keyring" \
    -n 'secret-tool lookup' 'secret-tool lookup service kubectl-oidc'
INNER
HOME=$home XDG_RUNTIME_DIR=$home dbus-run-session -- sh inner.sh

# command, mean, stddev, median, user, system, min, max; in seconds
awk -F , '
    /^get-token from the keyring/ { ours = $7 }
    /^secret-tool lookup/ { its = $7 }
    END {
        beyond = (ours - its) * 1000
        printf "%.1f ms beyond the keyring'"'"'s own answer, 15 are allowed\n", beyond
        exit !(ours > 0 && its > 0 && beyond <= 15)
    }' figures.csv
