//! Proxies that name their clients in a header.

use std::net::{Ipv4Addr, SocketAddr};

use crate::clients::{
    HEADER, a_direct_client_is_itself, nobody_is_stored, over_http, two_clients_meet,
};
use crate::proxy::{Behind, Proxy};
use crate::support::tracker::Tracker;

/// What a client writes who wants to be somebody else.
const FORGED: &str = "X-Forwarded-For: 127.0.0.99\r\nX-Real-IP: 127.0.0.99\r\nForwarded: \
                      for=127.0.0.99\r\n";

/// An nginx `server` that passes everything on, with `more` directives.
fn nginx_server(tracker: SocketAddr, more: &str) -> String {
    format!(
        "upstream tracker {{ server {tracker}; keepalive 4; }}\nserver {{\nlisten \
         LISTEN;\nlocation / {{\nproxy_pass http://tracker;\n{more}\n}}\n}}\n"
    )
}

#[test]
fn without_a_proxy_the_story_is_the_same() {
    let tracker = Tracker::start(Ipv4Addr::LOCALHOST.into(), "");
    two_clients_meet(&over_http(tracker.address, FORGED));
}

#[test]
fn haproxy_in_http_mode() {
    let tracker = Behind::header(HEADER);
    let proxy = Proxy::haproxy_before(tracker.address, "http", "", "option forwardfor");
    two_clients_meet(&over_http(proxy.address, FORGED));
}

#[test]
fn haproxy_with_one_kept_connection_for_all_clients() {
    let tracker = Behind::header(HEADER);
    let more = "option forwardfor\n  http-reuse always";
    let proxy = Proxy::haproxy_before(tracker.address, "http", "maxconn 1", more);
    two_clients_meet(&over_http(proxy.address, FORGED));
}

#[test]
fn haproxy_that_does_not_name_its_clients() {
    for mode in ["http", "tcp"] {
        let tracker = Behind::header(HEADER);
        let proxy = Proxy::haproxy_before(tracker.address, mode, "", "");
        nobody_is_stored(&tracker, &over_http(proxy.address, ""));
    }
}

#[test]
fn nginx_as_everybody_sets_it_up() {
    let tracker = Behind::header(HEADER);
    let more = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
    let proxy = Proxy::nginx(&nginx_server(tracker.address, more));
    two_clients_meet(&over_http(proxy.address, FORGED));
}

#[test]
fn nginx_with_kept_connections() {
    let tracker = Behind::header(HEADER);
    let more = "proxy_http_version 1.1;\nproxy_set_header Connection \"\";\nproxy_set_header \
                X-Forwarded-For $proxy_add_x_forwarded_for;";
    let proxy = Proxy::nginx(&nginx_server(tracker.address, more));
    two_clients_meet(&over_http(proxy.address, FORGED));
}

#[test]
fn nginx_that_sets_only_x_real_ip_and_passes_the_clients_own_headers_on() {
    let tracker = Behind::header("X-Real-IP");
    let more = "proxy_set_header X-Real-IP $remote_addr;";
    let proxy = Proxy::nginx(&nginx_server(tracker.address, more));
    two_clients_meet(&over_http(proxy.address, FORGED));
}

#[test]
fn nginx_that_says_forwarded() {
    let tracker = Behind::header("Forwarded");
    let more = "proxy_set_header Forwarded \"$http_forwarded, for=$remote_addr\";";
    let proxy = Proxy::nginx(&nginx_server(tracker.address, more));
    two_clients_meet(&over_http(proxy.address, FORGED));
}

#[test]
fn nginx_that_does_not_name_its_clients() {
    let tracker = Behind::header(HEADER);
    let proxy = Proxy::nginx(&nginx_server(tracker.address, ""));
    nobody_is_stored(&tracker, &over_http(proxy.address, ""));
}

#[test]
fn a_client_without_a_proxy_cannot_say_who_it_is() {
    for header in [HEADER, "X-Real-IP", "Forwarded"] {
        a_direct_client_is_itself(&Behind::header(header), FORGED);
    }
}
