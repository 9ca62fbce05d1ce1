//! Sockets that another process has opened: the service manager (`LISTEN_FDS`), or the tracker of
//! which this process is the successor.
//!
//! Owns: what each is for ([`Purpose`]), and which of them are one address's. What the service
//! manager has opened stands in the place of the settings' addresses: there are none besides, of
//! the same protocol. What a predecessor has opened is taken up by the settings, address by
//! address.
//!
//! Never: takes a descriptor from the process's environment; the program does.
//!
//! Limits: a purpose that this version does not know is left alone, with a line in the log.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// HTTP.
    Http,
    /// HTTP of trusted proxies, whose connections begin with a preface.
    Proxied,
    /// UDP.
    Udp,
    /// The status pages.
    Admin,
}

impl Purpose {
    const ALL: [(&str, Purpose); 4] = [
        ("http", Purpose::Http),
        ("proxy_protocol", Purpose::Proxied),
        ("udp", Purpose::Udp),
        ("admin", Purpose::Admin),
    ];

    /// What it is called between processes.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Http => "http",
            Purpose::Proxied => "proxy_protocol",
            Purpose::Udp => "udp",
            Purpose::Admin => "admin",
        }
    }

    fn of(name: &str) -> Option<Purpose> {
        Purpose::ALL.iter().find(|(known, _)| *known == name).map(|(_, purpose)| *purpose)
    }
}

/// Begins the word for a socket that the service manager has opened.
const ACTIVATED: &str = "activated-";

/// One socket that goes from process to process.
pub struct HandedSocket {
    pub(in crate::server) purpose: Purpose,
    /// The service manager has opened it.
    pub(in crate::server) activated: bool,
    pub(in crate::server) socket: Socket,
}

impl HandedSocket {
    /// A socket of the service manager, under the name that its unit gives it. A name that means
    /// nothing here leaves it to the kind of the socket.
    ///
    /// # Errors
    /// What speaks against it, as the end of a sentence.
    pub fn activated(name: &str, socket: OwnedFd) -> Result<HandedSocket, String> {
        let socket = Socket::from(socket);
        let kind = kind(&socket)?;
        let by_kind = if kind == Type::STREAM { Purpose::Http } else { Purpose::Udp };
        let purpose = Purpose::of(name).unwrap_or(by_kind);
        let is_datagram = kind == Type::DGRAM;
        if is_datagram != (purpose == Purpose::Udp) {
            let kinds = if is_datagram { "a UDP" } else { "a TCP" };
            return Err(format!("is {kinds} socket, and its name is {name:?}"));
        }
        Ok(HandedSocket { purpose, activated: true, socket })
    }

    /// A predecessor's socket, by the word that goes with it. None when this version does not know
    /// the word.
    pub fn of_predecessor(word: &str, socket: OwnedFd) -> Option<HandedSocket> {
        let (activated, name) = match word.strip_prefix(ACTIVATED) {
            Some(name) => (true, name),
            None => (false, word),
        };
        let purpose = Purpose::of(name)?;
        Some(HandedSocket { purpose, activated, socket: socket.into() })
    }

    /// The word for a successor.
    pub fn word(&self) -> String {
        let begin = if self.activated { ACTIVATED } else { "" };
        format!("{begin}{}", self.purpose.name())
    }

    /// Whether it is for this purpose, and at this address or the service manager's choice.
    pub(in crate::server) fn is_for(&self, purpose: Purpose, address: SocketAddr) -> bool {
        let local = self.socket.local_addr().ok().and_then(|local| local.as_socket());
        self.purpose == purpose && (self.activated || local == Some(address))
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<HandedSocket> {
        let HandedSocket { purpose, activated, ref socket } = *self;
        Ok(HandedSocket { purpose, activated, socket: socket.try_clone()? })
    }
}

impl From<HandedSocket> for OwnedFd {
    fn from(handed: HandedSocket) -> OwnedFd {
        handed.socket.into()
    }
}

/// TCP's or UDP's, of one of the internet's families.
fn kind(socket: &Socket) -> Result<Type, String> {
    let wrong = |_| "is no socket".to_owned();
    let (kind, domain) = (socket.r#type().map_err(wrong)?, socket.domain().map_err(wrong)?);
    let is_known = [Type::STREAM, Type::DGRAM].contains(&kind)
        && [Domain::IPV4, Domain::IPV6].contains(&domain);
    if is_known { Ok(kind) } else { Err("is neither a TCP nor a UDP socket".to_owned()) }
}

/// All sockets of one address.
pub(in crate::server) struct Group<'h> {
    pub(in crate::server) address: SocketAddr,
    pub(in crate::server) purpose: Purpose,
    pub(in crate::server) activated: bool,
    pub(in crate::server) sockets: Vec<&'h Socket>,
}

impl Group<'_> {
    /// Whether it is what the settings mean by `wanted`, whose port may be left to the system.
    pub(in crate::server) fn is_at(&self, wanted: SocketAddr) -> bool {
        self.address.ip() == wanted.ip() && [0, self.address.port()].contains(&wanted.port())
    }
}

