"""One torrent in one libtorrent session that finds its peers through the tracker only.

Usage: libtorrent_session.py TORRENT DIRECTORY LISTEN_ADDRESS

Prints "complete" once it has the whole torrent, then stays in the swarm until standard input ends, then leaves in order: it
waits for the tracker's answer to `stopped`. Everything libtorrent says goes to standard error.
"""

import sys

import libtorrent as lt

torrent, directory, address = sys.argv[1:]
said = lt.alert.category_t
session = lt.session({
    # Port 0: the system's choice, which libtorrent announces.
    "listen_interfaces": f"[{address}]:0" if ":" in address else f"{address}:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    # On ::1 both peers have one address.
    "allow_multiple_connections_per_ip": True,
    # Its default of 5 minutes would outweigh the tracker's `min interval`, if a first announce should fail.
    "min_announce_interval": 1,
    "alert_mask": said.error_notification | said.status_notification | said.tracker_notification | said.connect_notification,
})
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(torrent)
parameters.save_path = directory
parameters.flags |= lt.torrent_flags.disable_dht | lt.torrent_flags.disable_lsd | lt.torrent_flags.disable_pex
handle = session.add_torrent(parameters)


said_stopped = False


def wait_while(condition):
    global said_stopped
    while condition():
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            print(alert, file=sys.stderr)
            said_stopped |= isinstance(alert, lt.tracker_announce_alert) and "(stopped)" in str(alert)


def is_announcing():
    return any(tracker["updating"] for tracker in handle.trackers())


wait_while(lambda: not handle.status().is_seeding)
print("complete", flush=True)
sys.stdin.read()
# libtorrent (2.0.8) leaves `stopped` out while the answer to another announce is outstanding, as that to `completed` may be: a
# scrape shows it as soon as the tracker knows of it.
wait_while(is_announcing)
# A paused torrent leaves its swarm, and the session stays: one that ends may close its UDP socket before `stopped` is sent.
handle.unset_flags(lt.torrent_flags.auto_managed)
handle.pause()
wait_while(lambda: not said_stopped or is_announcing())
