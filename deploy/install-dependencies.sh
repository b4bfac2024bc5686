#!/usr/bin/env bash
# Installs what transfusion is built from and runs on: Debian packages, nothing else. Safe to run again.
set -euo pipefail

usage="usage: deploy/install-dependencies.sh [--check | --with-browser | --with-gallery]

Installs the missing Debian packages, as root or through sudo, and checks that Swift 6.3 or later is there.
With --check it only says what is missing, and exits with 1 if something is. With --with-browser it installs a headless
Chromium too, which the tests of the dashboard use; without one they are skipped. With --with-gallery it installs the
pictures of 'tf-data gallery' too, about 320 MB."

packages=(
    # Building
    build-essential pkg-config git ca-certificates
    # Message passing between ranks
    libopenmpi-dev openmpi-bin
    # Matrix products in f32 and bf16
    libopenblas-dev libdnnl-dev
    # Checkpoints and packed data: compression and digests
    libzstd-dev zlib1g-dev libdeflate-dev libsnappy-dev libssl-dev
    # The coordinator's list of runs
    libsqlite3-dev
    # Tokens, pictures and text in pictures
    libsentencepiece-dev libpng-dev libjpeg-dev libwebp-dev libfreetype-dev fonts-dejavu-core
    # The quickstart's data: emoji pictures, their names, and definitions of words
    fonts-noto-color-emoji unicode-data wordnet-base
    # The coordinator: ranks on other hosts, and the stacks of ranks that hang
    openssh-client gdb
    # Tests: hosts made of namespaces
    iproute2 openssh-server
)

check_only=false
case "${1:-}" in
    "") ;;
    --check) check_only=true ;;
    --with-browser) packages+=(chromium-headless-shell) ;;
    --with-gallery) packages+=(tuxpaint-stamps-default openclipart-png openclipart-svg fortunes) ;;
    -h | --help) echo "$usage"; exit 0 ;;
    *) echo "error: unknown option $1; see deploy/install-dependencies.sh --help" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "error: this is no Debian or Ubuntu; install what corresponds to these packages: ${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -eq 0 ]; then
    echo "All ${#packages[@]} Debian packages are installed."
elif $check_only; then
    echo "error: missing Debian packages: ${missing[*]}; run deploy/install-dependencies.sh" >&2
    exit 1
else
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "error: installing packages needs root; run as root: apt-get install ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "Installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

swift_version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1 || true)
if [ -z "$swift_version" ]; then
    echo "error: swift is not on the PATH; install Swift 6.3 or later from https://www.swift.org/install/linux" >&2
    exit 1
fi
if [ "$(printf '%s\n' 6.3 "$swift_version" | sort -V | head -n 1)" != 6.3 ]; then
    echo "error: Swift $swift_version is too old; install 6.3 or later from https://www.swift.org/install/linux" >&2
    exit 1
fi
echo "Swift $swift_version is there."
