#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, documentation, tests with all feature sets.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$1"; }

step "format"
cargo fmt --check

step "lints"
cargo clippy --all-targets -- --deny warnings
cargo clippy --no-default-features --all-targets -- --deny warnings
cargo clippy --no-default-features --features view --all-targets -- --deny warnings

step "documentation"
RUSTDOCFLAGS="--deny warnings" cargo doc --no-deps --document-private-items

step "tests"
cargo test --no-default-features --lib
cargo test
command -v "${CXX:-c++}" >/dev/null || echo "skipped: no ${CXX:-c++}, so the GPU's kernels were not run thread by thread; install a C++ compiler"

step "front end"
if command -v npm >/dev/null; then
  (
    cd frontend
    [ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund
    npm run --silent types
    npm test --silent
    node build.mjs --check
  )
  step "browser"
  # The server that `cargo test` has just built. Where Chromium is missing the tests say so and are skipped, unless
  # REQUIRE_BROWSER is set.
  if [ ! -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
    echo "skipped: no ${CHROMIUM:-/usr/bin/chromium}; install Chromium, or name one in CHROMIUM"
    [ -z "${REQUIRE_BROWSER:-}" ] || exit 1
  else
    (cd frontend && npm run --silent browser)
  fi
else
  echo "skipped: no npm, so no front-end tests, browser tests or check of the bundle; install Node 20 or newer"
  [ -z "${REQUIRE_BROWSER:-}" ] || exit 1
fi

step "CUDA"
if command -v nvcc >/dev/null || [ -n "${CUDA_HOME:-}${CUDA_VENV:-}" ]; then
  if [ -z "${CUDA_HOME:-}${CUDA_VENV:-}" ]; then
    CUDA_HOME="$(dirname "$(dirname "$(realpath "$(command -v nvcc)")")")"
    export CUDA_HOME
  fi
  scripts/build-cuda.sh clippy --lib -- --deny warnings
else
  echo "skipped: no nvcc; scripts/build-cuda.sh clippy fetches one (1.2 GB). Nothing is run on a GPU"
fi
