#!/usr/bin/env bash
# Every check there is, on a plain Debian or Ubuntu with Rust: formatting, lints, tests from inside and outside,
# documentation, benches that build, the instructions of an announce, and a short run of every fuzz target. Installs
# what the tests run from outside, and leaves the tree clean.
#
# A step that fails does not end the run: the rest is done, and the exit code is decided at the end. The closing lines
# name the tests' results, the steps that failed, and what was left out.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# Debian packages of the programs that run beside the tracker.
packages=(
    aria2                # tests/clients: passes a file on
    transmission-daemon  # tests/clients: passes a file on
    transmission-cli     # tests/clients: transmission-remote, which drives the daemon
    python3-libtorrent   # tests/clients: passes a file on
    iproute2             # tests/clients: networks for Transmission, which takes no peer from loopback
    mariadb-server       # tests/database, src/tests/databases
    haproxy              # tests/proxies: in front of the tracker
    nginx                # tests/proxies: in front of the tracker
    libnginx-mod-stream  # tests/proxies: nginx passes connections on
    hitch                # tests/proxies: ends TLS
    openssl              # tests/proxies: makes hitch a certificate
    curl                 # README's first announce
    valgrind             # benches/instructions: counts them
)

# For each fuzz target; longer runs are for a machine that has the time.
fuzz_s=${ANNOUNCED_FUZZ_S:-12}
# Tests from outside wait more than they work.
test_threads=${RUST_TEST_THREADS:-4}

failed=()
left_out=()

say() {
    echo "tests/run.sh: $*" >&2
}

# step NAME COMMAND...
step() {
    local name=$1 start_s=$SECONDS result=ok
    shift
    echo "==> $name"
    "$@" || result=FAILED
    [[ $result == ok ]] || failed+=("$name")
    echo "==> $name: $result, $((SECONDS - start_s)) s"
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "neither root nor sudo: $*"
        return 1
    fi
}

# Asks for nothing when nothing is missing, so that a machine that has it all needs neither root nor a network.
install_packages() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian: install by hand what these packages hold: ${packages[*]}"
        return 1
    fi
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [[ ${#missing[@]} -eq 0 ]] && return
    as_root apt-get -q update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends "${missing[@]}"
}

install_component() {
    local subcommand=$1 component=$2
    cargo "$subcommand" --version >/dev/null 2>&1 || rustup component add "$component"
}

run_tests() {
    RUST_TEST_THREADS=$test_threads cargo test --locked --no-fail-fast 2>&1 | tee "$scratch/tests"
}

document() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
}

install_cargo_fuzz() {
    cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
}

# On a copy of the corpus: a run adds what it finds to the corpus it is given.
fuzz() {
    local target=$1
    mkdir "$scratch/$target" || return
    if [[ -d fuzz/corpus/$target ]]; then
        cp -R "fuzz/corpus/$target/." "$scratch/$target" || return
    fi
    cargo +nightly fuzz run "$target" "$scratch/$target" -- -max_total_time="$fuzz_s"
}

fuzz_all() {
    local targets target
    if ! rustup run nightly cargo --version >/dev/null 2>&1; then
        left_out+=("fuzz targets (no nightly toolchain: rustup toolchain install nightly)")
        return
    fi
    step "cargo-fuzz" install_cargo_fuzz
    step "fuzz targets" cargo +nightly fuzz build
    targets=$(cargo +nightly fuzz list) || failed+=("list of fuzz targets")
    for target in $targets; do
        step "fuzz $target" fuzz "$target"
    done
}

# Its tools take minutes to install, so it runs where they are.
package() {
    local missing=() program
    for program in cargo-deb lintian mmdebstrap systemd-analyze; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [[ $EUID -eq 0 ]] || missing+=("root")
    if [[ ${#missing[@]} -eq 0 ]]; then
        step "Debian package" tests/package.sh
    else
        left_out+=("the Debian package, tests/package.sh (without ${missing[*]})")
    fi
}

unchanged_tree() {
    [[ $(git status --porcelain 2>/dev/null) == "$tree_before" ]] && return
    say "the run has changed the tree, see git status"
    return 1
}

if ! command -v cargo >/dev/null; then
    say "cargo is missing: install Rust, https://rustup.rs"
    exit 1
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
tree_before=$(git status --porcelain 2>/dev/null)

step "Debian packages" install_packages
step "rustfmt" install_component fmt rustfmt
step "clippy" install_component clippy clippy
step "formatting" cargo fmt --check
step "lints" cargo clippy --locked --all-targets -- -D warnings
step "tests" run_tests
step "documentation" document
step "benches" cargo bench --locked --no-run
step "instructions" cargo bench --locked --bench instructions
fuzz_all
package
step "a clean tree" unchanged_tree

echo "==> tests"
grep -E '^(test result: |test .* FAILED$|error: )' "$scratch/tests"
if [[ ${#failed[@]} -eq 0 ]]; then
    echo "==> all passed in $SECONDS s"
else
    echo "==> failed, in $SECONDS s:"
    printf '    %s\n' "${failed[@]}"
fi
if [[ ${#left_out[@]} -eq 0 ]]; then
    echo "==> nothing was left out"
else
    printf '==> left out: %s\n' "$(IFS=,; echo "${left_out[*]}")"
fi
[[ ${#failed[@]} -eq 0 ]]
