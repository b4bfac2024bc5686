# Hosts made of namespaces, for deploy/test-package.sh, which sets $work and $shared: each has a name, an address, processes
# and a root directory of its own, and shares with the others the directory /shared and what goes over the network.

network=10.78.0
link=tp$(($$ % 100000))
declare -A launched=() # The process that keeps each host up, by number.

hosts_begin() {
    ip link add "${link}br" type bridge
    ip link set "${link}br" up
}

hosts_end() {
    local number
    for number in "${!launched[@]}"; do host_stop "$number"; done
    ip link delete "${link}br" 2>/dev/null || true
    rmdir "$(quota_group)" 2>/dev/null || true
}

# host_start NUMBER NAME ROOT COMMAND…: a host whose first process is a command in a copy of a root directory. What was
# changed there stays until host_forget.
host_start() {
    local number=$1 name=$2 root=$3 space=$link-$1 port=${link}v$1 place=$work/hosts/$1
    shift 3
    mkdir -p "$place"/upper "$place"/work "$place"/root
    ip netns add "$space"
    ip link add "$port" type veth peer name eth0 netns "$space"
    ip link set "$port" master "${link}br" up
    ip -n "$space" address add "$network.$number/24" dev eth0
    # As with a machine that starts again, else the others wait for the one that they knew.
    ip -n "$space" link set eth0 address "02:00:0a:4e:00:$(printf %02x "$number")"
    ip -n "$space" link set eth0 up
    ip -n "$space" link set lo up
    ip netns exec "$space" unshare --mount --uts --pid --fork --kill-child bash -c '
        place=$0 name=$1 lower=$2 shared=$3
        shift 3
        root=$place/root
        mount --make-rprivate /
        mount -t overlay -o "lowerdir=$lower,upperdir=$place/upper,workdir=$place/work" overlay "$root"
        mount -t proc proc "$root/proc"
        mount -t sysfs sysfs "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        mount --bind "$shared" "$root/shared"
        for mounted in "$place"/mounts/*; do
            [ ! -e "$mounted" ] || mount --bind -o ro "$(readlink -f "$mounted")" "$root/$(basename "$mounted" | tr % /)"
        done
        hostname "$name"
        exec chroot "$root" "$@"' "$place" "$name" "$root" "$shared" "$@" >>"$place/log" 2>&1 &
    launched[$number]=$!
}

# Ends all processes of a host at once, as a loss of power does; it does not answer any more.
host_stop() {
    ip link set "${link}v$1" down 2>/dev/null || true
    kill -KILL "${launched[$1]}" 2>/dev/null || true
    { wait "${launched[$1]}" || true; } 2>/dev/null
    unset "launched[$1]"
    ip netns delete "$link-$1" 2>/dev/null || true
    ip link delete "${link}v$1" 2>/dev/null || true
}

# Lets a host be what it was in the beginning, the next time that it is started.
host_forget() { rm -rf --one-file-system "$work/hosts/$1"; }

# The first process of a host.
host_process() {
    local children i
    for ((i = 0; i < 100; i++)); do
        read -r children _ <"/proc/${launched[$1]}/task/${launched[$1]}/children" || true
        [ -z "$children" ] || [ "$(readlink "/proc/$children/root")" = / ] || break
        sleep 0.1
    done
    echo "$children"
}

# on NUMBER USER SCRIPT: runs a script of the shell on a host.
on() {
    local process
    process=$(host_process "$1")
    nsenter --target "$process" --net --uts --pid --mount --root --wd \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LC_ALL=C.UTF-8 \
        su --whitelist-environment=LC_ALL - "$2" -c "set -eu; $3"
}

# Waits until a host answers at a port.
host_answers() {
    local i
    for ((i = 0; i < 300; i++)); do
        ! ip netns exec "$link-$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/$2" 2>/dev/null || return 0
        sleep 0.1
    done
    cat "$work/hosts/$1/log" >&2
    fail "host $1 does not answer"
}

# The first version of control groups has a tree for each resource.
quota_group() { [ -d /sys/fs/cgroup/cpu ] && echo "/sys/fs/cgroup/cpu/$link" || echo "/sys/fs/cgroup/$link"; }

# Gives a host, and all that will be started there, a tenth of a processor.
host_slow_down() {
    local group
    group=$(quota_group)
    mkdir "$group"
    if [ -e "$group/cpu.cfs_quota_us" ]; then echo 10000 >"$group/cpu.cfs_quota_us"; else echo "10000 100000" >"$group/cpu.max"; fi
    host_process "$1" >"$group/cgroup.procs"
}
