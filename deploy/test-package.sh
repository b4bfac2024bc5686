#!/usr/bin/env bash
# Installs the packages of deploy/package.sh on a fresh Debian 12 and uses them there.
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: deploy/test-package.sh [DIR]

Makes a minimal Debian 12 without Swift in a temporary directory, installs the package of DIR (dist) there, and goes the way
of a new user, as root and as an ordinary user: a data set, a run of two ranks, its status, samples, conversion. Then it
removes the package, which must leave nothing, does the same with the tarball in a directory with a space in its name, and
makes what deploy/container makes an image of. Needs root, a Debian mirror, 3 GB of disk and the packages mmdebstrap,
lintian, man-db, mandoc, systemd, zsh and fish."
case "${1:-}" in
    -h | --help) echo "$usage"; exit 0 ;;
    -*) echo "error: unknown option $1; see deploy/test-package.sh --help" >&2; exit 2 ;;
esac
dist=${1:-dist}
[ "$(id -u)" -eq 0 ] || { echo "error: a root directory of its own needs root; use sudo" >&2; exit 1; }
for tool in mmdebstrap lintian man mandoc systemd-analyze zsh fish unshare; do
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
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$root"

# Runs a script on the fresh machine as a user, with processes and mounts of its own, which all end with it.
inside() {
    local user=$1 script=$2
    unshare --mount --pid --fork --kill-child bash -c '
        root=$0
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        exec chroot "$root" "$@"' "$root" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        HTTP_PROXY="${HTTP_PROXY:-}" http_proxy="${http_proxy:-}" \
        su --whitelist-environment=LC_ALL,DEBIAN_FRONTEND,HTTP_PROXY,http_proxy - "$user" -c "set -eu; $script"
}

stage "The package itself"
lintian --fail-on error --suppress-tags-from-file deploy/package/lintian-suppressed "$deb"
dpkg-deb --extract "$deb" "$work/package"
for page in "$work"/package/usr/share/man/man1/*; do
    zcat "$page" | mandoc -T lint -W warning || fail "$page: is no good manual page"
done
for program in "${programs[@]}"; do
    share=$work/package/usr/share
    bash -c ". '$share/bash-completion/completions/$program' && complete -p '$program' >/dev/null" ||
        fail "$program: bash does not complete it"
    zsh -fn "$share/zsh/vendor-completions/_$program" || fail "$program: zsh does not complete it"
    fish --no-config --no-execute "$share/fish/vendor_completions.d/$program.fish" || fail "$program: fish does not complete it"
done

stage "A fresh Debian 12"
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm "$root" ${mirror:+"$mirror"}
cp /etc/resolv.conf "$root/etc/"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
for setting in /etc/apt/apt.conf.d/*proxy*; do
    [ ! -f "$setting" ] || cp "$setting" "$root/etc/apt/apt.conf.d/"
done
inside root 'useradd --create-home --shell /bin/bash anna; useradd --create-home --home-dir "/home/ben smith" ben'
# What a removal must not leave.
traces() { find "$root" -xdev \( -path "$root/home" -o -path "$root/root" \) -prune -o \
    \( -iname '*transfusion*' -o -name '*tf-coord*' -o -name '*tf-worker*' \) -print; }

stage "Installation"
cp "$deb" "$root/tmp/"
inside root "apt-get update -qq; apt-get install -qq -y /tmp/$(basename "$deb") >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }"
rm "$root/tmp/$(basename "$deb")"

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
        done | sort -u
)
called=$(printf '%s\n' "$(inside root 'dpkg -S $(readlink -f $(command -v mpirun)) | cut -d: -f1')" \
    "$(inside root 'dpkg -S $(command -v ssh) | cut -d: -f1')")
declared=$(dpkg-deb --field "$deb" Depends | tr ',' '\n' | sed 's/([^)]*)//; s/|.*//; s/ //g' | sort -u)
difference=$(diff <(printf '%s\n%s\n' "$needed" "$called" | sort -u) <(echo "$declared") || true)
[ -z "$difference" ] || fail "the package's Depends are not what its programs need (<) but (>): $difference"
echo "$declared" | tr '\n' ' '

stage "Start"
for program in "${programs[@]}"; do
    time=$(inside anna "$program --version >/dev/null; begin=\$(date +%s%N); for i in 1 2 3 4 5 6 7 8 9 10; do
        $program --version >/dev/null; done; echo \$(((\$(date +%s%N) - begin) / 10000000))")
    echo "$program --version: $time ms"
    [ "$time" -le $most_milliseconds ] || [ -n "${TRANSFUSION_BUSY:-}" ] || fail "$program starts in $time ms, more than $most_milliseconds"
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
    stage "The tour of $user"
    inside $user "$(tour /usr/share/transfusion)"
done

stage "The service"
inside root 'apt-get install -qq -y --no-install-recommends systemd man-db >/dev/null 2>&1
    man tf-coord >/dev/null; systemd-analyze verify tf-coord@anna.service'

stage "Removal"
inside root 'apt-get purge -qq -y transfusion >/dev/null; apt-get autoremove -qq -y --purge >/dev/null'
left=$(traces)
[ -z "$left" ] || fail "the removal leaves $left"

stage "The tarball"
inside root 'apt-get install -qq -y --no-install-recommends openmpi-bin openssh-client environment-modules libgomp1 >/dev/null 2>&1'
tar -xf "$tarball" -C "$root/home/ben smith"
cp -r "$root/home/anna/data" "$root/home/ben smith/"
chroot "$root" chown -R ben: "/home/ben smith"
name=$(basename "$tarball" .tar.xz)
missing=$(inside ben "for program in ${programs[*]}; do ldd \"\$HOME/$name/bin/\$program\"; done | grep 'not found' | sort -u" || true)
[ -z "$missing" ] || fail "libraries are missing: $missing"
inside ben ". /etc/profile.d/modules.sh
    module use \"\$HOME/$name/modulefiles\"
    module load transfusion
    test \"\$(command -v tf-coord)\" = \"\$HOME/$name/bin/tf-coord\"
    $(tour "\$HOME/$name/share/transfusion")"

stage "The image"
mkdir "$root/tmp/transfusion"
cp "$deb" deploy/container/setup.sh deploy/container/sshd_config "$root/tmp/transfusion/"
# anna has the number that the operator's user wants.
inside root 'userdel --remove anna >/dev/null 2>&1; sh /tmp/transfusion/setup.sh >/tmp/setup.log 2>&1 || { cat /tmp/setup.log; exit 1; }'
# As the operator does: a key for all pods, mounted, and a server that the user runs.
inside mpiuser 'mkdir .ssh; ssh-keygen -q -t ecdsa -N "" -f .ssh/id_rsa; cp .ssh/id_rsa.pub .ssh/authorized_keys
    /usr/sbin/sshd -De -f /home/mpiuser/.sshd_config 2>sshd.log &
    for i in $(seq 50); do ssh -o BatchMode=yes localhost true 2>/dev/null && break; sleep 0.1; done
    ssh -o BatchMode=yes localhost tf-worker --version || { cat sshd.log; exit 1; }
    kill $!'

stage "All is well"
