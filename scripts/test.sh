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

# As root or with sudo, whichever works here.
as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo "$@"
    fi
}

# The programs that the end-to-end tests start: a browser, node and two proxies, of Debian's packages; and a compiler
# of C++, in which libFuzzer is written.
#
# Of the proxies only the program and the libraries it needs: their packages would start a service each, on
# port 80, on the machine of somebody who wanted to run tests. The tests look in the PATH first, then here.
install_tools() {
    local unpacked=target/debian packages=() proxies=() tool
    command -v chromium >/dev/null || packages+=(chromium)
    command -v chromedriver >/dev/null || packages+=(chromium-driver)
    command -v node >/dev/null || packages+=(nodejs)
    command -v npm >/dev/null || packages+=(npm)
    command -v c++ >/dev/null || packages+=(g++)
    for tool in nginx haproxy; do
        command -v "$tool" >/dev/null || [[ -x /usr/sbin/$tool || -x $unpacked/usr/sbin/$tool ]] || proxies+=("$tool")
    done
    local missing=("${packages[@]}" "${proxies[@]}")
    ((${#missing[@]})) || return 0

    command -v apt-get >/dev/null ||
        fail "the end-to-end tests need ${missing[*]}; there is no apt-get here, install them by hand"
    ((EUID == 0)) || command -v sudo >/dev/null ||
        fail "the end-to-end tests need ${missing[*]}; run as root or with sudo installed"
    as_root apt-get update -qq
    ((${#packages[@]} == 0)) || apt_install "${packages[@]}"
    for tool in "${proxies[@]}"; do
        unpack "$tool" "$unpacked"
    done
}

# Debian's node is older than the client's tools ask for (`engines` in client/package.json). Of npm's packages then, and
# npm with it: Debian's npm finds its parts with Debian's node alone.
install_node() {
    local installed=$PWD/target/node/node_modules/.bin
    ! is_recent node || return 0
    is_recent "$installed/node" || npm install --prefix target/node --no-audit --no-fund node@24 npm@11
    export PATH=$installed:$PATH
    is_recent node || fail "node 22.12 or newer is needed; install it by hand"
}

is_recent() {
    "$1" -e 'const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 22 || (major === 22 && minor >= 12) ? 0 : 1)' 2>/dev/null
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

unpack() {
    local downloads libraries
    downloads=$(mktemp -d)
    (cd "$downloads" && apt-get download -qq "$1")
    libraries=$(dpkg-deb -f "$downloads"/*.deb Depends | tr , '\n' | grep -oE '^ *(lib|zlib)[^ ]+')
    # shellcheck disable=SC2086 # a word each
    apt_install $libraries
    mkdir -p "$2"
    dpkg-deb -x "$downloads"/*.deb "$2"
    rm -r "$downloads"
    [[ -x $2/usr/sbin/$1 ]] || fail "the package $1 has no $1 in it here; install it by hand"
}

# What the crate serves is what its sources build, byte for byte, and no larger than promised.
client() (
    cd client
    npm ci
    npm run types
    npm test
    npm run build
    npm run size
    npm run lint
    is_committed
)

# The page of an example, with the client as it is now.
example_page() (
    cd "examples/$1/web"
    npm ci
    npm run build
    is_committed
)

# That a build made what is committed, and nothing else.
is_committed() {
    git diff --exit-code --stat -- dist || fail "$PWD/dist is not what its sources build; commit what is there now"
    local unknown
    unknown=$(git ls-files --others --exclude-standard -- dist)
    [[ -z $unknown ]] || fail "a build made what is not committed: $unknown"
}

# That the crate builds from what is published of it: without Node, and with nothing of node_modules.
package() {
    local files
    files=$(cargo package --list --allow-dirty -p tower-revalidate)
    [[ $files != *node_modules* ]] || fail "node_modules would be published"
    cargo package --allow-dirty --quiet -p tower-revalidate
}

# Clients of streams that others wrote, and what drives a browser.
npm_packages() {
    (cd tests/e2e/node && npm ci)
}

# The suites that are written in JavaScript: `scripts` in tests/e2e/node/package.json.
in_node() {
    (cd tests/e2e/node && npm run --silent "$1")
}

docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace --all-features
}

each_feature_alone() {
    cargo check -p tower-revalidate --no-default-features
    local feature
    for feature in axum header limits metrics test-util; do
        cargo check -p tower-revalidate --no-default-features --features "$feature"
    done
}

# That they still build; to run them takes other flags, and time.
fuzz_targets() {
    cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz
}

# Other flags build everything anew, so it has a target directory of its own.
loom() {
    RUSTFLAGS="--cfg loom_model" cargo test -p tower-revalidate --release --lib loom --target-dir target/loom
}

command -v cargo >/dev/null || fail "Rust is needed: https://rustup.rs"
cargo fmt --version >/dev/null || fail "rustfmt is needed: rustup component add rustfmt"
cargo clippy --version >/dev/null || fail "clippy is needed: rustup component add clippy"

step "tools" install_tools
step "node" install_node
step "format" cargo fmt --all --check
step "client" client
step "page of tanstack" example_page tanstack
step "page of chat" example_page chat
step "lints" cargo clippy --workspace --all-targets --all-features -- -D warnings
step "docs" docs
step "each feature alone" each_feature_alone
step "package" package
step "cargo test" cargo test --all-features
step "npm" npm_packages
step "examples, browser, proxies, middleware" cargo test -p examples-common -p example-chat -p example-fanout -p example-hub -p example-hyper -p example-metrics -p example-poem -p example-salvo -p example-tanstack -p example-warp -p e2e
step "client in a browser" in_node browser
step "subscriptions at random" in_node property
step "front ends of the documentation" in_node docs
step "streams of web-platform-tests" in_node wpt
step "fuzz targets" fuzz_targets
step "loom" loom
if [[ -x scripts/mutants.sh ]]; then
    step "mutants" scripts/mutants.sh
fi
