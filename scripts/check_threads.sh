#!/usr/bin/env bash
# Engines that several threads share, under the thread sanitizer: every instruction set, blocks coded
# both ways and states, with a pool of threads each.
#
# usage: bash scripts/check_threads.sh [FOLDER] [WHICH]    Takes a minute or two; needs g++. WHICH
# is "" for all C++ tests of the engine, which takes much longer.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
core=$root/nncodec/csrc
flags="-std=c++20 -O1 -g -pthread -ffp-contract=off -fsanitize=thread -DNNCODEC_EMULATE_TILES"
wide="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni"
for source in "$core"/*.cc "$root/tests/native/test_engine.cc"; do
  name=$(basename "$source" .cc)
  case $name in
    bindings | roofline | *_neon) continue ;;
    *_avx2) own="-mavx2" ;;
    *_avx512 | *_amx) own=$wide ;;
    *) own= ;;
  esac
  # shellcheck disable=SC2086
  echo "g++ $flags $own -c $source -o $work/$name.o"
done | xargs -P "$(nproc)" -I{} sh -c '{}'
g++ -fsanitize=thread -pthread "$work"/*.o -o "$work/engine"
which=${2-shared}
TSAN_OPTIONS=halt_on_error=1 "$work/engine" ${which:+"$which"}
