#!/usr/bin/env bash
# From a clean clone to a trained model and its pictures. Stages that are done are skipped when it is run again.
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: deploy/quickstart.sh

Installs dependencies, builds, makes a data set of coloured shapes in data/shapes, trains a small model on it with
2 MPI ranks in runs/quickstart, and draws every shape. Needs Debian 12, Swift 6.3, 2 cores and 4 GB of memory;
takes at most 20 minutes. Run again, it skips what is done: remove data/shapes or runs/quickstart to begin anew."
case "${1:-}" in
    "") ;;
    -h | --help) echo "$usage"; exit 0 ;;
    *) echo "error: unknown option $1; see deploy/quickstart.sh --help" >&2; exit 2 ;;
esac

config=configs/train/quickstart.yaml
data=data/shapes
run=runs/quickstart
sheet=$run/samples/sheet
bin=.build/release

stage() { printf '\n== %s (%d min %d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

stage "Dependencies"
deploy/install-dependencies.sh

stage "Build"
# shellcheck source=deploy/build-options.sh
. deploy/build-options.sh
swift build "${build_options[@]}"

stage "Data set"
if [ -e "$data" ]; then
    $bin/tf-data verify "$data"
else
    $bin/tf-data emoji --subset shapes --out "$data"
fi

stage "Training"
# A run that is complete ends at once; one that was interrupted goes on.
$bin/tf-coord run "$config" --ranks 2 --run-dir "$run"

stage "Pictures"
rm -rf "$sheet"
$bin/tf-sample image --checkpoint "$run" --data "$data" --sampler ddpm --guidance 2 --out "$sheet"

stage "A caption and a sentence"
echo "picture $sheet/000000.png shows:"
$bin/tf-sample caption --checkpoint "$run" "$sheet/000000.png"
echo "\"a plant that\" goes on:"
$bin/tf-sample text --checkpoint "$run" --prompt "a plant that" --temperature 0.7 --max-tokens 32

stage "Done"
cat <<SUMMARY
Look at
  $sheet/sheet.png        every prompt: the real picture, and the one that the model draws
  $sheet/prompts.jsonl    the prompts; "held_out" marks those that training never saw
  $run/metrics.jsonl      losses and throughput of every step
Try
  $bin/tf-sample image --checkpoint $run --prompt "purple heart" --out purple.png
  docs/quickstart.md tells what next
SUMMARY
