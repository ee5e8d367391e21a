#!/usr/bin/env bash
# Sets up a fresh environment, measures the README's tables on this machine, and prints them.
# usage: scripts/results.sh CORPORA [--quick] [-o FOLDER]      (default: folder results/)
set -euo pipefail
if [ $# -lt 1 ] || [ ! -d "$1" ]; then
  echo "results.sh: give the folder of the test corpora (corpora/README.md says where they come from)" >&2
  exit 2
fi
corpora=$(realpath "$1")
shift
folder=results quick=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick) ;;
    -o) folder=${2:?results.sh: -o needs a folder}; shift ;;
    *) echo "results.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done
folder=$(realpath -m "$folder")
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "bench"
code=0
python scripts/make_results.py "$corpora" ${quick[@]+"${quick[@]}"} -o "$folder" || code=$?
python scripts/results_tables.py --show "$folder" # also if a codec failed: that is said there
echo "page, figures and rows: $folder"
exit "$code"
