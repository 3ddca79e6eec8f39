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

step "front end"
echo "skipped: there is no front end yet, so no front-end tests, browser tests or bundle to check"

step "CUDA"
echo "skipped: the cuda feature needs the CUDA toolkit to build and a GPU to run"
