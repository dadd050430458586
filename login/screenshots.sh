#!/bin/sh
# Takes the pictures of the built-in pages for docs/login.md, in both colour schemes, with a headless Chromium.
set -eu

cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cargo run -q -p kubectl-oidc --example pages -- "$folder"
mkdir -p docs/login
for page in ok fail; do
    for scheme in dark light; do
        # Chromium's own numbering: 0 is dark, 1 is light.
        number=0
        [ "$scheme" = light ] && number=1
        "${CHROMIUM:-chromium}" --headless=new --no-sandbox --disable-gpu --hide-scrollbars \
            --user-data-dir="$folder/profile" --window-size=760,520 --blink-settings=preferredColorScheme=$number \
            --screenshot="docs/login/$page-$scheme.png" "file://$folder/$page.html" >/dev/null 2>&1
    done
done
