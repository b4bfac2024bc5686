#!/usr/bin/env bash
# Installs the packages of deploy/package.sh on a fresh Debian 12 and uses them there.
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: deploy/test-package.sh [--quick] [DIR]

Makes minimal Debian 12 systems without Swift in a temporary directory, and goes the way of a new user with the packages of DIR
(dist), step by step, with figures:

    the Debian package      installed by apt; a data set, a run of two ranks, its status, samples and conversion, as root and as
                            an ordinary user; manual pages, completions, the service; removal, which leaves nothing
    four hosts              of namespaces, each with that Debian alone: what 'tf-coord hosts --check' finds, then a run on all of
                            them, of which one is lost and taken back
    the tarball             the same tour from a directory with a space in its name
    the image               what deploy/container makes an image of, as the launcher and workers of Kubernetes' MPI operator
    what cannot work        another architecture, a missing library, another Open MPI: each is named with its remedy

With --quick the tour of root is left out, and the minimal Debian is kept in DIR for the next time. Needs root, a Debian mirror, 4 GB
of disk, overlayfs, and the packages mmdebstrap, lintian, man-db, mandoc, systemd, zsh, fish, perl, iproute2 and gcc."
quick=false
[ "${1:-}" != --quick ] || { quick=true; shift; }
case "${1:-}" in
    -h | --help) echo "$usage"; exit 0 ;;
    -*) echo "error: unknown option $1; see deploy/test-package.sh --help" >&2; exit 2 ;;
esac
dist=${1:-dist}
[ "$(id -u)" -eq 0 ] || { echo "error: a root directory of its own needs root; use sudo" >&2; exit 1; }
for tool in mmdebstrap lintian man mandoc systemd-analyze zsh fish unshare nsenter ip perl cc; do
    command -v "$tool" >/dev/null || { echo "error: $tool is missing; see deploy/test-package.sh --help" >&2; exit 1; }
