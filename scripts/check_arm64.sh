#!/usr/bin/env bash
# Archives of arm64 are those of every other machine: a Python for arm64 runs the package under
# qemu, decodes all golden archives and makes them again with every instruction set it has.
#
# usage: bash scripts/check_arm64.sh [FOLDER]    (an empty one; default: a new one in $TMPDIR)
#
# Needs Debian with python3.11 (PYTHON, with pip and venv), cmake, aarch64-linux-gnu-g++ and
# qemu-user-static; downloads 30 MB of Debian's packages and 25 MB of wheels. Takes some minutes, most of
# them emulation. Root is not needed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
[ -z "$(ls -A "$work")" ] || { echo "check_arm64.sh: $work is not empty" >&2; exit 1; }
PYTHON=${PYTHON:-python3.11}
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) ||
  { echo "check_arm64.sh: needs qemu-user-static" >&2; exit 1; }
command -v aarch64-linux-gnu-g++ > /dev/null ||
  { echo "check_arm64.sh: needs g++-aarch64-linux-gnu" >&2; exit 1; }

echo "== Python $version for arm64"
state=$work/apt
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
: > "$state/status"
cat > "$state/conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Debug::NoLocking "true";
EOF
export APT_CONFIG=$state/conf
apt-get -qq update
apt-get -qq -y --download-only install "python$version" "libpython$version-dev" libstdc++6 > /dev/null
unset APT_CONFIG
for package in "$state"/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/system"; done

echo "== packages"
tag=cp${version/./}
"$PYTHON" -m pip download -q --disable-pip-version-check -c "$root/constraints.txt" -d "$work/wheels" \
  --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 --only-binary=:all: \
  --python-version "$version" --implementation cp --abi "$tag" --abi abi3 --abi none \
  numpy typer rich safetensors pytest
for wheel in "$work"/wheels/*.whl; do "$PYTHON" -m zipfile -e "$wheel" "$work/site"; done
"$PYTHON" -m venv "$work/tools"
"$work/tools/bin/pip" install -q --disable-pip-version-check nanobind ninja cmake

echo "== _core"
headers=$work/headers # only Python's: the cross compiler has the C library's
mkdir -p "$headers/aarch64-linux-gnu"
cp -r "$work/system/usr/include/python$version" "$headers/"
cp -r "$work/system/usr/include/aarch64-linux-gnu/python$version" "$headers/aarch64-linux-gnu/"
cp -r "$root/nncodec" "$work/source"
PATH=$work/tools/bin:$PATH
cmake -S "$work/source/csrc" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CXX_FLAGS="-isystem $headers" \
  -DPython_EXECUTABLE="$work/tools/bin/python" -DPython_INCLUDE_DIR="$headers/python$version" \
  -Dnanobind_DIR="$("$work/tools/bin/python" -m nanobind --cmake_dir)" > "$work/cmake.log"
cmake --build "$work/build" > "$work/build.log" || { tail -50 "$work/build.log" >&2; exit 1; }
mkdir -p "$work/package"
cp -r "$root/nncodec" "$work/package/nncodec"
rm -rf "$work"/package/nncodec/_core*.so "$work/package/nncodec/models" "$work/package/nncodec/csrc"
cp "$work"/build/_core*.so "$work/package/nncodec/_core.so"
cp -r "$root/models" "$work/package/nncodec/models"
file "$work/package/nncodec/_core.so" 2> /dev/null | grep -o 'ARM aarch64' || true

echo "== golden archives"
arm() {
  PYTHONHOME=$work/system/usr PYTHONPATH=$work/package:$work/site PYTHONDONTWRITEBYTECODE=1 \
    "$qemu" -cpu max -L "$work/system" "$work/system/usr/bin/python$version" "$@"
}
arm -m nncodec --version
cd "$root/tests/installed"
NNCODEC_EVERY_ISA=brief NNCODEC_THREADS=2 arm -m pytest -q -p no:cacheprovider -c "$root/pyproject.toml" \
  --confcutdir=. test_golden_archives.py
