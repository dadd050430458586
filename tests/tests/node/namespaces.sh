#!/bin/bash
# Runs a program in namespaces of its own, with what a kubelet needs: namespaces.sh PROGRAM [ARGUMENT...]
# With --check it says what this machine has not, and runs nothing.
#
# Mounts, network, processes and the host's name are the program's own, and end with it. What a namespace does not hold is
# a folder (NODE_FOLDER, which TMPDIR is in) and a cgroup in each hierarchy (NODE_CGROUP): a keeper, a shell in a session of its
# own, removes both when this script is gone, however it ended. The machine's own settings cannot be written from inside:
# /proc/sys is read-only but for the network's, which belong to the network namespace.
#
# Inside, a bridge `node` has the addresses of NODE_ADDRESSES, and there is no way out.
set -euo pipefail

addresses='10.88.0.1 10.88.0.2'
cgroups=/sys/fs/cgroup

refuse() {
    echo "test-node: $1" >&2
    exit 1
}

# The hierarchies in which a kubelet and containerd make cgroups: those of version 1, that of version 2, or all of these.
hierarchies() {
    awk '$9 ~ /^cgroup2?$/ || $8 ~ /^cgroup2?$/ {print $5}' /proc/self/mountinfo | sort -u
}

check() {
    local program controllers
    [ "$(id -u)" = 0 ] || refuse 'a kubelet, containerd and namespaces need root: run it as root'
    # Nothing of the machine's is changed from here, not even this.
    [ "$(cat /proc/sys/fs/inotify/max_user_instances)" -ge 512 ] ||
        refuse 'kubelets and Envoys need more inotify instances than this machine gives: sysctl fs.inotify.max_user_instances=512'
    unshare --mount --net --pid --ipc --uts --fork true 2>/dev/null ||
        refuse 'this machine allows no namespaces (unshare --mount --net --pid --ipc --uts): inside a container, run that with --privileged'
    controllers=$(cat $cgroups/cgroup.controllers 2>/dev/null || awk '!/^#/ {printf "%s ", $1}' /proc/cgroups)
    for program in cpu cpuset memory pids; do
        [[ " $controllers " == *" $program "* ]] || refuse "there is no cgroup controller $program in $cgroups, which a kubelet needs"
    done
    [ -n "$(hierarchies)" ] || refuse "no cgroups are mounted in $cgroups, which a kubelet needs"
}

# Waits for the end of its standard input, which only the script holds open, and removes what is left.
keep() {
    local folder=$1 name=$2 tries=0 hierarchy left=
    trap '' HUP INT QUIT TERM
    cat >/dev/null
    # The processes are dying: a cgroup can be removed when its last one is gone.
    while :; do
        left=
        for hierarchy in $(hierarchies); do
            [ ! -d "$hierarchy/$name" ] || find "$hierarchy/$name" -depth -type d -exec rmdir {} + 2>/dev/null || left=$hierarchy/$name
        done
        [ -n "$left" ] && [ $((tries += 1)) -lt 600 ] || break
        sleep 0.1
    done
    [ -z "$left" ] || echo "test-node: $left could not be removed" >&2
    [ -n "${SANDBOX_KEEP:-}" ] || rm -rf --one-file-system "$folder"
}

# As process 1 of the namespaces.
inside() {
    local address
    mount --make-rprivate /
    # Whatever a kubelet, containerd or CNI writes at fixed places.
    for place in /run /var/log /var/lib; do mount -t tmpfs -o mode=0755 node $place; done
    mkdir -p /run/lock
    cp /etc/hosts "$NODE_FOLDER/hosts"
    mount --bind "$NODE_FOLDER/hosts" /etc/hosts
    : >"$NODE_FOLDER/resolv.conf"
    mount --bind "$NODE_FOLDER/resolv.conf" /etc/resolv.conf

    mount --bind /proc/sys /proc/sys
    mount --bind /proc/sys/net /proc/sys/net
    mount -o remount,bind,ro /proc/sys
    # A kubelet wants these, and finds them as it wants them.
    for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
        kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
        [ -e "/proc/sys/${setting%=*}" ] || continue
        echo "${setting#*=}" >"$NODE_FOLDER/setting-${setting//[\/=]/-}"
        mount --bind "$NODE_FOLDER/setting-${setting//[\/=]/-}" "/proc/sys/${setting%=*}"
    done

    hostname node
    ip link set lo up
    ip link add node type bridge
    for address in $NODE_ADDRESSES; do ip address add "$address/24" dev node; done
    ip link set node up
    ip route add default dev node
    echo 1 >/proc/sys/net/ipv4/ip_forward
    # This shell waits for whoever has lost his parent, as process 1 has to.
    "$@" &
    wait $!
}

case ${1:-} in
--check) check; exit ;;
--keep) shift; keep "$@"; exit ;;
--inside) shift; inside "$@"; exit ;;
'') sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

check
name=kube-oidc-gateway-node-$$
folder=$(mktemp -d "/tmp/$name.XXXXXX")
exec {life}> >(exec setsid "$0" --keep "$folder" "$name")
keeper=$!
child=

end() {
    local status=$?
    trap - EXIT
    [ -z "$child" ] || kill -s KILL "$child" 2>/dev/null || true
    exec {life}>&-
    wait "$keeper" || true
    exit $status
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

for hierarchy in $(hierarchies); do
    for cgroup in "$name" "$name/node1" "$name/node2"; do
        mkdir "$hierarchy/$cgroup" || refuse "no cgroup can be made in $hierarchy, which a kubelet needs"
        # A new one of version 1 has neither.
        for file in cpuset.cpus cpuset.mems; do
            [ -e "$hierarchy/cgroup.controllers" ] || [ ! -e "$hierarchy/$file" ] || cat "$hierarchy/$file" >"$hierarchy/$cgroup/$file"
        done
    done
done
mkdir "$folder/tmp"
export NODE_FOLDER=$folder NODE_CGROUP=/$name NODE_ADDRESSES=$addresses TMPDIR=$folder/tmp
# Each dies with the one before it: unshare with this script, process 1 with unshare, all others with process 1.
setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --fork --kill-child=KILL --mount-proc \
    "$0" --inside "$@" {life}>&- &
child=$!
wait "$child"
