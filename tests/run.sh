#!/usr/bin/env bash
# Every check there is, on a plain Debian or Ubuntu with Rust: formatting, lints, tests from inside and outside, documentation,
# benches that build, the instructions of an announce, and a short run of every fuzz target. Installs what the tests run from outside,
# and leaves the tree clean.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the tests run beside the tracker: real clients, the tools that give them a network, a database, what counts instructions, and
# proxies.
packages=(aria2 transmission-daemon transmission-cli python3-libtorrent iproute2 curl mariadb-server valgrind
          haproxy nginx libnginx-mod-stream hitch openssl)

# For each fuzz target; longer runs are for a machine that has the time.
fuzz_s=${ANNOUNCED_FUZZ_S:-12}
# Tests from outside wait more than they work.
test_threads=${RUST_TEST_THREADS:-4}

fail() {
    echo "tests/run.sh: $*" >&2
    exit 1
}

step() {
    current=$1
    shift
    echo "==> $current"
    local start_s=$SECONDS
    "$@"
    echo "==> $current: $((SECONDS - start_s)) s"
}
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Asks for nothing when nothing is missing, so that a machine that has it all needs neither root nor a network.
install_packages() {
    command -v dpkg-query >/dev/null || fail "not a Debian: install by hand what these packages hold: ${packages[*]}"
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [[ ${#missing[@]} -eq 0 ]] && return
    [[ $EUID -eq 0 ]] || command -v sudo >/dev/null || fail "neither root nor sudo: apt-get install ${missing[*]}"
    as_root apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends "${missing[@]}"
}

install_component() {
    local subcommand=$1 component=$2
    cargo "$subcommand" --version >/dev/null 2>&1 && return
    command -v rustup >/dev/null || fail "cargo $subcommand is missing: install Rust's component $component"
    rustup component add "$component"
}

install_rust_components() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust, https://rustup.rs"
    install_component fmt rustfmt
    install_component clippy clippy
}

# On copies of the corpora: a run adds what it finds to the corpus it is given.
fuzz() {
    local targets target
    step "fuzz targets" cargo +nightly fuzz build
    targets=$(cargo +nightly fuzz list)
    for target in $targets; do
        mkdir "$scratch/$target"
        [[ -d fuzz/corpus/$target ]] && cp -R "fuzz/corpus/$target/." "$scratch/$target"
        step "fuzz $target" cargo +nightly fuzz run "$target" "$scratch/$target" -- -max_total_time="$fuzz_s"
    done
}

finish() {
    local status=$?
    rm -rf "$scratch"
    [[ $status -eq 0 ]] || echo "==> $current: FAILED" >&2
}

current="starting"
scratch=$(mktemp -d)
trap finish EXIT
tree_before=$(git status --porcelain 2>/dev/null || true)

step "Debian packages" install_packages
step "Rust components" install_rust_components
step "formatting" cargo fmt --check
step "lints" cargo clippy --locked --all-targets -- -D warnings
step "tests" env RUST_TEST_THREADS="$test_threads" cargo test --locked
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
step "benches" cargo bench --locked --no-run
step "instructions" cargo bench --locked --bench instructions
if [[ ! -d fuzz ]]; then
    echo "==> fuzz: no targets"
elif cargo +nightly fuzz --version >/dev/null 2>&1; then
    fuzz
else
    echo "==> fuzz: left out, it needs cargo-fuzz and a nightly toolchain"
fi

current="a clean tree"
[[ $(git status --porcelain 2>/dev/null || true) == "$tree_before" ]] || fail "the run has changed the tree, see git status"
echo "==> all passed in $SECONDS s"
