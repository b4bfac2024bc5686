#!/usr/bin/env bash
# Builds the programs for release and packs them, for machines without Swift.
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: deploy/package.sh [--out DIR] [--build DIR]

Builds for release with Swift's libraries linked in, and makes in DIR (dist):

    transfusion_VERSION-1_ARCHITECTURE.deb          a Debian package
    transfusion-VERSION-linux-ARCHITECTURE.tar.xz   the same for any directory, with the libraries that a cluster may
                                                    lack; only Open MPI is the cluster's own

--build is where SwiftPM builds (.build-package), so that the next time takes less. DEBFULLNAME and DEBEMAIL in the
environment name who answers for the package, as for Debian's own tools. Needs what
deploy/install-dependencies.sh installs, and the Debian packages dpkg-dev, patchelf, perl and xz-utils."

out=dist
build=.build-package
while [ $# -gt 0 ]; do
    case "$1" in
        --out | --build)
            [ -n "${2:-}" ] || { echo "error: $1: give a directory" >&2; exit 2; }
            if [ "$1" = --out ]; then out=$2; else build=$2; fi
            shift 2
            ;;
        -h | --help) echo "$usage"; exit 0 ;;
        *) echo "error: unknown option $1; see deploy/package.sh --help" >&2; exit 2 ;;
    esac
done
for tool in swift dpkg-deb dpkg-shlibdeps patchelf perl xz; do
    command -v "$tool" >/dev/null || { echo "error: $tool is missing; see deploy/package.sh --help" >&2; exit 1; }
done

programs=(tf-bench tf-ckpt tf-coord tf-data tf-eval tf-sample tf-worker)
architecture=$(dpkg --print-architecture)
# Each program has Swift's libraries within it, which xz finds in the one before with a window as large as a program.
most_megabytes=40
# The tarball has OpenBLAS, oneDNN and other libraries in addition.
most_megabytes_of_tarball=60

# The version: that of the sources, and the commit behind it unless it has that tag.
number=$(sed -n 's/.*static let number = "\(.*\)"$/\1/p' Sources/TransfusionSupport/ProductVersion.swift)
commit=$(sh Plugins/RecordCommit/record-commit.sh .)
if [ -e .git ]; then
    tag=$(git describe --tags --exact-match 2>/dev/null || true)
    time=$(git log -1 --format=%ct)
else
    tag=
    time=$(sed -n 's/^date: \([0-9]*\)$/\1/p' .git_archival.txt 2>/dev/null || true)
fi
export SOURCE_DATE_EPOCH=${time:-$(date +%s)}
date=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%d)
case "$tag" in
    "v$number") [ "${commit%.modified}" != "$commit" ] || commit= ;;
    v[0-9]*) echo "error: the tag $tag is not the version $number of ProductVersion.swift; change one of them" >&2; exit 1 ;;
esac
version=$number
[ -z "$commit" ] || version="$number+git$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M).$commit"

echo "== Building transfusion $version"
# shellcheck source=deploy/build-options.sh
. deploy/build-options.sh
options=("${build_options[@]}" --static-swift-stdlib --scratch-path "$build")
for program in "${programs[@]}"; do
    swift build "${options[@]}" --product "$program"
done
bin=$(swift build "${options[@]}" --show-bin-path)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/root
doc=usr/share/doc/transfusion
umask 022

echo "== Gathering"
install -d "$root/usr/bin" "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions" \
    "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d" "$root/usr/share/transfusion" \
    "$root/lib/systemd/system" "$root/$doc/examples"
for program in "${programs[@]}"; do
    "$bin/$program" --experimental-dump-help | perl deploy/package/manual.pl "$version" "$date" |
        gzip -9n >"$root/usr/share/man/man1/$program.1.gz"
    # It is read by a shell, not run.
    "$bin/$program" --generate-completion-script bash | sed '1{/^#!/d}' >"$root/usr/share/bash-completion/completions/$program"
    "$bin/$program" --generate-completion-script zsh >"$root/usr/share/zsh/vendor-completions/_$program"
    "$bin/$program" --generate-completion-script fish >"$root/usr/share/fish/vendor_completions.d/$program.fish"
    install -m 755 "$bin/$program" "$root/usr/bin/"
    # Where Swift's libraries would be.
    patchelf --remove-rpath "$root/usr/bin/$program"
    strip --remove-section=.comment --remove-section=.note "$root/usr/bin/$program"
