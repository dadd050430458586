#!/bin/sh
# Installs what the tests with Keycloak and a browser need: Keycloak from Maven, built into FOLDER once, and Debian's
# packages for the rest.
#
#   tests/tests/keycloak/install.sh VERSION SHA256 FOLDER
set -eu

version=$1 sha256=$2 folder=$3

"$(dirname "$0")/../../install-tools.sh" openssl java=default-jre-headless chromium chromedriver=chromium-driver
[ ! -x "$folder/bin/kc.sh" ] || exit 0
"$(dirname "$0")/../../install-tools.sh" mvn=maven
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
