#!/usr/bin/env bash
# Archives do not depend on the instruction set: the golden ones are decoded and made again, whole,
# with every one that this machine has, and with AMX: on tiles of plain memory (csrc/dot_amx.inl),
# which a build of its own has, where AVX-512 is all there is.
#
# usage: bash scripts/check_isas.sh [FOLDER]    (for the build; default: a new one in $TMPDIR)
#
# Needs what scripts/test.sh needs, and PYTHON (default .venv/bin/python) with numpy, the core
# packages and pytest. Takes some minutes: the portable kernels and plain memory are slow.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
PYTHON=${PYTHON:-$root/.venv/bin/python}
[ -x "$work/tools/bin/python" ] || "$PYTHON" -m venv "$work/tools"
"$work/tools/bin/pip" install -q --disable-pip-version-check nanobind ninja cmake
PATH=$work/tools/bin:$PATH
cmake -S "$root/nncodec/csrc" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS=-DNNCODEC_EMULATE_TILES -DPython_EXECUTABLE="$PYTHON" \
  -Dnanobind_DIR="$("$work/tools/bin/python" -m nanobind --cmake_dir)" > "$work/cmake.log"
cmake --build "$work/build" > "$work/build.log" || { tail -50 "$work/build.log" >&2; exit 1; }
rm -rf "$work/package"
mkdir -p "$work/package"
cp -r "$root/nncodec" "$work/package/nncodec"
rm -rf "$work"/package/nncodec/_core*.so "$work/package/nncodec/models" "$work/package/nncodec/csrc"
cp "$work"/build/_core*.so "$work/package/nncodec/"
cp -r "$root/models" "$work/package/nncodec/models"
export PYTHONPATH=$work/package
"$PYTHON" -m nncodec --version
# On a machine with AVX-512 the check must not pass by leaving AMX out.
"$PYTHON" -c '
import sys
from nncodec._core import available_isas
isas = available_isas()
sys.exit("no amx among " + ", ".join(isas) if "avx512" in isas and "amx" not in isas else 0)'
cd "$root/tests/installed"
NNCODEC_EVERY_ISA=whole exec "$PYTHON" -m pytest -q -p no:cacheprovider -c "$root/pyproject.toml" \
  --confcutdir=. test_golden_archives.py
