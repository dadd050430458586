#!/bin/sh
# Writes the krew manifest for the archives that login/dist.sh made.
#
#   deploy/krew/render.sh VERSION HOMEPAGE BASE_URL DIST_FOLDER >oidc.yaml
#
# BASE_URL is where the archives will lie. Only the platforms whose archive is there are named.
set -eu

[ $# -eq 4 ] || {
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
version=$1 homepage=$2 base=${3%/} dist=$4

sed -e "s|@VERSION@|$version|" -e "s|@HOMEPAGE@|$homepage|" "$(dirname "$0")/oidc.yaml.in"
for archive in "$dist"/kubectl-oidc-*.tar.gz; do
    [ -e "$archive" ] || {
        echo "render.sh: no archive in $dist" >&2
        exit 1
    }
    name=${archive##*/}
    platform=${name#kubectl-oidc-}
    platform=${platform%.tar.gz}
    os=${platform%-*} arch=${platform#*-}
    sha256=$(sha256sum "$archive" | cut -d' ' -f1)
    program=kubectl-oidc
    [ "$os" = windows ] && program=kubectl-oidc.exe
    cat <<PLATFORM
    - selector:
        matchLabels:
          os: $os
          arch: $arch
      uri: $base/$name
      sha256: $sha256
      bin: $program
      files:
        - from: $program
          to: .
        - from: LICENSE
          to: .
PLATFORM
done
