//! Announces and scrapes byte for byte as real clients send them, against what they mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ids::{Crypto, Event, InfoHash, PeerId};
use crate::wire::announce::Announce;
use crate::wire::http::head::Method;
use crate::wire::http::request::{Parsed, parse};
use crate::wire::http::route::{Route, route};
use crate::wire::scrape::Hashes;

/// The default request limit.
pub(super) const REQUEST_BYTES_MAX: usize = 8192;

struct Row {
    client: &'static str,
    request: &'static [u8],
    keep_alive: bool,
    accepts_gzip: bool,
    announce: Announce,
}

/// What most clients send; a row says where its client differs.
const USUAL: Announce = Announce {
    info_hash: InfoHash([b'a'; 20]),
    peer_id: PeerId([b'b'; 20]),
    port: 6881,
    seeder: false,
    event: Event::Started,
    numwant: None,
    compact: true,
    no_peer_id: false,
    ip: None,
    crypto: Crypto::Supported,
};

const ROWS: &[Row] = &[
    Row {
        client: "qBittorrent starts: lower-case escapes among raw letters",
        request: b"GET /announce?info_hash=%02%e9%b0%c8r%1d%80%ff%00%9a%fe%4d%3fr%a3-_.%7e%0a\
            &peer_id=-qB4650-EXuLFbgw!r!_\
            &port=6881&uploaded=0&downloaded=0&left=1483407360&corrupt=0&key=C87A7012\
            &event=started&numwant=200&compact=1\
            &no_peer_id=1&supportcrypto=1&redundant=0 HTTP/1.1\r\nHost: tracker.example:6969\r\n\
            User-Agent: qBittorrent/4.6.5\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        keep_alive: false,
        accepts_gzip: true,
        announce: Announce {
            info_hash: InfoHash(*b"\x02\xe9\xb0\xc8r\x1d\x80\xff\x00\x9a\xfe\x4d\x3fr\xa3-_.~\n"),
            peer_id: PeerId(*b"-qB4650-EXuLFbgw!r!_"),
            numwant: Some(200),
            no_peer_id: true,
            ..USUAL
        },
    },
    Row {
        client: "Deluge stops, without metadata and without listening",
        request: b"GET /announce?info_hash=%af%1e%3d%ad%25j%b7%0d%bcrH0Z%a8%d3%a68%3c%27%7b\
            &peer_id=-DE13F0-EXuLFbgw!r!_&port=1\
            &uploaded=0&downloaded=0&left=16384&corrupt=0&key=599CC07&event=stopped&numwant=0\
            &compact=1&no_peer_id=1\
            &supportcrypto=1&redundant=0 HTTP/1.1\r\nHost: 192.0.2.1:6969\r\n\
            User-Agent: Deluge/1.3.15 libtorrent/1.1.14.0\r\n\
            Accept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        keep_alive: false,
        accepts_gzip: true,
        announce: Announce {
            info_hash: InfoHash(*b"\xaf\x1e\x3d\xad%j\xb7\x0d\xbcrH0Z\xa8\xd3\xa68<'{"),
            peer_id: PeerId(*b"-DE13F0-EXuLFbgw!r!_"),
            port: 1,
            event: Event::Stopped,
            numwant: Some(0),
            no_peer_id: true,
            ..USUAL
        },
    },
    Row {
        client: "libtorrent is paused, behind a passkey, and tells its IPv6 addresses",
        request: b"GET /0123456789abcdef/announce?info_hash=aaaaaaaaaaaaaaaaaaaa\
            &peer_id=bbbbbbbbbbbbbbbbbbbb&port=8110&uploaded=5\
            &downloaded=7&left=292552704&corrupt=0&key=06825FE3&event=paused&numwant=200&compact=1\
            &no_peer_id=1\
            &supportcrypto=1&redundant=0&ipv6=2001%3adb8%3a%3a1\
            &ipv6=2001%3adb8%3a%3a2 HTTP/1.1\r\nHost: tracker.example\r\n\
            User-Agent: libtorrent/2.0.10.0\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        keep_alive: false,
        accepts_gzip: true,
        announce: Announce {
            port: 8110,
            event: Event::Update,
            numwant: Some(200),
            no_peer_id: true,
            ..USUAL
        },
    },
    Row {
        client: "Transmission has only a magnet link: left is 2^63-1, the connection stays",
        request:
            b"GET /announce?info_hash=%C3%9A%1A%0D%C3%AF%C2%B3%5Dc%C2%A2%18%C3%BC~%B0%00%01%02\
            &peer_id=-TR4060-5b9w3lrqj8xo\
            &port=51413&uploaded=0&downloaded=0&left=9223372036854775807&numwant=80&key=0AA3C86F\
            &compact=1&supportcrypto=1\
            &requirecrypto=1&event=started HTTP/1.1\r\nHost: tracker.example:6969\r\n\
            User-Agent: Transmission/4.0.6\r\n\
            Accept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n\r\n",
        keep_alive: true,
        accepts_gzip: true,
        announce: Announce {
            info_hash: InfoHash(
                *b"\xc3\x9a\x1a\x0d\xc3\xaf\xc2\xb3]c\xc2\xa2\x18\xc3\xbc~\xb0\x00\x01\x02",
            ),
            peer_id: PeerId(*b"-TR4060-5b9w3lrqj8xo"),
            port: 51413,
            numwant: Some(80),
            crypto: Crypto::Required,
            ..USUAL
        },
    },
    Row {
        client: "aria2 has finished: an escaped key, the port near the end, an address of its own",
        request: b"GET /announce.php?info_hash=aaaaaaaaaaaaaaaaaaaa\
            &peer_id=A2%2D1%2D37%2D0%2D%5C%F2%A0%01%80%FF%7FxYz&uploaded=0\
            &downloaded=1048576&left=0&compact=1&key=%01%80%FF%7FxYz%00&numwant=50&no_peer_id=1\
            &port=6881&event=completed\
            &supportcrypto=1&ip=203.0.113.9 HTTP/1.1\r\nUser-Agent: aria2/1.37.0\r\n\
            Accept: */*\r\nHost: 192.0.2.1:6969\r\n\
            Pragma: no-cache\r\nCache-Control: no-cache\r\nConnection: close\r\n\
            Want-Digest: SHA-512;q=1, SHA;q=0.1\r\n\r\n",
        keep_alive: false,
        accepts_gzip: false,
        announce: Announce {
            peer_id: PeerId(*b"A2-1-37-0-\\\xf2\xa0\x01\x80\xff\x7fxYz"),
            seeder: true,
            event: Event::Completed,
            numwant: Some(50),
            no_peer_id: true,
            ip: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9))),
            ..USUAL
        },
    },
    Row {
        client: "rTorrent: compact second to last but always, no encryption fields",
        request:
            b"GET /announce?info_hash=%7D%DF%8E%2B%0Bz%A3%0D%93%7C%90%D5%C8%F2%00%FF-%5F%2E%7E\
            &peer_id=-lt0D80-a%D4%10%19%99\
            %A6yh%9A%E1%CD%96&key=7f3a0c11&compact=1&port=54434&uploaded=885&downloaded=0\
            &left=0 HTTP/1.1\r\n\
            User-Agent: rtorrent/0.9.8/0.13.8\r\nHost: tracker.example\r\nAccept: */*\r\n\
            Accept-Encoding: deflate, gzip\r\n\r\n",
        keep_alive: true,
        accepts_gzip: true,
        announce: Announce {
            info_hash: InfoHash(*b"\x7d\xdf\x8e+\x0bz\xa3\x0d\x93|\x90\xd5\xc8\xf2\x00\xff-_.~"),
            peer_id: PeerId(*b"-lt0D80-a\xd4\x10\x19\x99\xa6yh\x9a\xe1\xcd\x96"),
            port: 54434,
            seeder: true,
            event: Event::Update,
            crypto: Crypto::None,
            ..USUAL
        },
    },
    Row {
        client: "anacrolix sorts its keys, and its key is negative",
        request: b"GET /announce?compact=1&downloaded=0&event=started\
            &info_hash=%00%01%02aaaaaaaaaaaaaaaaa&ip=2001%3Adb8%3A%3A1\
            &ipv6=2001%3Adb8%3A%3A1&key=-1462018013&left=9223372036854775807\
            &peer_id=-GT0003-%8DU%22%B0%C1%00%FF%3C%10%99%AA%BB\
            &port=42069&supportcrypto=1&uploaded=0 HTTP/1.1\r\nHost: tracker.example\r\n\
            User-Agent: anacrolix/torrent\r\nAccept-Encoding: gzip\r\n\r\n",
        keep_alive: true,
        accepts_gzip: true,
        announce: Announce {
            info_hash: InfoHash(*b"\x00\x01\x02aaaaaaaaaaaaaaaaa"),
            peer_id: PeerId(*b"-GT0003-\x8dU\"\xb0\xc1\x00\xff<\x10\x99\xaa\xbb"),
            port: 42069,
            ip: Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
            ..USUAL
        },
    },
    Row {
        client: "BiglyBT requires encryption: no port but a cryptoport, a broken tail",
        request: b"GET /announce?info_hash=%06q3%AC%E5%DD%0CP%27%B9%9D%E5%D4%BAQ*-_.%20\
            &peer_id=-BI3800-Suuay04hIXmq\
            &requirecrypto=1&port=0&cryptoport=6881&azudp=6881&uploaded=0&downloaded=0&left=16384\
            &corrupt=0&event=started\
            &numwant=100&no_peer_id=1&compact=1&key=gWM1LaJa&azver=3&&=&== HTTP/1.1\r\n\
            User-Agent: BiglyBT 3.8.0.0;Linux;Java 21\r\nConnection: close\r\n\
            Accept-Encoding: gzip\r\nHost: tracker.example\r\n\
            Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n\r\n",
        keep_alive: false,
        accepts_gzip: true,
        announce: Announce {
            info_hash: InfoHash(*b"\x06q3\xac\xe5\xdd\x0cP'\xb9\x9d\xe5\xd4\xbaQ*-_. "),
            peer_id: PeerId(*b"-BI3800-Suuay04hIXmq"),
            numwant: Some(100),
            no_peer_id: true,
            crypto: Crypto::Required,
            ..USUAL
        },
    },
    Row {
        client: "WebTorrent of old: left is a bare key",
        request: b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa\
            &peer_id=-WW0102-%8dU%22%b0%c1%00%ff%3c%10%99%aa%bb&port=6881&left\
            &uploaded=0&downloaded=0&event=started&numwant=50&compact=1 HTTP/1.1\r\n\
            host: tracker.example\r\n\
            user-agent: WebTorrent/0.102.4\r\naccept-encoding: gzip\r\nconnection: keep-alive\r\n\
            \r\n",
        keep_alive: true,
        accepts_gzip: true,
        announce: Announce {
            peer_id: PeerId(*b"-WW0102-\x8dU\"\xb0\xc1\x00\xff<\x10\x99\xaa\xbb"),
            numwant: Some(50),
            crypto: Crypto::None,
            ..USUAL
        },
    },
    Row {
        client: "newTrackon probes: no event, and an address it does not have",
        request: b"GET /announce?info_hash=a+%2Baaaaaaaaaaaaaaaaa&peer_id=-qB4390-aaaaaaaaaaaa\
            &port=6881&uploaded=0&downloaded=0\
            &left=0&compact=1&ipv6=None&ipv4=198.51.100.7 HTTP/1.1\r\nHost: tracker.example\r\n\
            User-Agent: qBittorrent/4.3.9\r\n\
            Accept-Encoding: gzip\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        keep_alive: false,
        accepts_gzip: true,
        announce: Announce {
            info_hash: InfoHash(*b"a +aaaaaaaaaaaaaaaaa"),
            peer_id: PeerId(*b"-qB4390-aaaaaaaaaaaa"),
            seeder: true,
            event: Event::Update,
            crypto: Crypto::None,
            ..USUAL
        },
    },
    Row {
        client: "a client of 2004 through a proxy: absolute target, HTTP/1.0, dictionaries, every \
                 number negative",
        request: b"GET http://tracker.example:6969/announce?info_hash=aaaaaaaaaaaaaaaaaaaa\
            &peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881\
            &uploaded=-1&downloaded=-1&left=-1&event=&numwant=-1\
            &compact=0 HTTP/1.0\nHost: proxy.example:3128\n\
            Proxy-Connection: keep-alive\n\n",
        keep_alive: false,
        accepts_gzip: false,
        announce: Announce { event: Event::Update, compact: false, crypto: Crypto::None, ..USUAL },
    },
    Row {
        client: "raw bytes where they should be escaped, UTF-8 by chance",
        request: b"GET /announce?info_hash=\xc3\xa9\xc3\xa9aaaaaaaaaaaaaaaa\
            &peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881&uploaded=0\
            &downloaded=0&left=18446744073709551615&event=started&supportcrypto=1 HTTP/1.1\r\n\r\n",
        keep_alive: true,
        accepts_gzip: false,
        announce: Announce { info_hash: InfoHash(*b"\xc3\xa9\xc3\xa9aaaaaaaaaaaaaaaa"), ..USUAL },
    },
    Row {
        client: "raw bytes where they should be escaped, not UTF-8",
        request: b"GET /announce?info_hash=\xff\xfe\x80\x9aaaaaaaaaaaaaaaaa\
            &peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881&uploaded=0\
            &downloaded=0&left=9999999999999999999999&event=started&supportcrypto=1 HTTP/1.1\r\n\
            Connection: close\r\n\r\n",
        keep_alive: false,
        accepts_gzip: false,
        announce: Announce { info_hash: InfoHash(*b"\xff\xfe\x80\x9aaaaaaaaaaaaaaaaa"), ..USUAL },
    },
];

