#!/bin/sh
# Installs programs that are not on the path from Debian's packages, as root; else says what is missing, and fails.
#
#   tests/install-tools.sh PROGRAM[=PACKAGES]...
set -eu

missing=
for tool; do
    command -v "${tool%%=*}" >/dev/null || missing="$missing ${tool#*=}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing, by the names of Debian's packages:$missing; install them with your package manager" >&2
    exit 1
fi
echo "Installing$missing" >&2
apt-get update -qq
# shellcheck disable=SC2086 # several names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
