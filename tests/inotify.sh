#!/bin/sh
# Each Envoy takes some 15 inotify instances, of which Linux allows a user 128 unless it is told otherwise, and the tests
# run up to ten of them at once. Raises the limit where that is possible, else says how.
limit=/proc/sys/fs/inotify/max_user_instances
[ -r "$limit" ] && [ "$(cat "$limit")" -lt 512 ] || exit 0
(echo 512 >"$limit") 2>/dev/null ||
    echo "fs.inotify.max_user_instances is below 512: if Envoys abort at their start, run: sysctl fs.inotify.max_user_instances=512" >&2
