#!/bin/sh
# Type-checks kubectl-oidc for the systems it cannot be linked for here.
#
# Some dependencies compile C in their build scripts. Nothing is linked by a check, so a compiler that writes empty
# objects is enough, and no SDK of those systems is needed.
set -eu

cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -r "$tools"' EXIT
cat >"$tools/cc" <<'CC'
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -o) : >"$2" ;;
        -o*) : >"${1#-o}" ;;
    esac
    shift
done
CC
printf '#!/bin/sh\nexit 0\n' >"$tools/ar"
chmod +x "$tools/cc" "$tools/ar"

for target in aarch64-apple-darwin x86_64-apple-darwin x86_64-pc-windows-gnu; do
    if command -v rustup >/dev/null; then
        rustup target add "$target" >&2
    fi
    name=$(echo "$target" | tr - _)
    echo "checking for $target" >&2
    env "CC_$name=$tools/cc" "AR_$name=$tools/ar" SDKROOT="$tools" \
        cargo check --locked -p kubectl-oidc --target "$target"
done
