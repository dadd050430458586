#!/bin/sh
# Runs a program for Windows under wine, as cargo's runner: login/wine.sh PROGRAM [ARGUMENT...]
#
# Rust's standard library takes random numbers from bcryptprimitives.dll, which wine 8 does not have; one of ours lies beside the program.
set -eu

program=$1
folder=$(dirname "$program")
tools=$(cd "$(dirname "$0")/.." && pwd)/${CARGO_TARGET_DIR:-target}/wine
mkdir -p "$tools"
dll=$tools/bcryptprimitives.dll
if [ ! -f "$dll" ]; then
    cat >"$tools/random.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
C
    x86_64-w64-mingw32-gcc -shared -O2 -o "$dll" "$tools/random.c" -ladvapi32
fi
# The programs that a test starts lie in the folder above its own.
for place in "$folder" "$folder/.."; do
    cp -u "$dll" "$place/"
done
export WINEPREFIX="$tools/prefix" WINEDEBUG="${WINEDEBUG:--all}" WINEDLLOVERRIDES="mscoree,mshtml="
exec wine "$@"
