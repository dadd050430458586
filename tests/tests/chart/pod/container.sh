#!/bin/bash
# Becomes the process of a container: container.sh ROOT MOUNTS USER GROUP FSGROUP [NAME=VALUE...] PROGRAM [ARGUMENT...]
#
# To be run as root in a mount namespace of its own. ROOT is an empty folder. MOUNTS is a file with a line `MODE SOURCE TARGET`
# for each mount, outer ones first; MODE is rw, ro or empty (a new folder, for what stands below it). The root is read-only,
# the process has no capability and no way to get one, and no variable but those that are named.
set -euo pipefail
root=$1 mounts=$2 user=$3 group=$4 fs_group=$5
shift 5

mount -t tmpfs -o mode=0755 image "$root"
# Where these are links into /usr, which is a mount.
for link in bin lib lib64 sbin; do
    [ ! -L /$link ] || cp -a /$link "$root/"
done
while read -r mode source target; do
    target=$root$target
    case $mode in
    empty) mkdir -p "$target"; mount -t tmpfs -o mode=0755 empty "$target"; continue ;;
    esac
    if [ -d "$source" ]; then
        mkdir -p "$target"
    else
        mkdir -p "${target%/*}"
        touch "$target"
    fi
    mount --bind "$source" "$target"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$target"
done <"$mounts"
mount -o remount,ro "$root"
exec chroot "$root" /usr/bin/setpriv --reuid="$user" --regid="$group" --groups="$fs_group" \
    --no-new-privs --inh-caps=-all --bounding-set=-all /usr/bin/env -i "$@"
