#!/usr/bin/env bash
# The long forms of tests that `cargo test` has in a short one: minutes instead of seconds, on the program as it is
# shipped. They need what tests/run.sh installs.
#
#     tests/siege.sh restarts [ROUNDS]
#     tests/siege.sh descriptors | queue | idle | slowloris | resets | pipelines | mute | floods
#
# restarts: 64 clients at full speed over HTTP and UDP, while the tracker is replaced ROUNDS times (10) by upgrades and as
#   often by restarts with inherited sockets. No request may be lost, and the counts must be right to the peer.
# descriptors: 1 000 connections under `ulimit -n 256`.
# queue: 2 000 connections at once while the tracker stands still and its listen queue has room for 16.
# idle: 15 000 connections that are kept open and say nothing.
# slowloris: 8 000 connections, which is as many as there may be, that send a byte of a request now and then.
# resets: 250 000 connections that are reset with their request on its way.
# pipelines: 400 connections with 400 requests each, once a second.
# mute: 1 000 clients that ask for much and never read.
# floods: all of these. Each prints memory and a regular client's waiting before, during and after, and takes less than
#   five minutes.
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

# The name of one, or nothing for all.
besiege() {
    timeout 3000 cargo test --locked --profile "$profile" --test sieges -- --nocapture --test-threads 1 "$@"
}

case ${1:-} in
    descriptors | queue | idle | slowloris | resets | pipelines | mute) besiege --exact "$1" ;;
    floods) besiege ;;
    restarts) shift && restarts "$@" ;;
    *) usage ;;
esac
