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
            let options = options(address, false);
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
