#!/usr/bin/env bash
# The long forms of tests that `cargo test` has in a short one: minutes instead of seconds, on the program as it is
# shipped. They need what tests/run.sh installs.
#
#     tests/siege.sh restarts [ROUNDS]
#
# restarts: 64 clients at full speed over HTTP and UDP, while the tracker is replaced ROUNDS times (10) by upgrades and as
#   often by restarts with inherited sockets. No request may be lost, and the counts must be right to the peer.
set -euo pipefail
cd "$(dirname "$0")/.."

# Another profile than the shipped one, such as `dev`, builds faster.
profile=${ANNOUNCED_SIEGE_PROFILE:-release}

usage() {
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

restarts() {
    ANNOUNCED_SIEGE_ROUNDS=${1:-10} cargo test --locked --profile "$profile" --test upgrades -- --nocapture --test-threads 1
}

case ${1:-} in
    restarts) shift && restarts "$@" ;;
    *) usage ;;
esac
