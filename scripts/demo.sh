#!/usr/bin/env bash
# Sets up a fresh environment, compresses a real file, gives it back, and compares sizes.
# usage: scripts/demo.sh [FILE]     (default: the documents of this project as one text)
set -euo pipefail
if [ $# -gt 0 ] && [ ! -s "$1" ]; then
  echo "demo.sh: $1: not a file with contents" >&2
  exit 1
fi
file=${1:+$(realpath "$1")}
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" ""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$file" ]; then cp "$file" "$work/input"; else cat README.md docs/*.md >"$work/input"; fi
nncodec compress "$work/input"
nncodec info "$work/input.nnc"
echo "decompressing ..."
nncodec decompress "$work/input.nnc" -o "$work/output"
cmp "$work/input" "$work/output" && echo "identical after the round trip"
python - "$work/input" "$work/input.nnc" <<'PY'
import gzip, lzma, pathlib, sys

data, packed = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
sizes = {
    "gzip -9": len(gzip.compress(data, 9)),
    "xz -9e": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
    "nncodec": len(packed),
}
for name, size in sizes.items():
    print(f"{name:16} {size:9} bytes  {8 * size / len(data):.3f} bits/byte")
PY
