#!/usr/bin/env bash
# Sets up a fresh environment and runs linters, type checks and all tests on the installed package.
set -euo pipefail
BUILD_OPTIONS=--config-settings=cmake.define.NNCODEC_WERROR=ON
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "train,bench,dev"
ruff check .
ruff format --check .
mypy
cd tests # out of the source tree's way: what is tested is the installed wheel
exec pytest -n 2 "$@"