done
one() { # The only file of a pattern.
    [ $# -eq 1 ] && [ -f "$1" ] || { echo "error: $dist: holds no single file $1; run deploy/package.sh" >&2; exit 1; }
    realpath "$1"
}
deb=$(one "$dist"/transfusion_*.deb)
tarball=$(one "$dist"/transfusion-*.tar.xz)
programs=(tf-bench tf-ckpt tf-coord tf-data tf-eval tf-sample tf-worker)
most_milliseconds=50

stage() { printf '\n== %s (%d min %d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }
fail() { echo "error: $1" >&2; exit 1; }

work=$(mktemp -d)
shared=$work/shared
archives=$work/archives
# shellcheck source=deploy/package/hosts.sh
. deploy/package/hosts.sh
trap 'hosts_end; rm -rf --one-file-system "$work"' EXIT
mkdir "$shared" "$archives"

# Runs a script on the fresh machine $root as a user, with processes and mounts of its own, which all end with it.
inside() {
    local user=$1 script=$2
    unshare --mount --pid --fork --kill-child bash -c '
        root=$0 archives=$1
        shift
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        # What one has fetched the others need not fetch.
        mount --bind "$archives" "$root/var/cache/apt/archives"
        exec chroot "$root" "$@"' "$root" "$archives" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        HTTP_PROXY="${HTTP_PROXY:-}" http_proxy="${http_proxy:-}" \
        su --whitelist-environment=LC_ALL,DEBIAN_FRONTEND,HTTP_PROXY,http_proxy - "$user" -c "set -eu; $script"
}

base=$work/debian-12.tar
! $quick || base=$(realpath "$dist")/debian-12.tar
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian*.sources 2>/dev/null || true)
# Makes $work/NAME a fresh Debian 12, and $root that.
fresh() {
    root=$work/$1
    if [ ! -f "$base" ]; then
        mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm "$base.partial.tar" ${mirror:+"$mirror"}
        mv "$base.partial.tar" "$base"
    fi
    mkdir "$root"
    tar -xf "$base" -C "$root"
    mkdir "$root/shared"
    cp /etc/resolv.conf "$root/etc/"
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    for setting in /etc/apt/apt.conf.d/*proxy*; do
        [ ! -f "$setting" ] || cp "$setting" "$root/etc/apt/apt.conf.d/"
    done
    inside root 'apt-get update -qq'
}
# expect TEXT…: each must be found in what was said last, $work/said.
expect() {
    local text
    for text in "$@"; do
        grep -E -- "$text" "$work/said" || { cat "$work/said" >&2; fail "nothing says '$text'"; }
    done
}

stage "The package itself"
size() { # size FILE MEGABYTES: at most so many.
    echo "$(basename "$1"): $(($(stat -c %s "$1") / 1000)) kB"
    [ "$(stat -c %s "$1")" -le $(($2 * 1000000)) ] || fail "$1: more than $2 MB"
}
size "$deb" 40
# With OpenBLAS, oneDNN and other libraries in addition.
size "$tarball" 60
lintian --fail-on error --suppress-tags-from-file deploy/package/lintian-suppressed "$deb"
dpkg-deb --extract "$deb" "$work/extracted"
for page in "$work"/extracted/usr/share/man/man1/*; do
    zcat "$page" | mandoc -T lint -W warning || fail "$page: is no good manual page"
done
for program in "${programs[@]}"; do
    share=$work/extracted/usr/share
    bash -c ". '$share/bash-completion/completions/$program' && complete -p '$program' >/dev/null" ||
        fail "$program: bash does not complete it"
    zsh -fn "$share/zsh/vendor-completions/_$program" || fail "$program: zsh does not complete it"
    fish --no-config --no-execute "$share/fish/vendor_completions.d/$program.fish" || fail "$program: fish does not complete it"
done

stage "A fresh Debian 12"
fresh package
inside root 'useradd --create-home --shell /bin/bash anna'
# What a removal must not leave. What man-db has formatted is its own to keep and to clean up.
traces() { find "$root" -xdev \( -path "$root/home" -o -path "$root/root" -o -path "$root/var/cache/man" \) -prune -o \
    \( -iname '*transfusion*' -o -name '*tf-coord*' -o -name '*tf-worker*' \) -print; }

stage "Installation"
cp "$deb" "$root/tmp/"
inside root "cd /tmp; apt-get install -qq -y ./$(basename "$deb") >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }"
rm "$root/tmp/$(basename "$deb")"
echo "$(inside root 'dpkg-query --show transfusion; command -v swift python3 || true' | tr '\n\t' '  ')"

stage "Dependencies"
# The packages of the libraries that the programs name, and the programs that they call: no more and no fewer.
needed=$(inside root "for program in ${programs[*]}; do ldd /usr/bin/\$program; done" | grep 'not found' || true)
[ -z "$needed" ] || fail "libraries are missing: $needed"
needed=$(
    for program in "${programs[@]}"; do objdump -p "$root/usr/bin/$program"; done | awk '$1 == "NEEDED" { print $2 }' | sort -u |
        while read -r name; do
            path=$(inside root "ldconfig -p | awk '\$1 == \"$name\" { print \$NF; exit }'")
            # /lib is a link to /usr/lib, and the package database has either.
            inside root "dpkg -S '$path' '$(readlink -f "$root$path" | sed "s|^$root||")' '${path#/usr}' 2>/dev/null || true" | cut -d: -f1 | head -n 1
        done | sed 's/^libopenblas0-.*/libopenblas0/' | sort -u # Any of its builds will do.
)
called=$(printf '%s\n' "$(inside root 'dpkg -S $(readlink -f $(command -v mpirun)) | cut -d: -f1')" \
    "$(inside root 'dpkg -S $(command -v ssh) | cut -d: -f1')")
declared=$(dpkg-deb --field "$deb" Depends | tr ',' '\n' | sed 's/([^)]*)//; s/|.*//; s/ //g' | sort -u)
difference=$(diff <(printf '%s\n%s\n' "$needed" "$called" | sort -u) <(echo "$declared") || true)
[ -z "$difference" ] || fail "the package's Depends are not what its programs need (<) but (>): $difference"
echo "$declared" | tr '\n' ' '

stage "Start"
# By the processor's time, which is the same on a machine that others use; and by the clock, the quickest of twenty times.
for program in "${programs[@]}"; do
    read -r clock processor < <(inside anna "best=1000000; TIMEFORMAT='%3U %3S'
        { time for i in \$(seq 20); do begin=\$(date +%s%N); $program --version >/dev/null; time=\$(((\$(date +%s%N) - begin) / 1000000))
            [ \$time -ge \$best ] || best=\$time; done; } 2>time
        echo \$best \$(cat time); rm time" | awk '{ print $1, int(($2 + $3) * 1000 / 20) }')
    echo "$program --version: $processor ms of a processor, $clock ms by the clock"
    [ "$processor" -le $most_milliseconds ] || fail "$program starts in $processor ms, more than $most_milliseconds"
done
inside anna 'tf-coord --version'

# What a new user does: PREFIX is where configurations lie.
tour() {
    cat <<TOUR
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
[ -d data/shapes ] || tf-data emoji --subset shapes --out data/shapes
tf-coord run "$1/configs/train/quickstart.yaml" --ranks 2 --set schedule.steps=30 --set schedule.warmup_steps=5
tf-coord status
tf-coord status --json | grep -q '"state" : "done"'
tf-ckpt verify runs/quickstart
tf-sample text --checkpoint runs/quickstart --prompt "a plant that" --max-tokens 8
tf-sample image --checkpoint runs/quickstart --prompt "red heart" --out heart.png
test -s heart.png
tf-ckpt convert runs/quickstart model --to safetensors
test -s model/config.json
TOUR
}
for user in anna root; do
    if [ $user = root ] && $quick; then continue; fi
    stage "The tour of $user"
    inside $user "$(tour /usr/share/transfusion)"
done

stage "The service and the manual"
inside root 'apt-get install -qq -y --no-install-recommends systemd man-db openssh-server >/dev/null 2>&1
    systemd-analyze verify tf-coord@anna.service; echo "systemd-analyze verify: nothing to say"
    mkdir -p /run/sshd'
inside anna "for program in ${programs[*]}; do man \$program >/dev/null; done; man tf-coord | head -n 4"

# Reads a value out of JSON, as an expression of $s.
value() { perl -MJSON::PP -0777 -e '$s = eval { decode_json(<STDIN>) } or exit 1; print eval($ARGV[0]) // ""' "$1"; }
# await SECONDS HOST USER RUN WHAT EXPRESSION: waits until the status of a run is so.
await() {
    local end=$((SECONDS + $1)) status
    while [ $SECONDS -lt "$end" ]; do
        status=$(on "$2" "$3" "tf-coord status '$4' --json" 2>/dev/null || true)
        [ "$(value "$6" <<<"$status")" != 1 ] || { echo "$5: step $(value '$s->{step}' <<<"$status")"; return; }
        sleep 0.3
    done
    echo "$status" >&2
    fail "$5: not within $1 s"
}
configuration() { # A small run that never ends by itself.
    cat <<END
name: my
model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 8}
data: {path: /shared/data/shapes}
schedule: {steps: 1000000, learning_rate: 1e-3, minimum_learning_rate: 1e-3, warmup_steps: 5}
batch: {sequence_length: 256, global_sequences: 4}
parallel: {threads: 1}
checkpoint: {every_steps: 50}
telemetry: {tensorboard: false}
supervision: {heartbeat_timeout: 6, step_timeout: 60, start_timeout: 90, save_timeout: 60, backoff: 0.1}
END
}

stage "Four hosts"
inside anna 'mkdir -m 700 .ssh; ssh-keygen -q -t ed25519 -N "" -f .ssh/id_ed25519; cp .ssh/id_ed25519.pub .ssh/authorized_keys
    echo "node1,node2,node3,node4 $(cut -d " " -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)" >.ssh/known_hosts'
chown 1000:1000 "$shared"
for number in 1 2 3 4; do
    echo "$network.$number node$number" >>"$root/etc/hosts"
    echo "node$number slots=2" >>"$shared/hosts.txt"
done
hosts_begin
node() { # Starts a host, as it was in the beginning.
    host_forget "$1"
    host_start "$1" "node$1" "$root" /usr/sbin/sshd -D -e
    host_answers "$1" 22
}
for number in 1 2 3 4; do node $number; done
check() { # check STATUS TEXT…: what the check of all hosts says.
    local wanted=$1 status=0
    shift
    on 1 anna 'tf-coord hosts --check /shared/hosts.txt --shared /shared/runs' >"$work/said" 2>&1 || status=$?
    [ $status -eq "$wanted" ] || { cat "$work/said" >&2; fail "the check ends with $status, not $wanted"; }
    expect "$@"
}
on 1 anna 'mkdir /shared/runs'
check 0 'The hosts can train together' '^localhost .* ok *$' '^node2 .* ok *$' '^node3 .* ok *$' '^node4 .* ok *$'
on 2 root 'rm /usr/bin/tf-worker'
on 3 root 'printf x >>/usr/bin/tf-worker'
on 4 root 'mount -t tmpfs -o mode=1777 tmpfs /shared'
check 1 '^problem: node2: .*tf-worker: is missing; install' '^problem: transfusion: .* on node3; install the same on all hosts' \
    '^problem: node4: /shared/runs: is not seen there; mount the shared file system'
for number in 2 4; do host_stop $number; node $number; done
host_stop 3
node 3
host_slow_down 3
check 0 '^warning: node3: slow: its matrix products reach [1-4]?[0-9] % of the median'
host_stop 3
node 3

stage "Hosts on which nothing can work"
# The header of a program for another processor; the version of a library that is old; a library that is away.
on 2 root 'printf "\267\000" | dd of=/usr/bin/tf-bench bs=1 seek=18 conv=notrunc status=none'
cat >"$work/old.c" <<'END'
#include <string.h>
int MPI_Get_library_version(char *version, int *length) {
    strcpy(version, "Open MPI v3.1.3, package: Debian OpenMPI");
    *length = (int)strlen(version);
    return 0;
}
END
cc -shared -fPIC -o "$shared/old.so" "$work/old.c"
on 3 root 'cp /shared/old.so /opt/; echo /opt/old.so >/etc/ld.so.preload'
on 4 root 'rm /usr/lib/x86_64-linux-gnu/libdnnl.so.*'
check 1 '^problem: node2: /usr/bin/tf-bench does not run there: .*; (it is built for other processors|install the same build)' \
    '^problem: Open MPI: .*3\.1\.3 on node3; install the same on all hosts' \
    '^problem: node4: .*libdnnl\.so.*; install the package with apt, which brings its libraries'
for number in 2 3 4; do host_stop $number; node $number; done
on 4 root 'rm /usr/lib/x86_64-linux-gnu/libmpi.so.40*'
# One that loses its power while it is asked.
on 2 root 'printf "#!/bin/sh\nsleep 1000\n" >/usr/bin/tf-bench'
(sleep 3 && ip link set "${link}v2" down) &
check 1 '^problem: node2: does not answer within .* s; see whether it is up' \
    '^problem: node4: .*libmpi\.so\.40.*; install Open MPI 4\.1 there, or load its module'
host_stop 2
check 1 '^problem: node2: cannot be reached: ssh: .*; see whether it is up'
node 2
host_stop 4
node 4

stage "A run on four hosts"
configuration >"$shared/my.yaml"
on 1 anna 'tf-data emoji --subset shapes --out /shared/data/shapes' | tail -n 1
on 1 anna 'exec tf-coord run /shared/my.yaml --hosts /shared/hosts.txt --ranks 4 --run-dir /shared/runs/first' >"$work/run.log" 2>&1 &
run=$!
used='(grep { $_->{condition} eq "used" } @{$s->{layout}{hosts}})'
trains() { await 300 1 anna /shared/runs/first "$1" "\$s->{state} eq 'running' && \$s->{step} > ($2) && @{\$s->{ranks}} == 4 && $used == $3"; }
step() { on 1 anna 'tf-coord status /shared/runs/first --json' | value '$s->{step}'; }
trains "four ranks train on four hosts" 60 4
host_stop 3
await 60 1 anna /shared/runs/first "the loss of node3 is found" '@{$s->{recoveries}} == 1 && $s->{recoveries}[0]{cause}{host} eq "node3"'
trains "they train on three hosts" "$(step) + 10" 3
host_start 3 node3 "$root" /usr/sbin/sshd -D -e
trains "they train on four hosts again" "$(step) + 10" 4
on 1 anna 'tf-coord status /shared/runs/first'
on 1 anna 'tf-coord stop /shared/runs/first --wait'
status=0
wait $run || status=$?
[ $status -eq 85 ] || { cat "$work/run.log" >&2; fail "tf-coord ends with $status, not 85"; }
for number in 1 2 3 4; do
    left=$(on $number root 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n" | grep -E "^(/usr/bin/)?(tf-worker|orted|mpirun|tf-coord)$" || true')
    [ -z "$left" ] || fail "node$number still has $left"
done
on 1 anna 'tf-ckpt verify /shared/runs/first' | tail -n 1
for number in 1 2 3 4; do host_stop $number; done

stage "Removal"
inside root 'apt-get purge -qq -y transfusion >/dev/null; apt-get autoremove -qq -y --purge >/dev/null'
left=$(traces)
[ -z "$left" ] || fail "the removal leaves $left"
echo "nothing is left"
package=$root

stage "The tarball"
fresh tarball
inside root 'useradd --create-home --shell /bin/bash --home-dir "/home/ben smith" ben
    apt-get install -qq -y --no-install-recommends openmpi-bin openssh-client environment-modules >/dev/null 2>&1'
tar -xf "$tarball" -C "$root/home/ben smith"
cp -r "$package/home/anna/data" "$root/home/ben smith/"
chroot "$root" chown -R ben: "/home/ben smith"
name=$(basename "$tarball" .tar.xz)
inside ben "\"\$HOME/$name/check\"
    . /etc/profile.d/modules.sh
    module use \"\$HOME/$name/modulefiles\"
    module load transfusion
    test \"\$(command -v tf-coord)\" = \"\$HOME/$name/bin/tf-coord\"
    $(tour "\$HOME/$name/share/transfusion")"

stage "Machines on which the tarball cannot work"
# cannot STAND-INS COMMAND TEXT: what ./check says when programs stand in for others, or something is away.
cannot() {
    ! inside ben "mkdir -p stand-ins; cd stand-ins; $1; chmod +x * 2>/dev/null || true; cd \"\$HOME/$name\"; $2" >"$work/said" 2>&1 ||
        fail "./check finds nothing wrong"
    expect "$3"
    rm -rf "$root/home/ben smith/stand-ins"
}
path='PATH="$HOME/stand-ins:$PATH" ./check'
cannot true 'setarch i686 ./check' '^problem: this machine is i686, and the programs are for x86_64; take the tarball for i686'
cannot 'printf "#!/bin/sh\necho glibc 2.28\n" >getconf' "$path" '^problem: glibc is 2\.28, and the programs need 2\.[0-9]* or later'
cannot 'printf "#!/bin/sh\necho \"mpirun (Open MPI) 3.1.3\"\n" >mpirun' "$path" '^problem: .* is of Open MPI 3\.1\.3, and tf-coord needs Open MPI 4\.1; load'
cannot true 'mv lib away; status=0; ./check || status=$?; mv away lib; exit $status' '^problem: libdnnl.* is not found, which the tarball has in lib/; unpack all of it'
inside root 'apt-get purge -qq -y openmpi-bin libopenmpi3 >/dev/null 2>&1'
cannot true ./check '^problem: mpirun is not on the PATH; load'
expect '^problem: libmpi\.so\.40 of Open MPI 4\.1 is not found; load'
# The Debian package for another architecture.
dpkg-deb --raw-extract "$deb" "$work/foreign"
sed -i 's/^Architecture: .*/Architecture: arm64/' "$work/foreign/DEBIAN/control"
dpkg-deb -Znone --build "$work/foreign" "$root/tmp/transfusion_arm64.deb" >/dev/null
! inside root 'dpkg --install /tmp/transfusion_arm64.deb' >"$work/said" 2>&1 || fail "a package for arm64 is installed"
expect 'package architecture \(arm64\) does not match system'
rm -r "$work/foreign" "$root/tmp/transfusion_arm64.deb"

stage "The image"
fresh image
mkdir "$root/tmp/transfusion"
cp "$deb" deploy/container/setup.sh deploy/container/sshd_config "$root/tmp/transfusion/"
inside root 'sh /tmp/transfusion/setup.sh >/tmp/setup.log 2>&1 || { cat /tmp/setup.log; exit 1; }; rm -r /tmp/transfusion'
echo "$(du -sm --one-file-system "$root" | cut -f 1) MB unpacked"

stage "The pods of the MPI operator"
# As the operator does: a key for all pods, mounted, which belongs to root; a host file; names for the pods.
pods=(transfusion-launcher transfusion-worker-0.transfusion.default.svc transfusion-worker-1.transfusion.default.svc)
mkdir -p "$work/secret" "$root/etc/mpi"
ssh-keygen -q -t ecdsa -N "" -f "$work/secret/id_rsa"
cp "$work/secret/id_rsa.pub" "$work/secret/authorized_keys"
chmod 644 "$work/secret"/*
inside mpiuser 'mkdir .ssh'
for i in 0 1 2; do
    echo "$network.1$i ${pods[i]} ${pods[i]%%.*}" >>"$root/etc/hosts"
    [ $i -eq 0 ] || echo "${pods[i]} slots=2" >>"$root/etc/mpi/hostfile"
done
rm -rf "$shared"
mkdir "$shared"
chown 1000:1000 "$shared"
configuration >"$shared/my.yaml"
job=deploy/kubernetes/mpijob.yaml
# What the launcher runs, word for word, and what the workers run.
launcher=$(awk '/^ *- \|$/ { inside = 1; next } inside && /^ *env:/ { exit } inside' $job | sed 's/^ \{18\}//')
worker=$(sed -n 's|^ *command: \[\(/usr/sbin/sshd.*\)\]$|\1|p' $job | tr -d ,)
[ -n "$launcher" ] && [ -n "$worker" ] || fail "$job: has no commands as they were"
setting=$(sed -n 's/^ *- {name: \(OMPI[A-Za-z_]*\), value: \([a-z]*\)}$/\1=\2/p' $job)
as_pod=(setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set=-all env -i HOME=/home/mpiuser
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
pod() { # pod NUMBER COMMAND…
    mkdir -p "$work/hosts/1$1/mounts"
    ln -sfn "$work/secret" "$work/hosts/1$1/mounts/%home%mpiuser%.ssh"
    host_start "1$1" "${pods[$1]%%.*}" "$root" "${as_pod[@]}" "${@:2}"
}
launch() {
    pod 0 OMPI_MCA_orte_keep_fqdn_hostnames=true OMPI_MCA_orte_default_hostfile=/etc/mpi/hostfile \
        OMPI_MCA_plm_rsh_args="-o ConnectionAttempts=10" OMPI_MCA_orte_set_default_slots=2 K_MPI_JOB_ROLE=launcher "$setting" \
        bash -c "$launcher"
}
for i in 1 2; do
    # shellcheck disable=SC2086
    pod $i $worker
    host_answers 1$i 2222
done
on 11 mpiuser 'tf-data emoji --subset shapes --out /shared/data/shapes' | tail -n 1
launch
await 300 11 mpiuser /shared/runs/my "four ranks train in two workers" '$s->{state} eq "running" && $s->{step} > 60 && @{$s->{ranks}} == 4'
# The launcher's pod is moved: it saves, and another goes on.
kill -TERM "$(host_process 10)"
status=0
wait "${launched[10]}" || status=$?
[ $status -eq 85 ] || { cat "$work/hosts/10/log" >&2; fail "the launcher ends with $status after SIGTERM, not 85"; }
saved=$(on 11 mpiuser 'tf-coord status /shared/runs/my --json' | value '$s->{step}')
host_stop 10
launch
await 300 11 mpiuser /shared/runs/my "another launcher goes on from step $saved" "\$s->{state} eq 'running' && \$s->{step} > $saved && @{\$s->{ranks}} == 4"
# Somebody stops the run: the job is done, and with it the pod from which he does.
on 10 mpiuser 'tf-coord stop /shared/runs/my'
status=0
wait "${launched[10]}" || status=$?
[ $status -eq 0 ] || { cat "$work/hosts/10/log" >&2; fail "the launcher ends with $status after a stop, not 0"; }
on 11 mpiuser 'tf-ckpt verify /shared/runs/my' | tail -n 1

stage "All is well"
