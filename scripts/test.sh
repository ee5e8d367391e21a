#!/usr/bin/env bash
# Sets up a fresh environment and runs linters, type checks and all tests on the installed package.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "train,dev"
ruff check .
ruff format --check .
mypy
# From outside the source tree's package: the wheel is what is tested.
exec python -P -m pytest "$@"
