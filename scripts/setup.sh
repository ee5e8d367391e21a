#!/usr/bin/env bash
# Sourced by demo.sh, results.sh and test.sh: a virtual environment in .venv with the package (and EXTRAS).
# Needs Python 3.10+, a C++20 compiler; cmake and ninja come from PyPI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extras=${1:+[$1]}
PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  { echo "setup.sh: needs Python 3.10 or newer; set PYTHON" >&2; exit 1; }
command -v "${CXX:-g++}" >/dev/null || { echo "setup.sh: needs a C++ compiler; set CXX" >&2; exit 1; }
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt ${BUILD_OPTIONS:-} \
  ".$extras"
export PATH="$PWD/.venv/bin:$PATH"
