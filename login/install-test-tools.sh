#!/bin/sh
# Installs what the tests of the keyring run: a D-Bus and GNOME's Secret Service, from Debian's packages.
set -eu

missing=
command -v dbus-daemon >/dev/null || missing="$missing dbus-daemon"
command -v gnome-keyring-daemon >/dev/null || missing="$missing gnome-keyring"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "install-test-tools: not a Debian system; install$missing yourself" >&2
    exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
# shellcheck disable=SC2086 # several names
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
