#!/usr/bin/env bash
# The Debian package, as somebody meets it who installs it: made, judged by lintian and systemd, installed in a fresh
# Debian, started by the unit's own command line, asked, and purged.
#
# Needs root, cargo-deb, lintian, mmdebstrap, systemd and iproute2; takes minutes. tests/run.sh runs it where they are.
set -euo pipefail
cd "$(dirname "$0")/.."

say() {
    echo "tests/package.sh: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

root=$(mktemp -d)
tracker=
cleanup() {
    [[ -z $tracker ]] || kill "$tracker" 2>/dev/null || true
    rm -rf "$root"
}
trap cleanup EXIT

rm -f target/debian/announced*.deb target/debian/announced*.ddeb
deploy/package.sh
package=$(echo target/debian/announced_*.deb)

say "lintian"
lintian --fail-on error "$package"

say "systemd-analyze"
sed "s#^ExecStart=/usr/bin/#ExecStart=$PWD/target/release/#" deploy/announced.service > "$root/announced.service"
cp deploy/announced.socket "$root/"
systemd-analyze verify --man=no "$root/announced.service" "$root/announced.socket"
systemd-analyze security --offline=true --threshold=20 "$root/announced.service" > "$root/exposure" ||
    { cat "$root/exposure"; fail "the exposure is above 2.0"; }
tail -1 "$root/exposure" >&2

say "a fresh Debian"
debian=$root/debian
mmdebstrap --quiet --variant=apt --include=curl "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$debian"
cp "$package" "$debian/announced.deb"
inside() {
    DEBIAN_FRONTEND=noninteractive chroot "$debian" "$@"
}
inside apt-get -q install --yes --no-install-recommends /announced.deb

# What systemd would make of the unit: a user, a state directory, the command line.
command=$(sed -n 's/^ExecStart=//p' "$debian/usr/lib/systemd/system/announced.service")
state=$debian/var/lib/private/announced
mkdir -p "$state"
chown 61184:61184 "$state"
[[ $(stat -c %a "$debian/etc/default/announced") == 600 ]] || fail "/etc/default/announced can be read"
inside announced check /etc/announced/announced.toml

unshare --net sh -c "ip link set lo up && exec chroot --userspec=61184:61184 '$debian' \
    sh -c 'cd /var/lib/private/announced && exec $command'" > "$root/log" 2>&1 &
tracker=$!
ask() {
    nsenter --net="/proc/$tracker/ns/net" curl -s --max-time 5 "http://127.0.0.1:6969/$1"
}
announce="announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-XX0001-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=0"
for _ in $(seq 100); do
    ask "$announce" > "$root/answer" && break
    kill -0 "$tracker" || { cat "$root/log"; fail "the tracker has ended"; }
    sleep 0.2
done
grep -q '^d8:completei1e' "$root/answer" || { cat "$root/log"; fail "no answer to an announce"; }
kill -TERM "$tracker"
wait "$tracker" || { cat "$root/log"; fail "SIGTERM did not end it well"; }
tracker=

say "purge"
inside apt-get -q purge --yes announced
left=$(cd "$debian" && find usr etc var/lib -name '*announced*' -not -path 'var/lib/dpkg/*' -not -path 'var/lib/systemd/*')
[[ -z $left ]] || fail "a purge leaves: $left"
say "passed"
