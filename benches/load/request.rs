//! The requests: qBittorrent's, made once, with only what differs written into them.
//!
//! All announces of a load are equally long, so that the bare server can tell how many it has read
//! without looking at them.

use crate::population::{ESCAPED_BYTES, Peer, Population};

/// `-qB4650-` and twelve characters of the peer's own.
const PEER_ID_PREFIX: &str = "-qB4650-";
const PEER_ID_OWN_BYTES: usize = 12;
const PORT_BYTES: usize = 5;
const SEEDING: &[u8; PROGRESS_BYTES] = b"downloaded=1483407360&left=0";
const LEECHING: &[u8; PROGRESS_BYTES] = b"downloaded=0&left=1483407360";
const PROGRESS_BYTES: usize = 28;

/// A request with its gaps.
#[derive(Clone)]
pub(crate) struct Form {
    text: Vec<u8>,
    hash: usize,
    /// What an announce has beside the hash: places of the peer id, the port and the progress.
    announce: Option<(usize, usize, usize)>,
}

impl Form {
    /// An announce; of a connection that stays or closes, of a peer that is new or comes back.
    pub(crate) fn announce(keep_alive: bool, numwant: u16, started: bool) -> Form {
        let hash = "0".repeat(ESCAPED_BYTES);
        let own = "0".repeat(PEER_ID_OWN_BYTES);
        let progress = str::from_utf8(LEECHING).unwrap_or_default();
        let event = if started { "&event=started" } else { "" };
        let text = format!(
            "GET /announce?info_hash={hash}&peer_id={PEER_ID_PREFIX}{own}&port=00000&uploaded=0&\
             {progress}&corrupt=0&key=C87A7012{event}&numwant={numwant}&compact=1&no_peer_id=1&\
             supportcrypto=1&redundant=0 HTTP/1.1\r\nHost: tracker.example:6969\r\nUser-Agent: \
             qBittorrent/4.6.5\r\nAccept-Encoding: gzip\r\n{}\r\n",
            connection(keep_alive),
        );
        let at = |name: &str| text.find(name).map_or(0, |at| at + name.len());
        let announce = Some((at(PEER_ID_PREFIX), at("&port="), at("&uploaded=0&")));
        Form { hash: at("info_hash="), announce, text: text.into_bytes() }
    }

    /// A scrape of one torrent.
    pub(crate) fn scrape(keep_alive: bool) -> Form {
        let text = format!(
            "GET /scrape?info_hash={} HTTP/1.1\r\nHost: tracker.example:6969\r\nUser-Agent: \
             qBittorrent/4.6.5\r\nAccept-Encoding: gzip\r\n{}\r\n",
            "0".repeat(ESCAPED_BYTES),
            connection(keep_alive),
        );
        Form {
            hash: text.find('=').map_or(0, |at| at + 1),
            announce: None,
            text: text.into_bytes(),
        }
    }

    /// Bytes of the request.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Appends the request of a peer.
    pub(crate) fn append(&self, peer: Peer, population: &Population, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.text);
        let request = &mut out[begin..];
        population.write_escaped(peer.torrent(), &mut request[self.hash..]);
        if let Some((peer_id, port, progress)) = self.announce {
            write_digits(
                u64::from(peer.address) << 16 | u64::from(peer.port),
                &mut request[peer_id..][..PEER_ID_OWN_BYTES],
            );
            write_digits(u64::from(peer.port), &mut request[port..][..PORT_BYTES]);
            let text = if peer.is_seeder() { SEEDING } else { LEECHING };
            request[progress..][..PROGRESS_BYTES].copy_from_slice(text);
        }
    }
}

fn connection(keep_alive: bool) -> &'static str {
    if keep_alive { "" } else { "Connection: close\r\n" }
}

/// Fills `place` with a number's last digits.
fn write_digits(mut number: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
    }
}
