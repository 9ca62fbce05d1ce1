//! Strange but honest requests that the field sends: raw bytes in, what is answered.
//!
//! Each row was refused, or led elsewhere, before it stood here.

use crate::tests::story::{Site, exact};

/// What lacks nothing, from a leecher.
const QUERY: &str = "info_hash=hhhhhhhhhhhhhhhhhhhh&peer_id=-XX0001-abcdefghijkl&port=6881&\
                     uploaded=0&downloaded=0&left=1";

/// What a request from 9.9.9.2 is told when a seeder is there already.
fn told(request: &str) -> String {
    let mut site = Site::new(exact());
    let seeder = QUERY.replace("left=1", "left=0");
    site.exchange("9.9.9.1", format!("GET /announce?{seeder} HTTP/1.1\r\n\r\n").as_bytes());
    site.exchange("9.9.9.2", request.as_bytes())
}

fn told_target(target: &str) -> String {
    told(&format!("GET {target} HTTP/1.1\r\nHost: tracker.example\r\n\r\n"))
}

#[test]
fn announces_reach_their_swarm_whatever_a_sites_urls_look_like() {
    let rows = [
        ("UNIT3D, torrust: the key behind", format!("/announce/0123456789abcdef?{QUERY}")),
        ("a slash at the end", format!("/announce/?{QUERY}")),
        ("any path behind", format!("/any/announceStrange/path/?{QUERY}")),
        ("a URL that has a query already", format!("/announce?passkey=K?{QUERY}")),
        ("the same to the root", format!("/?passkey=K?{QUERY}")),
        ("a fragment", format!("/announce?{QUERY}#comment")),
        ("a space at the end of the URL (libtorrent)", format!("/announce ?{QUERY}")),
        ("a space behind a passkey", format!("/announce?passkey=K &{QUERY}")),
        ("a space at the end", format!("/announce?{QUERY}&tracker=x ")),
    ];
    for (name, target) in rows {
        let reply = told_target(&target);
        assert!(reply.contains("8:completei1e"), "{name}: {reply}");
        assert!(reply.contains("10:incompletei1e"), "{name}: {reply}");
    }
}

#[test]
fn a_seeder_stays_one_with_a_fragment_behind_its_left() {
    let reply = told_target(&format!("/announce?{}#x", QUERY.replace("left=1", "left=0")));
    assert!(reply.contains("8:completei2e"), "{reply}");
}

#[test]
fn scrapes_reach_their_torrent_and_any_page_may_read_them() {
    for target in [
        "/scrape?info_hash=hhhhhhhhhhhhhhhhhhhh",
        "/scrape/0123456789abcdef?info_hash=hhhhhhhhhhhhhhhhhhhh",
        "/scrape/?info_hash=hhhhhhhhhhhhhhhhhhhh",
        "/scrape?passkey=K?info_hash=hhhhhhhhhhhhhhhhhhhh#x",
    ] {
        let reply = told_target(target);
        assert!(reply.contains("20:hhhhhhhhhhhhhhhhhhhhd8:completei1e"), "{target}: {reply}");
        assert!(reply.contains("\nAccess-Control-Allow-Origin: *\n"), "{target}: {reply}");
    }
}

#[test]
fn a_misspelt_scrape_is_told_what_is_missing() {
    let reply = told_target("/scrape?infohash=hhhhhhhhhhhhhhhhhhhh");
    assert!(reply.contains("#1 the required field info_hash is missing"), "{reply}");
}

#[test]
fn an_answer_is_not_to_be_stored_when_a_proxy_was_in_between() {
    let through = |header: &str| {
        told(&format!("GET /announce?{QUERY} HTTP/1.1\r\nHost: tracker.example{header}\r\n\r\n"))
    };
    for header in
        ["Via: 1.1 varnish (Varnish/7.1)", "X-Forwarded-For: 9.9.9.2", "Forwarded: for=9.9.9.2"]
    {
        let reply = through(&format!("\r\n{header}"));
        assert!(reply.contains("\nCache-Control: no-store\n"), "{header}: {reply}");
    }
    assert!(!through("").contains("Cache-Control"), "nobody was in between");
}

#[test]
fn a_health_check_by_options_finds_the_tracker_well_on_any_path() {
    for request in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: tracker.example\r\n\r\n",
        "OPTIONS /announce HTTP/1.1\r\nOrigin: https://site.example\r\n\r\n",
    ] {
        let reply = told(request);
        assert!(
            reply.starts_with("HTTP/1.1 200 OK\nAllow: GET, HEAD, OPTIONS\n"),
            "{request}: {reply}"
        );
        assert!(reply.ends_with("\n\n"), "a body: {reply}");
    }
    assert!(told("PUT / HTTP/1.1\r\n\r\n").contains("\nAllow: GET, HEAD, OPTIONS\n"), "405");
}

#[test]
fn search_engines_are_asked_to_stay_away() {
    let reply = told_target("/robots.txt");
    assert!(reply.ends_with("\n\nUser-agent: *\\nDisallow: /\\n"), "{reply}");
}
