#!/usr/bin/env bash
# Builds the Debian package: target/debian/announced_*.deb, and its debug symbols apart. Needs `cargo install
# cargo-deb`. Further arguments go to `cargo deb`.
#
# DEBFULLNAME and DEBEMAIL name who makes it, as they do for Debian's own tools.
#
# Manual pages, completions and the settings file are printed by the program that goes into the package.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked
maker="${DEBFULLNAME:-The announced authors} <${DEBEMAIL:-announced@example.org}>"
program=target/release/announced
made=target/package
rm -rf "$made"
mkdir -p "$made"

"$program" man > "$made/announced.8"
"$program" man announced.toml > "$made/announced.toml.5"
"$program" completions bash > "$made/announced.bash"
"$program" completions zsh > "$made/_announced"
"$program" completions fish > "$made/announced.fish"
# Every setting as a comment: an upgrade with another default then has nothing to ask.
"$program" config | sed 's/^\([a-z_]* = \)/#\1/' > "$made/announced.toml"

version=$(cargo metadata --no-deps --format-version 1 --locked | sed 's/.*"name":"announced","version":"\([^"]*\)".*/\1/')
# The day of the newest change, so that the same sources make the same package.
changed=$(git log -1 --format=%ct 2>/dev/null || date +%s)
cat > "$made/changelog" <<EOF
announced ($version-1) unstable; urgency=medium

  * Release $version; CHANGELOG.md of the sources says what changed.

 -- $maker  $(date -u -R -d "@$changed")
EOF

cargo deb --no-build --locked --dbgsym --maintainer "$maker" "$@"
