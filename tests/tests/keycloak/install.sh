#!/bin/sh
# Installs what the tests with Keycloak and a browser need: Keycloak from Maven, built into FOLDER once, and Debian's
# packages for the rest.
#
#   tests/tests/keycloak/install.sh VERSION SHA256 FOLDER
set -eu

version=$1 sha256=$2 folder=$3

missing=
command -v java >/dev/null || missing="$missing default-jre-headless"
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$missing chromium"
command -v chromedriver >/dev/null || missing="$missing chromium-driver"
[ -x "$folder/bin/kc.sh" ] || command -v mvn >/dev/null || missing="$missing maven"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "The tests with Keycloak need, by Debian's names:$missing; install them with your package manager" >&2
        exit 1
    fi
    echo "Installing$missing" >&2
    apt-get update -qq
    # shellcheck disable=SC2086 # several names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
fi

[ ! -x "$folder/bin/kc.sh" ] || exit 0
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Fetching Keycloak $version (176 MB)" >&2
mvn -B -ntp -q dependency:copy -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:tar.gz" \
    -DoutputDirectory="$work" >&2
echo "$sha256  $work/keycloak-quarkus-dist-$version.tar.gz" | sha256sum --check --quiet >&2
tar -C "$work" -xzf "$work/keycloak-quarkus-dist-$version.tar.gz"
echo "Building Keycloak's own configuration (half a minute)" >&2
"$work/keycloak-$version/bin/kc.sh" build --db=dev-mem --http-relative-path=/auth >&2
# Another run may have been quicker.
mv -T "$work/keycloak-$version" "$folder" 2>/dev/null || [ -x "$folder/bin/kc.sh" ]
