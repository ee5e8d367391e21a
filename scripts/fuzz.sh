#!/usr/bin/env bash
# Builds and runs the fuzz targets, both kinds, and prints what they did; fails if one found something.
#
#     scripts/fuzz.sh [-c CORPORA] [SECONDS] [TARGET...]
#
# Targets: native_NAME of tests/native/fuzz_NAME.cc (clang, libFuzzer, address and undefined-behaviour
# sanitizers, no Python) and NAME of tests/fuzz/fuzz_NAME.py (atheris: pip install 'nncodec-lm[fuzz]').
# Without any, all. They run side by side, as many at once as JOBS says (default: one a core), each for
# SECONDS (60). Corpora are kept in CORPORA (build/fuzz) and gone on with; finds are in its crashes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
corpora=$root/build/fuzz
[[ ${1:-} == -c ]] && { corpora=$2; shift 2; }
seconds=${1:-60}
shift || true
native=$root/tests/native csrc=$root/nncodec/csrc
mkdir -p "$corpora"/{build,logs,crashes,corpus}
corpora=$(cd "$corpora" && pwd)

if (($#)); then targets=("$@"); else
  targets=()
  for path in "$native"/fuzz_*.cc; do
    name=$(basename "$path" .cc)
    [[ $name == fuzz_replay ]] || targets+=("native_${name#fuzz_}")
  done
  for path in "$root"/tests/fuzz/fuzz_*.py; do name=$(basename "$path" .py); targets+=("${name#fuzz_}"); done
fi

flags=(-std=c++20 -O2 -g -pthread -ffp-contract=off -Wall -Wextra
  -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover)

# Objects of the core, compiled once; kernels as CMakeLists.txt has them, tiles emulated.
build_core() {
  local avx512="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni" jobs=() name
  for name in engine isa block_coder context_mixer tensor_coder delta_coder tensor_planes \
    tensor_blocks tensor_modes tensor_grid field_cells field_choose field_coder field_plan \
    field_streams field_tables forward_portable field_portable; do
    jobs+=("$name -DNNCODEC_EMULATE_TILES")
  done
  if [[ $(uname -m) == x86_64 ]]; then
    jobs+=("forward_avx2 -mavx2" "field_avx2 -mavx2" "forward_avx512 $avx512" "field_avx512 $avx512"
      "forward_amx $avx512 -DNNCODEC_EMULATE_TILES")
  else
    jobs+=("forward_neon -march=armv8.2-a+dotprod")
  fi
  printf '%s\n' "${jobs[@]}" | xargs -P "$(nproc)" -I{} bash -c '
    set -- {} "$@"; name=$1; options=(); while [[ $2 == -m* || $2 == -D* ]]; do options+=("$2"); shift; done
    from=$2 to=$3; shift 3
    [[ $to/$name.o -nt $from/$name.cc ]] || clang++ "$@" "${options[@]}" -c "$from/$name.cc" -o "$to/$name.o"
  ' build "$csrc" "$corpora/build" "${flags[@]}"
}

build_native() { # NAME
  local objects=("$corpora"/build/[!t]*.o "$corpora"/build/tensor*.o)
  clang++ "${flags[@]}" -c "$native/fuzz_$1.cc" -o "$corpora/build/target_$1.o"
  clang++ -fsanitize=fuzzer,address,undefined -pthread "$corpora/build/target_$1.o" "${objects[@]}" \
    -o "$corpora/build/fuzz_$1"
}

# Seeds: a case a line, in hex.
explode() { # FILE FOLDER
  python3 - "$1" "$2" <<'PY'
import pathlib, sys
text, folder = pathlib.Path(sys.argv[1]).read_text(), pathlib.Path(sys.argv[2])
for i, word in enumerate(w for line in text.splitlines() for w in line.split("#")[0].split()):
    (folder / f"case{i}").write_bytes(b"" if word == "-" else bytes.fromhex(word))
PY
}

run_one() { # TARGET
  local target=$1 command cases=$root/tests/fuzz/cases/$1.txt
  mkdir -p "$corpora/corpus/$target"
  if [[ -f $cases ]]; then explode "$cases" "$corpora/corpus/$target"; fi
  if [[ $target == native_* ]]; then
    command=("$corpora/build/fuzz_${target#native_}")
  else
    command=("${PYTHON:-python3}" "$root/tests/fuzz/run.py" "$target")
  fi
  "${command[@]}" "$corpora/corpus/$target" -max_total_time="$seconds" -print_final_stats=1 \
    -max_len=4096 -timeout=300 -rss_limit_mb=2500 -malloc_limit_mb=512 \
    -artifact_prefix="$corpora/crashes/${target}_" >"$corpora/logs/$target.log" 2>&1 ||
    echo "$target: see $corpora/logs/$target.log" >&2
}

case " ${targets[*]} " in *" native_"*) build_core ;; esac
for target in "${targets[@]}"; do
  if [[ $target == native_* ]]; then build_native "${target#native_}"; fi
done
for target in "${targets[@]}"; do
  while (($(jobs -rp | wc -l) >= ${JOBS:-$(nproc)})); do wait -n || true; done
  run_one "$target" &
done
wait

found=0
printf '%-20s %12s %8s %8s %8s\n' target executions edges rss_mb crashes
for target in "${targets[@]}"; do
  log=$corpora/logs/$target.log
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
  rss=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  crashes=$(find "$corpora/crashes" -name "${target}_*" ! -name '*slow-unit*' | wc -l)
  printf '%-20s %12s %8s %8s %8s\n' "$target" "${runs:-?}" "${edges:-?}" "${rss:-?}" "$crashes"
  if ((crashes)) || [[ -z $runs ]]; then found=1; fi
done
exit $found
