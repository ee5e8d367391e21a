#!/usr/bin/env bash
# Sets up a fresh environment and runs linters, type checks and all tests on the installed package.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "train,dev"
ruff check .
ruff format --check .
mypy
# The console script does not put the source tree on the path: what is tested is the installed wheel.
exec pytest "$@"
