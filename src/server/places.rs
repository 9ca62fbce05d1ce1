//! Which addresses are listened on, and which sockets are there for them already.
//!
//! Owns: what the settings say of each address, and how that is joined with what other processes
//! have opened. The service manager's sockets stand in the place of the settings' addresses of that
//! protocol; of those a listener takes only whether trusted proxies begin with a preface. A
//! predecessor's sockets are taken up where the settings list their address; those of an address
//! that is listed no more are closed, and the log says so.
//!
//! Never: opens a socket that stays open.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::Socket;

use crate::config::{Config, Listen, ServerConfig, UdpListen};
use crate::server::datagrams::{self, DatagramOptions};
use crate::server::inherited::{Group, HandedSocket, Purpose, groups};
use crate::server::listen_error::ListenError;
use crate::server::listener::{self, ListenerOptions};

/// An address that is listened on.
pub(in crate::server) struct Place<'h, O> {
    pub(in crate::server) options: O,
    /// Its sockets that other processes have opened.
    pub(in crate::server) there: Vec<&'h Socket>,
    /// It was the service manager.
    pub(in crate::server) activated: bool,
}

impl<O> Place<'_, O> {
    fn fresh(options: O) -> Self {
        Place { options, there: Vec::new(), activated: false }
    }
}

/// Where HTTP is listened for.
pub(in crate::server) fn places<'h>(
    config: &Config,
    there: &'h [HandedSocket],
) -> Result<Vec<Place<'h, ListenerOptions>>, ListenError> {
    let server = &config.server;
    let mut groups = groups(there, false).map_err(ListenError::Handed)?;
    if groups.iter().any(|group| group.activated) {
        let of_group = |Group { address, purpose, activated, sockets }| {
            let listed = server.listen.iter().find(|listen| listen.address == address);
            let by_name = purpose == Purpose::Proxied;
            let proxy_protocol = listed.map_or(by_name, |listen| listen.proxy_protocol);
            let options = listener_options(server, Listen { address, proxy_protocol });
            Place { options, there: sockets, activated }
        };
        return Ok(groups.into_iter().map(of_group).collect());
    }
    let place = |listen: &Listen| {
        let mut place = Place::fresh(listener_options(server, *listen));
        if let Some(group) = take_at(&mut groups, place.options.address) {
            (place.options.address, place.there) = (group.address, group.sockets);
        }
        place
    };
    let places = server.listen.iter().map(place).collect();
    note_left(&groups, "");
    Ok(places)
}

/// Where UDP is listened for when HTTP has got the addresses `listeners`.
pub(in crate::server) fn udp_places<'h>(
    config: &Config,
    there: &'h [HandedSocket],
    listeners: &[SocketAddr],
) -> Result<Vec<Place<'h, DatagramOptions>>, ListenError> {
    let mut groups = groups(there, true).map_err(ListenError::Handed)?;
    let options = |address, only_v6| DatagramOptions {
        address,
        only_v6,
        receive_buffer_bytes: config.udp.receive_buffer as usize,
    };
    if groups.iter().any(|group| group.activated) {
        let of_group = |Group { address, activated, sockets, .. }| {
            // The buffer is what the service manager has made it.
            let options = DatagramOptions { receive_buffer_bytes: 0, ..options(address, false) };
            Place { options, there: sockets, activated }
        };
        return Ok(groups.into_iter().map(of_group).collect());
    }
    let wanted = match &config.udp.listen {
        UdpListen::AsServer if there.iter().any(|handed| handed.activated) => {
            log::info!("UDP is off: the service manager has handed over no socket for it");
            Vec::new()
        }
        UdpListen::AsServer => {
            let listed = config.server.listen.iter().zip(listeners);
            let direct = listed.filter(|(listen, _)| !listen.proxy_protocol);
            direct.map(|(_, address)| *address).collect()
        }
        UdpListen::Addresses(addresses) => {
            let usable = |address| listener::without_ipv6(address).unwrap_or(address);
            addresses.iter().map(|address| usable(*address)).collect()
        }
    };
    let place = |address: &SocketAddr| {
        let only_v6 = has_all_of_ipv4(&wanted, *address);
        let mut place = Place::fresh(options(*address, only_v6));
        if let Some(group) = take_at(&mut groups, *address) {
            (place.options.address, place.there) = (group.address, group.sockets);
        }
        place
    };
    let places = wanted.iter().map(place).collect();
    note_left(&groups, " for UDP");
    Ok(places)
}

fn take_at<'h>(groups: &mut Vec<Group<'h>>, wanted: SocketAddr) -> Option<Group<'h>> {
    let at = groups.iter().position(|group| group.is_at(wanted))?;
    Some(groups.remove(at))
}

