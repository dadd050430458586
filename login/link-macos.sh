#!/bin/sh
# Links kubectl-oidc for macOS, on any Linux: what its compiler, its linker and its libraries want of one another fits. It proves
# nothing of what the program does there; .github/workflows/login.yaml is for that.
#
#   login/link-macos.sh ZIG [TARGET...]
#
# ZIG is the command of a Zig compiler, which brings a C compiler, a linker and libSystem. Apple's frameworks are stubs that name what
# the program takes of them (login/macos): a name that is not there fails the link.
set -eu

zig=$1
shift
[ $# -gt 0 ] || set -- aarch64-apple-darwin x86_64-apple-darwin

cd "$(dirname "$0")/.."
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$target_dir/macos
mkdir -p "$tools"
stubs=$PWD/login/macos

for target; do
    if command -v rustup >/dev/null; then
        rustup target add "$target" >&2
    fi
    machine=${target%%-*}
    # Rust and its build scripts name the target in Apple's words, which Zig does not know.
    cat >"$tools/$machine-cc" <<CC
#!/bin/bash
given=("\$@") taken=()
for ((i = 0; i < \${#given[@]}; i++)); do
    case \${given[i]} in
        -arch | -isysroot | -target) ((++i)) ;;
        --target=* | -mmacosx-version-min=* | -mmacos-version-min=*) ;;
        *) taken+=("\${given[i]}") ;;
    esac
done
exec $zig cc -target $machine-macos.11.0 -F"$stubs" -L"$stubs" "\${taken[@]}"
CC
    printf '#!/bin/sh\nexec %s ar "$@"\n' "$zig" >"$tools/ar"
    chmod +x "$tools/$machine-cc" "$tools/ar"
    name=$(echo "$target" | tr - _)
    upper=$(echo "$name" | tr '[:lower:]' '[:upper:]')
    echo "linking for $target" >&2
    env "CC_$name=$tools/$machine-cc" "AR_$name=$tools/ar" "CARGO_TARGET_${upper}_LINKER=$tools/$machine-cc" SDKROOT="$stubs" \
        CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0 cargo build --locked -p kubectl-oidc --target "$target"
    program=$target_dir/$target/debug/kubectl-oidc
    # Mach-O, 64 bit, little-endian: it is a program for that system.
    if [ "$(od -An -tx4 -N4 "$program" | tr -d ' ')" != feedfacf ]; then
        echo "link-macos: $program is no program for macOS" >&2
        exit 1
    fi
done
