//! The first lines on stdout: what runs, where it listens, and under which URLs it is announced to.
//!
//! Never: looks at the network. The host in a URL is the setting's or the machine's own name.

use std::fs;
use std::net::SocketAddr;

use announced::config::Config;
use announced::daemon::Daemon;

/// The lines for a tracker that has started.
pub(crate) fn announcement(daemon: &Daemon, config: &Config) -> String {
    let site = format!(
        "{} tracker, {}, database {}",
        config.tracker.mode,
        count(daemon.workers(), "worker"),
        config.database.url
    );
    let listening = Addresses {
        http: daemon.addresses(),
        udp: daemon.udp_addresses(),
        admin: daemon.admin_address(),
    };
    start_up_lines(&site, &listening, &config.server.public_url)
}

/// Where the tracker listens.
struct Addresses<'d> {
    http: &'d [SocketAddr],
    udp: &'d [SocketAddr],
    admin: Option<SocketAddr>,
}

/// The lines on stdout that say the tracker serves, and under which URLs.
fn start_up_lines(site: &str, listening: &Addresses<'_>, public_url: &str) -> String {
    let Addresses { http, udp, admin } = *listening;
    let mut lines = format!("announced {}: {site}\n", env!("CARGO_PKG_VERSION"));
    lines.extend(http.iter().map(|address| format!("listening on {address}\n")));
    lines.extend(udp.iter().map(|address| format!("listening on {address} for UDP\n")));
    let host = host_of(public_url).map_or_else(hostname, str::to_owned);
    let url = |scheme, address: &SocketAddr| {
        format!("announce URL {}\n", announce_url(scheme, *address, &host))
    };
    if public_url.is_empty() {
        lines.extend(http.iter().map(|address| url("http", address)));
    } else {
        lines.push_str(&format!("announce URL {public_url}\n"));
    }
    if !public_url.starts_with("udp://") {
        lines.extend(udp.iter().map(|address| url("udp", address)));
    }
    lines.extend(admin.map(|address| format!("status page http://{address}/\n")));
    lines
}

/// The host of the public URL: others reach UDP under it as well.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    Some(&authority[..port_at.unwrap_or(authority.len())])
}

/// What to put into a torrent. An unspecified address is reached under the machine's name.
fn announce_url(scheme: &str, address: SocketAddr, hostname: &str) -> String {
    match address.ip().is_unspecified() {
        true => format!("{scheme}://{hostname}:{}/announce", address.port()),
        false => format!("{scheme}://{address}/announce"),
    }
}

/// The machine's name as the kernel has it; `localhost` where that is nothing to put into a URL.
fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let usable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !name.is_empty();
    if usable { name } else { "localhost" }.to_owned()
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announce_url_names_a_host_that_can_be_reached() {
        let rows = [
            ("http", "[::]:6969", "http://tracker.example:6969/announce"),
            ("udp", "[::]:6969", "udp://tracker.example:6969/announce"),
            ("http", "0.0.0.0:80", "http://tracker.example:80/announce"),
            ("http", "127.0.0.1:6969", "http://127.0.0.1:6969/announce"),
            ("udp", "[2001:db8::1]:6969", "udp://[2001:db8::1]:6969/announce"),
        ];
        for (scheme, address, url) in rows {
            assert_eq!(announce_url(scheme, address.parse().unwrap(), "tracker.example"), url);
        }
    }

    #[test]
    fn the_start_up_lines_list_every_address() {
        let addresses = ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        let udp = ["[::]:2".parse().unwrap(), "127.0.0.1:3".parse().unwrap()];
        let admin = Some("127.0.0.1:4".parse().unwrap());
        let listening = Addresses { http: &addresses, udp: &udp, admin };
        let begin = format!(
            "announced {}: open tracker\nlistening on 127.0.0.1:1\nlistening on [::1]:2\n\
             listening on [::]:2 for UDP\nlistening on 127.0.0.1:3 for UDP\n",
            env!("CARGO_PKG_VERSION")
        );
        let http =
            "announce URL http://127.0.0.1:1/announce\nannounce URL http://[::1]:2/announce\n";
        let udp = |host: &str| {
            format!(
                "announce URL udp://{host}:2/announce\nannounce URL udp://127.0.0.1:3/announce\n"
            )
        };
        for (public, urls) in [
            ("", format!("{http}{}", udp(&hostname()))),
            (
                "https://tracker.example/announce",
                format!(
                    "announce URL https://tracker.example/announce\n{}",
                    udp("tracker.example")
                ),
            ),
            (
                "udp://tracker.example:80/announce",
                "announce URL udp://tracker.example:80/announce\n".to_owned(),
            ),
        ] {
            let lines = start_up_lines("open tracker", &listening, public);
            let end = "status page http://127.0.0.1:4/\n";
            assert_eq!(lines, format!("{begin}{urls}{end}"), "the public URL is {public:?}");
        }
    }

    #[test]
    fn the_host_of_a_url_is_what_stands_before_port_and_path() {
        for (url, host) in [
            ("", None),
            ("http://tracker.example:6969/announce", Some("tracker.example")),
            ("https://tracker.example/announce", Some("tracker.example")),
            ("http://[2001:db8::1]:80/announce", Some("[2001:db8::1]")),
            ("http://[2001:db8::1]/announce", Some("[2001:db8::1]")),
            ("http://tracker.example", Some("tracker.example")),
        ] {
            assert_eq!(host_of(url), host, "{url:?}");
        }
    }
}
