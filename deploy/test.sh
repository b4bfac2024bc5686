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
# Not every distribution has the browser as a package.
deploy/install-dependencies.sh --with-browser || deploy/install-dependencies.sh

stage "Formatting"
swift format lint --strict --recursive Sources Tests Plugins Package.swift
bash -n deploy/*.sh deploy/container/setup.sh deploy/slurm/train.sbatch Plugins/*/*.sh

stage "Build"
# For release, as the numbers that the tests compare are those of the code that people run.
# shellcheck source=deploy/build-options.sh
. deploy/build-options.sh
build=("${build_options[@]}" -Xswiftc -enable-testing)
swift build "${build[@]}" --build-tests
bin=$(swift build "${build[@]}" --show-bin-path)

stage "Tests"
# Tests start ranks themselves; Open MPI asks root to say that it means it, as in containers.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Commands see to it that OpenBLAS takes the kernels of this processor; tests that compute get the same.
OPENBLAS_CORETYPE=$("$bin/tf-bench" host | sed -n 's/.* OpenBLAS \([A-Za-z0-9]*\),.*/\1/p')
export OPENBLAS_CORETYPE
# No test waits without a bound; should one do so all the same, it is named and ended rather than waited for.
minutes=60
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$logs"' EXIT
# Tests of commands wait much, those of libraries compute: side by side they take the time of one. Within each part one test
# follows another, as tests that compute would keep the few threads of Swift's pool from those that wait for an answer.
run() {
    exec env TRANSFUSION_TEST_RUN=$$ timeout --foreground --kill-after=10 "${minutes}m" \
        "$bin/transfusionPackageTests.xctest" --testing-library swift-testing --no-parallel "${@:2}" \
        > >(tee "$logs/$1") 2>&1
}
run commands --filter '^CommandTests\.' &
commands=$!
run libraries --skip '^CommandTests\.' &
libraries=$!
status=0
wait "$libraries" || status=$?
wait "$commands" || status=$?
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    echo "error: the tests had not ended after $minutes minutes; these were running:" >&2
    awk '
        match($0, / Test .* started\.$/) && !/ Test run / {
            test = substr($0, RSTART); sub(/ started\.$/, "", test); running[test] = 1
        }
        match($0, / Test .* (passed|failed) after /) {
            test = substr($0, RSTART); sub(/( with [0-9]+ test cases?)? (passed|failed) after .*/, "", test); delete running[test]
        }
        END { for (test in running) print "  " test }' "$logs"/* >&2
    # Jobs have process groups of their own; the variable tells which belong to these tests.
    for process in $(grep -lsz "^TRANSFUSION_TEST_RUN=$$\$" /proc/[0-9]*/environ | cut -d/ -f3); do
        echo "  process $process: $(tr '\0' ' ' <"/proc/$process/cmdline" | cut -c-200)" >&2
        kill -9 "$process" || true
    done
fi
if [ "$status" -ne 0 ]; then
    # Again at the end, where one looks first; what a test says may have many lines, and the next event begins with its colour.
    stage "Failures"
    awk '/ recorded an issue |^error: / { shown = 1; print; next } /^\033|^.[^ ]* (Test|Suite) / { shown = 0 } shown' "$logs"/*
    exit "$status"
fi

stage "All tests passed"