fn note_left(groups: &[Group<'_>], protocol: &str) {
    for Group { address, .. } in groups {
        log::info!("{address} is no longer listened on{protocol}: the settings do not list it");
    }
}

/// Finds out whether anybody else has an address that nobody has handed over.
///
/// # Errors
/// The first that cannot be listened on.
pub(in crate::server) fn probe_places(
    places: &[Place<'_, ListenerOptions>],
) -> Result<(), ListenError> {
    for Place { options, .. } in places.iter().filter(|place| place.there.is_empty()) {
        listener::probe(options).map_err(|error| ListenError::Address(options.address, error))?;
    }
    Ok(())
}

/// The same for UDP.
///
/// # Errors
/// The first that cannot be listened on.
pub(in crate::server) fn probe_udp_places(
    places: &[Place<'_, DatagramOptions>],
) -> Result<(), ListenError> {
    for Place { options, .. } in places.iter().filter(|place| place.there.is_empty()) {
        datagrams::probe(options).map_err(|error| ListenError::Udp(options.address, error))?;
    }
    Ok(())
}

fn listener_options(server: &ServerConfig, listen: Listen) -> ListenerOptions {
    let address = listener::without_ipv6(listen.address).unwrap_or(listen.address);
    let listed: Vec<SocketAddr> = server.listen.iter().map(|listen| listen.address).collect();
    ListenerOptions {
        address,
        only_v6: has_all_of_ipv4(&listed, address),
        backlog: i32::from(server.backlog),
        proxy_protocol: listen.proxy_protocol,
    }
}

/// Whether another address of those listed takes over what `address` would have of IPv4. One IPv4
/// address beside `[::]` does not serve the others: only `0.0.0.0` does.
fn has_all_of_ipv4(listed: &[SocketAddr], address: SocketAddr) -> bool {
    let all_of_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    address.port() != 0 && listed.contains(&all_of_ipv4)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    /// Sockets that are there, the port of the first of each kind, and settings.
    struct Site {
        there: Vec<HandedSocket>,
        config: Config,
    }

    impl Site {
        /// `words` says what each socket is for; all are bound to loopback.
        fn new(words: &[&str]) -> Site {
            let socket = |word: &&str| {
                let socket = match word.ends_with("udp") {
                    true => UdpSocket::bind("127.0.0.1:0").unwrap().into(),
                    false => TcpListener::bind("127.0.0.1:0").unwrap().into(),
                };
                HandedSocket::of_predecessor(word, socket).unwrap()
            };
            Site { there: words.iter().map(socket).collect(), config: Config::default() }
        }

        fn address(&self, at: usize) -> SocketAddr {
            self.there[at].socket.local_addr().unwrap().as_socket().unwrap()
        }

        fn listen(mut self, addresses: &[SocketAddr]) -> Site {
            self.config.server.listen = addresses.iter().map(|address| (*address).into()).collect();
            self
        }

        /// Each place of HTTP, as its address, `there` or `new`, and whether proxies use it.
        fn http(&self) -> Vec<(SocketAddr, bool, bool)> {
            let places = places(&self.config, &self.there).unwrap();
            let told = |place: &Place<'_, ListenerOptions>| {
                (place.options.address, !place.there.is_empty(), place.options.proxy_protocol)
            };
            places.iter().map(told).collect()
        }

        /// Each place of UDP.
        fn udp(&self, listeners: &[SocketAddr]) -> Vec<(SocketAddr, bool)> {
            let places = udp_places(&self.config, &self.there, listeners).unwrap();
            let told = |place: &Place<'_, DatagramOptions>| {
                (place.options.address, !place.there.is_empty())
            };
            places.iter().map(told).collect()
        }
    }

    fn other() -> SocketAddr {
        "127.0.0.9:9".parse().unwrap()
    }

    #[test]
    fn a_predecessors_sockets_are_taken_up_where_the_settings_list_them() {
        let site = Site::new(&["http", "udp", "proxy_protocol", "admin"]);
        let (listed, udp, left) = (site.address(0), site.address(1), site.address(2));
        let site = site.listen(&[other(), listed]);
        assert_eq!(site.http(), [(other(), false, false), (listed, true, false)]);
        assert_eq!(site.udp(&[other(), udp]), [(other(), false), (udp, true)], "as HTTP's");
        let mut site = site.listen(&["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(site.http(), [(listed, true, false)], "a port that the system chose");
        site.config.udp.listen = UdpListen::Addresses(vec![left]);
        assert_eq!(site.udp(&[]), [(left, false)], "UDP's own list");
        site.config.server.listen = vec![Listen { address: left, proxy_protocol: true }];
        assert_eq!(site.http(), [(left, true, true)], "the settings say who uses it");
    }

    #[test]
    fn the_service_managers_sockets_stand_in_the_place_of_the_settings() {
        let words = ["activated-http", "activated-proxy_protocol", "admin"];
        let site = Site::new(&words).listen(&[other()]);
        let [plain, proxied] = [site.address(0), site.address(1)];
        assert_eq!(site.http(), [(plain, true, false), (proxied, true, true)]);
        assert_eq!(site.udp(&[plain, proxied]), [], "it has handed over none for UDP");
        let mut site = site;
        site.config.udp.listen = UdpListen::Addresses(vec![other()]);
        assert_eq!(site.udp(&[plain]), [(other(), false)], "UDP's own list");
        site.config.server.listen = vec![Listen { address: plain, proxy_protocol: true }];
        assert!(site.http()[0].2, "the settings say who uses an address that they list");
        let site = Site::new(&["activated-udp"]).listen(&[other()]);
        assert_eq!(site.http(), [(other(), false, false)], "HTTP as the settings say");
        assert_eq!(site.udp(&[other()]), [(site.address(0), true)], "UDP as it was handed over");
    }
}