/// Every request above, with who sends it.
pub(super) fn requests_by_client() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    ROWS.iter().map(|row| (row.client, row.request))
}

/// The same, for tests that only want bytes worth having.
pub(super) fn requests() -> impl Iterator<Item = &'static [u8]> {
    ROWS.iter().map(|row| row.request)
}

#[test]
fn announces_mean_what_their_clients_mean() {
    for row in ROWS {
        let client = row.client;
        let Ok(Parsed::Complete { head, consumed }) = parse(row.request, REQUEST_BYTES_MAX) else {
            panic!("{client}: not a request");
        };
        assert_eq!(consumed, row.request.len(), "{client}");
        assert_eq!(head.method, Method::Get, "{client}");
        assert_eq!(head.keep_alive, row.keep_alive, "keeps the connection, {client}");
        assert_eq!(head.accepts_gzip(), row.accepts_gzip, "accepts gzip, {client}");
        assert!(!head.has_body, "has a body, {client}");
        assert!(!head.proxied, "came by a proxy, {client}");
        let Route::Announce(query) = route(head.target) else {
            panic!("{client}: not an announce");
        };
        assert_eq!(Announce::parse(query), Ok(row.announce), "{client}");
        assert_eq!(row.announce.listening(), row.announce.port != 1, "{client}");
    }
}

#[test]
fn transmissions_scrape_of_sixty_torrents_fits_the_request_limit() {
    let target: String = (0..60)
        .map(|byte| format!("&info_hash={}", format!("%{:02X}", byte | 0x80).repeat(20)))
        .collect();
    let request = format!(
        "GET /scrape?{} HTTP/1.1\r\nHost: tracker.example\r\nUser-Agent: \
         Transmission/4.0.6\r\nAccept: */*\r\n\r\n",
        &target[1..]
    );
    assert!(request.len() > 4300);
    let Ok(Parsed::Complete { head, .. }) = parse(request.as_bytes(), REQUEST_BYTES_MAX) else {
        panic!("not a request");
    };
    let Route::Scrape(query) = route(head.target) else {
        panic!("not a scrape");
    };
    let expected: Vec<_> = (0..60).map(|byte| InfoHash([byte | 0x80; 20])).collect();
    assert_eq!(Hashes::parse(query).unwrap().unwrap().as_slice(), expected);
}
