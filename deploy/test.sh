#!/usr/bin/env bash
# Installs dependencies, builds everything and runs every test, those that need mpirun included.
# Exits with 0 only if all of it passes.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
    "") ;;
    -h | --help) echo "usage: deploy/test.sh"; exit 0 ;;
    *) echo "error: unknown option $1; see deploy/test.sh --help" >&2; exit 2 ;;
esac

stage() { printf '\n== %s (%d min %d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

stage "Dependencies"
deploy/install-dependencies.sh

stage "Formatting"
swift format lint --strict --recursive Sources Tests Package.swift
bash -n deploy/*.sh

stage "Build"
# Release, as the numbers that the tests compare are those of the code that people run.
build=(-c release -Xswiftc -enable-testing)
swift build "${build[@]}" --build-tests

stage "Tests"
# Tests start ranks themselves; Open MPI asks root to say that it means it, as in containers.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
swift test "${build[@]}" --skip-build

stage "All tests passed"
