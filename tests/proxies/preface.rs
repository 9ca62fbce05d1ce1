//! Proxies that name their clients before the first request, by the PROXY protocol.

use crate::clients::{HEADER, over_http, over_tls, two_clients_meet};
use crate::proxy::{Behind, Proxy};

/// What a client writes who wants to be somebody else.
const FORGED: &str = "X-Forwarded-For: 127.0.0.99\r\n";

#[test]
fn haproxy_send_proxy() {
    for mode in ["tcp", "http"] {
        let tracker = Behind::preface();
        let proxy = Proxy::haproxy_before(tracker.address, mode, "send-proxy", "");
        two_clients_meet(&over_http(proxy.address, FORGED));
    }
}

#[test]
fn haproxy_send_proxy_v2_that_checks_the_tracker_meanwhile() {
    for mode in ["tcp", "http"] {
        let tracker = Behind::preface();
        // A check is a LOCAL, and in http mode an OPTIONS behind it: one that fails takes the
        // tracker down, and the clients get a 503.
        let server = "send-proxy-v2 check check-send-proxy inter 50ms fall 1";
        let more = if mode == "http" { "option httpchk" } else { "" };
        let proxy = Proxy::haproxy_before(tracker.address, mode, server, more);
        for _ in 0..3 {
            two_clients_meet(&over_http(proxy.address, FORGED));
        }
    }
}

#[test]
fn nginx_stream() {
    let tracker = Behind::preface();
    let proxy = Proxy::nginx_stream(&format!(
        "server {{ listen LISTEN; proxy_pass {}; proxy_protocol on; }}",
        tracker.address
    ));
    two_clients_meet(&over_http(proxy.address, FORGED));
}

#[test]
fn hitch_for_tls() {
    let tracker = Behind::preface();
    let proxy = Proxy::hitch_before(tracker.address);
    two_clients_meet(&over_tls(proxy.address));
}

/// The preface names the outer proxy, which is trusted, so its header counts.
#[test]
fn a_header_behind_a_preface_that_names_a_trusted_proxy() {
    let tracker = Behind::preface();
    let inner = Proxy::haproxy_before(tracker.address, "tcp", "send-proxy-v2", "");
    let outer = Proxy::haproxy_before(inner.address, "http", "", "option forwardfor");
    two_clients_meet(&over_http(outer.address, FORGED));
}

/// The same proxies the other way round: TLS outside, and the load balancer behind it passes the
/// address on.
#[test]
fn hitch_before_haproxy_that_says_it_in_a_header() {
    let tracker = Behind::header(HEADER);
    let inner = Proxy::haproxy(&format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server \
         30s\nlisten tracker\n  bind LISTEN accept-proxy\n  option forwardfor\n  server tracker \
         {}\n",
        tracker.address
    ));
    let outer = Proxy::hitch_before(inner.address);
    two_clients_meet(&over_tls(outer.address));
}
