#!/usr/bin/env bash
# Everything that must be green, from a clean clone. Needs Rust with rustfmt and clippy; installs what else the
# tests need. Prints what each step took.
set -euo pipefail
cd "$(dirname "$0")/.."

took=()
current=start
step() {
    local began=$SECONDS
    current=$1
    shift
    printf '\n== %s\n' "$current"
    "$@"
    took+=("$(printf '%5d s  %s' $((SECONDS - began)) "$current")")
}
summary() {
    local status=$?
    echo
    ((${#took[@]} == 0)) || printf '%s\n' "${took[@]}"
    if ((status == 0)); then echo "green after $SECONDS s"; else echo "FAILED at \"$current\" after $SECONDS s"; fi
}
trap summary EXIT

fail() {
    echo "$*" >&2
    exit 1
}

install_browser() {
    local missing=()
    command -v chromium >/dev/null || missing+=(chromium)
    command -v chromedriver >/dev/null || missing+=(chromium-driver)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    ((${#missing[@]})) || return 0

    command -v apt-get >/dev/null || fail "the end-to-end tests need ${missing[*]}; there is no apt-get here, install them by hand"
    local root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "the end-to-end tests need ${missing[*]}; run as root or with sudo installed"
        root=(sudo)
    fi
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Clients of streams that others wrote. Debian's node is older than they ask for, and npm warns; they work on 18.
npm_packages() {
    (cd tests/e2e/node && npm ci)
}

docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace --all-features
}

each_feature_alone() {
    cargo check -p tower-revalidate --no-default-features
    local feature
    for feature in axum test-util; do
        cargo check -p tower-revalidate --no-default-features --features "$feature"
    done
}

# Other flags build everything anew, so it has a target directory of its own.
loom() {
    RUSTFLAGS="--cfg loom_model" cargo test -p tower-revalidate --release --lib loom --target-dir target/loom
}

command -v cargo >/dev/null || fail "Rust is needed: https://rustup.rs"
cargo fmt --version >/dev/null || fail "rustfmt is needed: rustup component add rustfmt"
cargo clippy --version >/dev/null || fail "clippy is needed: rustup component add clippy"

step "chromium" install_browser
step "format" cargo fmt --all --check
step "lints" cargo clippy --workspace --all-targets --all-features -- -D warnings
step "docs" docs
step "each feature alone" each_feature_alone
# The crate's own tests already run with all features: it is its own dev-dependency.
step "cargo test" cargo test
step "npm" npm_packages
step "examples and browser" cargo test -p examples-common -p example-hyper -p e2e
step "loom" loom
if [[ -x scripts/mutants.sh ]]; then
    step "mutants" scripts/mutants.sh
fi
