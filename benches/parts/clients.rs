//! What real clients send, byte for byte; src/tests/clients.rs says what it means.

/// The client, and one of its announces.
pub(crate) const CLIENTS: &[(&str, &[u8])] = &[
    (
        "qBittorrent",
        b"GET /announce?info_hash=%02%e9%b0%c8r%1d%80%ff%00%9a%fe%4d%3fr%a3-_.%7e%0a\
          &peer_id=-qB4650-EXuLFbgw!r!_&port=6881&uploaded=0&downloaded=0&left=1483407360&corrupt=0\
          &key=C87A7012&event=started&numwant=200&compact=1&no_peer_id=1&supportcrypto=1\
          &redundant=0 HTTP/1.1\r\nHost: tracker.example:6969\r\nUser-Agent: qBittorrent/4.6.5\r\n\
          Accept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    ),
    (
        "Deluge",
        b"GET /announce?info_hash=%af%1e%3d%ad%25j%b7%0d%bcrH0Z%a8%d3%a68%3c%27%7b\
          &peer_id=-DE13F0-EXuLFbgw!r!_&port=1&uploaded=0&downloaded=0&left=16384&corrupt=0\
          &key=599CC07&event=stopped&numwant=0&compact=1&no_peer_id=1&supportcrypto=1\
          &redundant=0 HTTP/1.1\r\nHost: 192.0.2.1:6969\r\n\
          User-Agent: Deluge/1.3.15 libtorrent/1.1.14.0\r\nAccept-Encoding: gzip\r\n\
          Connection: close\r\n\r\n",
    ),
    (
        "Transmission",
        b"GET /announce?info_hash=%C3%9A%1A%0D%C3%AF%C2%B3%5Dc%C2%A2%18%C3%BC~%B0%00%01%02\
          &peer_id=-TR4060-5b9w3lrqj8xo&port=51413&uploaded=0&downloaded=0&left=9223372036854775807\
          &numwant=80&key=0AA3C86F&compact=1&supportcrypto=1&requirecrypto=1\
          &event=started HTTP/1.1\r\nHost: tracker.example:6969\r\n\
          User-Agent: Transmission/4.0.6\r\nAccept: */*\r\n\
          Accept-Encoding: deflate, gzip, br, zstd\r\n\r\n",
    ),
    (
        "aria2",
        b"GET /announce.php?info_hash=aaaaaaaaaaaaaaaaaaaa\
          &peer_id=A2%2D1%2D37%2D0%2D%5C%F2%A0%01%80%FF%7FxYz&uploaded=0&downloaded=1048576&left=0\
          &compact=1&key=%01%80%FF%7FxYz%00&numwant=50&no_peer_id=1&port=6881&event=completed\
          &supportcrypto=1&ip=203.0.113.9 HTTP/1.1\r\nUser-Agent: aria2/1.37.0\r\nAccept: */*\r\n\
          Host: 192.0.2.1:6969\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
          Connection: close\r\nWant-Digest: SHA-512;q=1, SHA;q=0.1\r\n\r\n",
    ),
    (
        "rTorrent",
        b"GET /announce?info_hash=%7D%DF%8E%2B%0Bz%A3%0D%93%7C%90%D5%C8%F2%00%FF-%5F%2E%7E\
          &peer_id=-lt0D80-a%D4%10%19%99%A6yh%9A%E1%CD%96&key=7f3a0c11&compact=1&port=54434\
          &uploaded=885&downloaded=0&left=0 HTTP/1.1\r\nUser-Agent: rtorrent/0.9.8/0.13.8\r\n\
          Host: tracker.example\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip\r\n\r\n",
    ),
    (
        "anacrolix",
        b"GET /announce?compact=1&downloaded=0&event=started&info_hash=%00%01%02aaaaaaaaaaaaaaaaa\
          &ip=2001%3Adb8%3A%3A1&ipv6=2001%3Adb8%3A%3A1&key=-1462018013&left=9223372036854775807\
          &peer_id=-GT0003-%8DU%22%B0%C1%00%FF%3C%10%99%AA%BB&port=42069&supportcrypto=1\
          &uploaded=0 HTTP/1.1\r\nHost: tracker.example\r\nUser-Agent: anacrolix/torrent\r\n\
          Accept-Encoding: gzip\r\n\r\n",
    ),
    (
        "BiglyBT",
        b"GET /announce?info_hash=%06q3%AC%E5%DD%0CP%27%B9%9D%E5%D4%BAQ*-_.%20\
          &peer_id=-BI3800-Suuay04hIXmq&requirecrypto=1&port=0&cryptoport=6881&azudp=6881\
          &uploaded=0&downloaded=0&left=16384&corrupt=0&event=started&numwant=100&no_peer_id=1\
          &compact=1&key=gWM1LaJa&azver=3&&=&== HTTP/1.1\r\n\
          User-Agent: BiglyBT 3.8.0.0;Linux;Java 21\r\nConnection: close\r\n\
          Accept-Encoding: gzip\r\nHost: tracker.example\r\n\
          Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n\r\n",
    ),
    (
        "WebTorrent",
        b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa\
          &peer_id=-WW0102-%8dU%22%b0%c1%00%ff%3c%10%99%aa%bb&port=6881&left&uploaded=0\
          &downloaded=0&event=started&numwant=50&compact=1 HTTP/1.1\r\nhost: tracker.example\r\n\
          user-agent: WebTorrent/0.102.4\r\naccept-encoding: gzip\r\nconnection: keep-alive\r\n\
          \r\n",
    ),
    (
        "raw bytes",
        b"GET /announce?info_hash=\xff\xfe\x80\x9aaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb\
          &port=6881&uploaded=0&downloaded=0&left=9999999999999999999999&event=started\
          &supportcrypto=1 HTTP/1.1\r\nConnection: close\r\n\r\n",
    ),
];
