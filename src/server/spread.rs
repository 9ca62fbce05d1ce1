//! One address's sockets, spread over the workers.
//!
//! Owns: who gets which. Sockets that another process has opened all find a worker, as one that
//! nobody accepts from would swallow its share of the address's connections, and closing it would
//! reset those. Where there are fewer than workers, more are bound beside them (SO_REUSEPORT). Not
//! beside the service manager's: it keeps its own ones open while the tracker restarts, and what is
//! queued in the others would be lost then. Workers share those, as they do where binding fails.
//!
//! Never: what a socket is for, or its options.

use std::io;

use socket2::Socket;

/// One socket of a worker.
pub(in crate::server) struct Share {
    pub(in crate::server) socket: Socket,
    /// Another worker has the same one, and counts what the kernel says of it.
    pub(in crate::server) is_counted_elsewhere: bool,
}

/// The sockets of one address.
pub(in crate::server) struct Spread {
    /// Those of each worker; no worker has none.
    pub(in crate::server) shares: Vec<Vec<Share>>,
    /// Each socket once, for a successor.
    pub(in crate::server) all: Vec<Socket>,
}

/// Spreads what is `there` over the workers, with what `bind` makes beside it.
///
/// # Errors
/// What `bind` says when nothing is there, or when there are no descriptors left.
pub(in crate::server) fn spread(
    there: &[&Socket],
    workers: usize,
    mut bind: Option<impl FnMut() -> io::Result<Socket>>,
) -> io::Result<Spread> {
    let mut all: Vec<Socket> =
        there.iter().map(|socket| socket.try_clone()).collect::<io::Result<_>>()?;
    while let Some(bind) = bind.as_mut().filter(|_| all.len() < workers) {
        match bind() {
            Ok(socket) => all.push(socket),
            // Another user's sockets, say, are joined by nobody.
            Err(_) if !there.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    let mut shares: Vec<Vec<Share>> = (0..workers).map(|_| Vec::new()).collect();
    for turn in 0..all.len().max(workers) {
        let Some(socket) = all.get(turn % all.len()) else { break };
        let is_counted_elsewhere = turn >= all.len();
        let share = Share { socket: socket.try_clone()?, is_counted_elsewhere };
        shares[turn % workers].push(share);
    }
    Ok(Spread { shares, all })
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use socket2::{Domain, Type};

    use super::*;

    fn listeners(count: usize) -> Vec<Socket> {
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().into()).collect()
    }

    fn bound() -> io::Result<Socket> {
        Socket::new(Domain::IPV4, Type::STREAM, None)
    }

    fn refused() -> io::Result<Socket> {
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// How the sockets of each worker are called: by their port, or `new`.
    fn names(spread: &Spread, there: &[Socket]) -> Vec<String> {
        let address = |socket: &Socket| -> Option<SocketAddr> {
            socket.local_addr().ok()?.as_socket().filter(|address| address.port() != 0)
        };
        let name = |share: &Share| {
            let at = there.iter().position(|socket| {
                address(socket).is_some() && address(socket) == address(&share.socket)
            });
            let name = at.map_or("new".to_owned(), |at| at.to_string());
            if share.is_counted_elsewhere { format!("shared {name}") } else { name }
        };
        let of_worker = |shares: &Vec<Share>| shares.iter().map(name).collect::<Vec<_>>().join(" ");
        spread.shares.iter().map(of_worker).collect()
    }

    #[test]
    fn every_socket_finds_a_worker_and_every_worker_a_socket() {
        type Bind = fn() -> io::Result<Socket>;
        let rows: [(&str, usize, Option<Bind>, &[&str]); 7] = [
            ("nothing is there", 0, Some(bound), &["new", "new", "new"]),
            ("one for each", 3, Some(bound), &["0", "1", "2"]),
            ("more than workers", 5, Some(bound), &["0 3", "1 4", "2"]),
            ("fewer", 1, Some(bound), &["0", "new", "new"]),
            ("fewer, and nobody may join", 1, Some(refused), &["0", "shared 0", "shared 0"]),
            ("fewer of the service manager's", 2, None, &["0", "1", "shared 0"]),
            ("more of the service manager's", 4, None, &["0 3", "1", "2"]),
        ];
        for (what, there, bind, expected) in rows {
            let sockets = listeners(there);
            let spread = spread(&sockets.iter().collect::<Vec<_>>(), 3, bind).unwrap();
            assert_eq!(names(&spread, &sockets), expected, "{what}");
            let news = expected.iter().filter(|names| **names == "new").count();
            assert_eq!(spread.all.len(), there + news, "{what}: each once");
        }
        let nothing = spread(&[], 3, Some(refused));
        assert_eq!(nothing.err().unwrap().kind(), io::ErrorKind::AddrInUse, "a taken port");
    }
}