done
cp -r configs "$root/usr/share/transfusion/"
install -m 644 deploy/systemd/*.service "$root/lib/systemd/system/"
cp -r deploy/slurm deploy/kubernetes deploy/prometheus deploy/grafana "$root/$doc/examples/"
install -D -m 644 deploy/package/lintian-overrides "$root/usr/share/lintian/overrides/transfusion"
install -m 644 README.md docs/*.md docs/*.png "$root/$doc/"
gzip -9nc CHANGELOG.md >"$root/$doc/changelog.gz"
maintainer="${DEBFULLNAME:-transfusion} <${DEBEMAIL:-transfusion@localhost}>"
printf 'transfusion (%s-1) unstable; urgency=medium\n\n  * See changelog.gz for what has changed.\n\n -- %s  %s\n' "$version" \
    "$maintainer" "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" | gzip -9n >"$root/$doc/changelog.Debian.gz"
chmod -R u=rwX,go=rX "$root"

# Swift's own licence, and those of all packages that are linked in; the text of the Apache License is said once.
copyright=$root/$doc/copyright
cp deploy/package/copyright.in "$copyright"
licence() {
    printf '\n%s\n%s\n\n' "$1" "$(printf '%*s' 100 '' | tr ' ' -)"
    for file in "${@:2}"; do
        if grep -q 'TERMS AND CONDITIONS FOR USE, REPRODUCTION' "$file"; then
            echo "Apache License, Version 2.0: /usr/share/common-licenses/Apache-2.0."
            # What follows its appendix, such as the exception for run-time libraries.
            sed -n '/^   limitations under the License\./,$p' "$file" | tail -n +2
        else
            cat "$file"
        fi
    done
} >>"$copyright"
toolchain=$(dirname "$(dirname "$(readlink -f "$(command -v swiftc)")")")
licence "The Swift run-time libraries and Foundation, https://www.swift.org" "$toolchain/share/swift/LICENSE.txt"
# Foundation brings ICU along.
licence "ICU, within Foundation, https://icu.unicode.org" /usr/share/doc/libicu[0-9]*/copyright
perl -MJSON::PP -e 'local $/; print map "$_->{location} $_->{state}{version}\n", @{decode_json(<>)->{pins}}' \
    Package.resolved | while read -r url pin; do
    checkout=$build/checkouts/$(basename "$url" .git)
    # Also those of other people's code within.
    mapfile -t files < <(find "$checkout" -type f \( -ipath "$checkout/licen[cs]e*" -o -ipath "$checkout/notice*" -o \
        -ipath "$checkout/Sources/*/licen[cs]e*" \) | sort)
    [ ${#files[@]} -gt 0 ] || { echo "error: $checkout: has no licence" >&2; exit 1; }
    licence "$(basename "$url" .git) $pin, $url" "${files[@]}"
done

echo "== Debian package"
mkdir -p "$stage/shlibs/debian" "$out" "$root/DEBIAN"
printf 'Source: transfusion\n\nPackage: transfusion\nArchitecture: any\n' >"$stage/shlibs/debian/control"
libraries=$(cd "$stage/shlibs" && dpkg-shlibdeps -O "${programs[@]/#/$root/usr/bin/}" | sed -n 's/^shlibs:Depends=//p')
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed -e "s|@VERSION@|$version|; s|@ARCHITECTURE@|$architecture|; s|@SIZE@|$size|; s|@MAINTAINER@|$maintainer|; s/@LIBRARIES@/$libraries/" \
    deploy/package/control.in >"$root/DEBIAN/control"
(cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
deb=$out/transfusion_$version-1_$architecture.deb
# By hand, as the largest window of dpkg-deb has 64 MiB.
pack() { # What is packed is in the order of names, of root, and of the time of the commit.
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$@" |
        xz --lzma2=preset=7,dict=128MiB --threads=1
}
echo 2.0 >"$stage/debian-binary"
tar -C "$root/DEBIAN" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - . | xz >"$stage/control.tar.xz"
# Beside the tarball, as each takes minutes of one processor.
pack -C "$root" ./usr ./lib >"$stage/data.tar.xz" &
packing=$!

echo "== Tarball"
name=transfusion-$version-linux-$architecture
tree=$stage/$name
mkdir -p "$tree/lib" "$tree/modulefiles/transfusion"
cp -r "$root/usr/bin" "$root/usr/share" "$tree/"
cp LICENSE "$tree/"
# The libraries that the programs need, and those that these need, but for Open MPI and what every Linux has.
declare -A copied=()
take() {
    local needed path
    while read -r needed; do
        case "$needed" in
            libmpi.so.* | libc.so.* | libm.so.* | ld-linux* | libpthread.so.* | libdl.so.* | librt.so.* | libgcc_s.so.* | \
                libstdc++.so.*) continue ;;
        esac
        [ -z "${copied[$needed]:-}" ] || continue
        path=$(ldd "$1" | awk -v name="$needed" '$1 == name && $3 ~ "^/" { print $3 }')
        [ -n "$path" ] || { echo "error: $1 needs $needed, which is not there" >&2; exit 1; }
        copied[$needed]=1
        install -m 644 "$path" "$tree/lib/$needed"
        patchelf --set-rpath '$ORIGIN' "$tree/lib/$needed"
        take "$path"
        # /lib is a link to /usr/lib, and the package database has either.
        path=$(readlink -f "$path")
        package=$( (dpkg -S "$path" || dpkg -S "${path#/usr}") 2>/dev/null | head -n 1 | cut -d: -f1)
        install -D -m 644 "/usr/share/doc/$package/copyright" "$tree/share/doc/transfusion/licences/$package"
    done < <(patchelf --print-needed "$1")
}
for program in "${programs[@]}"; do
    take "$root/usr/bin/$program"
    patchelf --set-rpath '$ORIGIN/../lib' "$tree/bin/$program"
done
sed "s|@VERSION@|$version|" deploy/package/modulefile.in >"$tree/modulefiles/transfusion/$version"
glibc=$(objdump -T "$tree"/bin/* "$tree"/lib/* | grep -o 'GLIBC_2\.[0-9]*' | sed 's/GLIBC_//' | sort -V | tail -n 1)
sed "s|@MACHINE@|$(uname -m)|; s|@GLIBC@|$glibc|" deploy/package/check.in >"$tree/check"
chmod 755 "$tree/check"
tarball=$out/$name.tar.xz
pack -C "$stage" "$name" >"$tarball"
wait "$packing"
rm -f "$deb"
(cd "$stage" && ar -rcD package.deb debian-binary control.tar.xz data.tar.xz)
mv "$stage/package.deb" "$deb"

echo "== Checking"
status=0
for program in "${programs[@]}"; do
    first=$("$tree/bin/$program" --version | head -n 1)
    expected="transfusion $number${commit:+ $commit}"
    # A tagged release names its commit, too.
    [ "${first/+/ }" = "$expected" ] || [ -z "$commit" ] || { echo "error: $program says '$first'" >&2; status=1; }
done
for file in "$deb" "$tarball"; do
    most=$most_megabytes
    [ "$file" = "$deb" ] || most=$most_megabytes_of_tarball
    bytes=$(stat -c %s "$file")
    printf '%6.1f MB  %s\n' "$(echo "$bytes" | awk '{ print $1 / 1e6 }')" "$file"
    [ "$bytes" -le $((most * 1000000)) ] || { echo "error: $file: more than $most MB" >&2; status=1; }
done
exit $status