/// The workers' sockets of one protocol by address, in the order in which they came.
pub(in crate::server) fn groups(
    handed: &[HandedSocket],
    is_datagram: bool,
) -> io::Result<Vec<Group<'_>>> {
    let mut groups = Vec::<Group<'_>>::new();
    for HandedSocket { purpose, activated, socket } in handed {
        let is_wanted = match purpose {
            Purpose::Udp => is_datagram,
            Purpose::Http | Purpose::Proxied => !is_datagram,
            Purpose::Admin => false,
        };
        if !is_wanted {
            continue;
        }
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("a socket without an address"))?;
        match groups.iter_mut().find(|group| group.address == address) {
            Some(group) => group.sockets.push(socket),
            None => groups.push(Group {
                address,
                purpose: *purpose,
                activated: *activated,
                sockets: vec![socket],
            }),
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn tcp() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    fn udp() -> OwnedFd {
        UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn what_the_service_manager_hands_over_is_known_by_name_or_kind() {
        type Row = (&'static str, OwnedFd, Result<&'static str, &'static str>);
        let rows: [Row; 8] = [
            ("unknown", tcp(), Ok("activated-http")),
            ("announced.socket", udp(), Ok("activated-udp")),
            ("http", tcp(), Ok("activated-http")),
            ("udp", udp(), Ok("activated-udp")),
            ("proxy_protocol", tcp(), Ok("activated-proxy_protocol")),
            ("udp", tcp(), Err("is a TCP socket, and its name is \"udp\"")),
            ("http", udp(), Err("is a UDP socket, and its name is \"http\"")),
            (
                "http",
                UnixStream::pair().unwrap().0.into(),
                Err("is neither a TCP nor a UDP socket"),
            ),
        ];
        for (name, socket, expected) in rows {
            let found = HandedSocket::activated(name, socket).map(|handed| handed.word());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(HandedSocket::activated("", file.into()).err().unwrap(), "is no socket");
    }

    #[test]
    fn a_successor_reads_the_words_of_its_predecessor() {
        for word in ["http", "proxy_protocol", "udp", "activated-http", "activated-udp"] {
            let handed = HandedSocket::of_predecessor(word, tcp()).unwrap();
            assert_eq!(handed.word(), word, "a word that went there and back");
        }
        assert!(HandedSocket::of_predecessor("admin-2", tcp()).is_none(), "of a later version");
    }

    #[test]
    fn sockets_of_one_address_are_one_group() {
        let handed: Vec<HandedSocket> = [tcp(), udp(), tcp()]
            .into_iter()
            .map(|socket| HandedSocket::activated("", socket).unwrap())
            .flat_map(|handed| [handed.try_clone().unwrap(), handed])
            .collect();
        let sizes = |is_datagram| -> Vec<usize> {
            let groups = groups(&handed, is_datagram).unwrap();
            groups.iter().map(|group| group.sockets.len()).collect()
        };
        assert_eq!(sizes(false), [2, 2], "two addresses of TCP");
        assert_eq!(sizes(true), [2], "one of UDP");
        let group = &groups(&handed, true).unwrap()[0];
        let port = group.address.port();
        let at = |text: &str| group.is_at(text.parse().unwrap());
        assert!(at(&format!("127.0.0.1:{port}")) && at("127.0.0.1:0"), "its own address");
        assert!(!at(&format!("127.0.0.2:{port}")) && !at("127.0.0.1:1"), "others");
    }
}
