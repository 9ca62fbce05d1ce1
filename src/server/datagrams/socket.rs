//! Datagram sockets: one of each address for each worker (SO_REUSEPORT), so that the kernel spreads
//! clients and no lock is shared.
//!
//! Owns: opening them with the right options, and the count of what the kernel has dropped.
//!
//! Never: SO_REUSEADDR. Two UDP sockets with it share a port in silence, and the later one gets all
//! packets. SO_REUSEPORT would let a second tracker of the same user in as well: before the real
//! sockets, a probe without any option must succeed.
//!
//! Limits: the kernel queues as many datagrams as the receive buffer holds, and drops the rest.

use std::io::Result;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::Registry;
use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use crate::server::datagrams::io::{
    ReceiveBatch, SendBatch, drops, tell_drops, tell_local_addresses,
};
use crate::server::spread::Share;

/// How a datagram socket is to be opened.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct DatagramOptions {
    /// Address and port; port 0 lets the kernel choose.
    pub(in crate::server) address: SocketAddr,
    /// An IPv6 socket that leaves IPv4 alone, because another one serves it.
    pub(in crate::server) only_v6: bool,
    /// Bytes of queued datagrams, the kernel's own beside each included (bounded by
    /// net.core.rmem_max too).
    pub(in crate::server) receive_buffer_bytes: usize,
}

/// What one turn of receiving came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    /// Datagrams in the batch; as many as it can hold when more may be there.
    pub(crate) count: usize,
    /// Datagrams that the kernel is now known to have dropped, in all since the last such turn.
    pub(crate) drops: u32,
}

/// What batches of datagrams come from and go to: a UDP socket, or a simulated one in the tests.
pub(crate) trait BatchSocket {
    /// Takes what has arrived into a batch, in place of what was in it.
    ///
    /// # Errors
    /// What the system says: nothing was taken, and no event tells of what is there. Try again
    /// later.
    fn receive(&mut self, batch: &mut ReceiveBatch) -> Result<Received>;

    /// Sends a batch and empties it; how many answers were dropped, because the socket would not
    /// take them.
    fn send(&self, batch: &mut SendBatch) -> usize;

    /// Has `poll` tell nothing more of it.
    ///
    /// # Errors
    /// When the poll does not know it.
    fn unwatch(&mut self, poll: &Registry) -> Result<()>;
}

/// Binds without SO_REUSEPORT and lets go again: fails when anybody else has the port.
///
/// # Errors
/// What bind says, `AddrInUse` above all.
pub(in crate::server) fn probe(options: &DatagramOptions) -> Result<()> {
    socket(options)?.bind(&options.address.into())
}

fn socket(options: &DatagramOptions) -> Result<Socket> {
    let domain = Domain::for_address(options.address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if options.address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    Ok(socket)
}

/// A socket that shares its port with the other workers' ones.
///
/// # Errors
/// What the system says.
pub(in crate::server) fn bind(options: &DatagramOptions) -> Result<Socket> {
    let socket = socket(options)?;
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(options.receive_buffer_bytes)?;
    // Before the first datagram can come.
    tell(&socket, options)?;
    socket.bind(&options.address.into())?;
    Ok(socket)
}

/// Has the kernel tell what this module wants to know of each datagram, and wait for none.
fn tell(socket: &Socket, options: &DatagramOptions) -> Result<()> {
    socket.set_nonblocking(true)?;
    tell_drops(socket.as_fd())?;
    if options.address.ip().is_unspecified() {
        tell_local_addresses(socket.as_fd(), options.address.is_ipv6())?;
    }
    Ok(())
}

/// One datagram socket of one worker.
pub(in crate::server) struct DatagramSocket {
    /// For the poll's registry.
    pub(in crate::server) socket: UdpSocket,
    /// Bytes of the receive buffer that the kernel granted, which may be fewer than asked for.
    pub(in crate::server) receive_buffer_bytes: usize,
    /// The kernel's drop counter as last seen.
    drops: u32,
    /// Another worker has the same socket, and counts the drops.
    is_counted_elsewhere: bool,
}

impl DatagramSocket {
    /// Receives on a socket from [`bind`], or on another process's.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::server) fn over(
        share: Share,
        options: &DatagramOptions,
    ) -> Result<DatagramSocket> {
        let Share { socket, is_counted_elsewhere } = share;
        tell(&socket, options)?;
        // The service manager may have given it more than an unprivileged process can ask for.
        if socket.recv_buffer_size()? / 2 < options.receive_buffer_bytes {
            socket.set_recv_buffer_size(options.receive_buffer_bytes)?;
        }
        // The kernel shows twice what it was asked for (socket(7)).
        let receive_buffer_bytes = socket.recv_buffer_size()? / 2;
        // Another process has counted what was dropped before. Old kernels do not tell.
        let drops = drops(socket.as_fd()).unwrap_or(0);
        let socket = UdpSocket::from_std(socket.into());
        Ok(DatagramSocket { socket, receive_buffer_bytes, drops, is_counted_elsewhere })
    }

    /// One that nobody else has.
    #[cfg(test)]
    pub(in crate::server) fn open(options: &DatagramOptions) -> Result<DatagramSocket> {
        let share = Share { socket: bind(options)?, is_counted_elsewhere: false };
        DatagramSocket::over(share, options)
    }
}

impl BatchSocket for DatagramSocket {
    fn receive(&mut self, batch: &mut ReceiveBatch) -> Result<Received> {
        let count = batch.receive(self.socket.as_fd())?;
        let counter = batch.drops().unwrap_or(self.drops);
        let drops = counter.wrapping_sub(self.drops);
        self.drops = counter;
        Ok(Received { count, drops: if self.is_counted_elsewhere { 0 } else { drops } })
    }

    fn send(&self, batch: &mut SendBatch) -> usize {
        batch.send(self.socket.as_fd())
    }

    fn unwatch(&mut self, poll: &Registry) -> Result<()> {
        poll.deregister(&mut self.socket)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket as Client};
    use std::os::fd::BorrowedFd;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::server::datagrams::address::{Origin, SocketName};
    use crate::server::datagrams::io::{BATCH_MAX, PACKET_BYTES_MAX};

    /// For what is on its way over loopback; on a busy machine as well.
    const WAIT: Duration = Duration::from_secs(20);
    const BUFFER_BYTES: usize = 128 * 1024;

    fn options(address: &str) -> DatagramOptions {
        let address = address.parse().unwrap();
        DatagramOptions { address, only_v6: false, receive_buffer_bytes: BUFFER_BYTES }
    }

    fn open(address: &str) -> (DatagramSocket, u16) {
        let socket = DatagramSocket::open(&options(address)).unwrap();
        let port = socket.socket.local_addr().unwrap().port();
        (socket, port)
    }

    fn client(from: SocketAddr, to: SocketAddr) -> Client {
        let client = Client::bind(from).unwrap();
        client.connect(to).unwrap();
        client.set_read_timeout(Some(WAIT)).unwrap();
        client
    }

    /// A client at an address that asks one of 127.0.0.1.
    fn local_client(port: u16) -> Client {
        client(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], port).into())
    }

    fn await_datagram(socket: BorrowedFd<'_>) {
        let wait = Timespec { tv_sec: i64::try_from(WAIT.as_secs()).unwrap(), tv_nsec: 0 };
        let readable = poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&wait));
        assert_eq!(readable, Ok(1), "no datagram has come");
    }

    struct Got {
        bytes: Vec<u8>,
        from: SocketAddr,
        origin: Origin,
    }

    /// Takes `count` datagrams, and says how many calls that took.
    fn take(socket: &mut DatagramSocket, count: usize) -> (Vec<Got>, usize) {
        let (mut batch, mut all, mut calls, mut taken) = (ReceiveBatch::new(), Vec::new(), 0, 0);
        while taken < count {
            await_datagram(socket.socket.as_fd());
            taken += socket.receive(&mut batch).unwrap().count;
            calls += 1;
            all.extend(batch.datagrams().map(|datagram| Got {
                bytes: datagram.bytes.to_vec(),
                from: datagram.from,
                origin: datagram.origin,
            }));
        }
        assert_eq!(taken, count, "datagrams nobody has sent");
        (all, calls)
    }

    /// Sends each back to where it came from, with `answer` before it; how many were dropped.
    fn send_back<'a>(socket: &DatagramSocket, all: impl IntoIterator<Item = &'a Got>) -> usize {
        let mut batch = SendBatch::new();
        let mut dropped = 0;
        for got in all {
            if batch.room().is_none() {
                dropped += socket.send(&mut batch);
            }
            let answer = [b"answer ", &got.bytes[..]].concat();
            batch.room().unwrap()[..answer.len()].copy_from_slice(&answer);
            batch.push(answer.len(), &got.origin);
        }
        dropped + socket.send(&mut batch)
    }

    fn assert_answered(client: &Client, expected: &str, name: &str) {
        let mut answer = [0; 64];
        let bytes = client.recv(&mut answer);
        let bytes = bytes.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(str::from_utf8(&answer[..bytes]), Ok(expected), "{name}");
    }

    #[test]
    fn a_hundred_datagrams_take_few_calls_and_are_answered_each() {
        let (mut socket, port) = open("127.0.0.1:0");
        let clients: Vec<Client> = (0..100).map(|_| local_client(port)).collect();
        for (number, client) in clients.iter().enumerate() {
            client.send(number.to_string().as_bytes()).unwrap();
        }
        let (all, calls) = take(&mut socket, clients.len());
        assert!(calls < clients.len(), "{calls} calls for {} datagrams", clients.len());
        assert!(calls >= clients.len().div_ceil(BATCH_MAX), "{calls} calls");
        assert_eq!(send_back(&socket, &all), 0, "answers were dropped");
        for (number, client) in clients.iter().enumerate() {
            assert_answered(client, &format!("answer {number}"), "a client of many");
        }
        assert_eq!(socket.receive(&mut ReceiveBatch::new()).unwrap().count, 0, "one too many");
    }

    #[test]
    fn an_answer_leaves_from_the_address_asked() {
        let rows = [
            ("0.0.0.0:0", "127.0.0.1", Some("127.0.0.1")),
            ("0.0.0.0:0", "127.0.0.5", Some("127.0.0.5")),
            ("0.0.0.0:0", "127.9.9.9", Some("127.9.9.9")),
            ("[::]:0", "::1", Some("::1")),
            ("[::]:0", "127.0.0.1", Some("::ffff:127.0.0.1")),
            ("[::]:0", "127.0.0.5", Some("::ffff:127.0.0.5")),
            ("127.0.0.5:0", "127.0.0.5", None),
            ("[::1]:0", "::1", None),
        ];
        for (listen, asked, local) in rows {
            let name = format!("{asked} asked of {listen}");
            let (mut socket, port) = open(listen);
            let asked: IpAddr = asked.parse().unwrap();
            let from = if asked.is_ipv4() { "127.0.0.3" } else { "::1" };
            let from = SocketAddr::new(from.parse().unwrap(), 0);
            // It is connected, so it gets nothing from another address.
            let client = client(from, SocketAddr::new(asked, port));
            client.send(b"?").unwrap();
            let (all, _) = take(&mut socket, 1);
            let remote = client.local_addr().unwrap();
            let found = all[0].from;
            assert_eq!((found.ip().to_canonical(), found.port()), (remote.ip(), remote.port()));
            assert_eq!(all[0].origin.local, local.map(|ip| ip.parse().unwrap()), "{name}");
            assert_eq!(send_back(&socket, &all), 0, "{name}: dropped");
            assert_answered(&client, "answer ?", &name);
        }
    }

    /// This machine's IPv6 addresses with their interfaces, `::1` and link-local ones among them.
    fn ipv6_addresses() -> Vec<SocketAddrV6> {
        const NOT_YET_OR_NO_MORE: u8 = 0x40 | 0x08;
        let table = fs::read_to_string("/proc/net/if_inet6").unwrap();
        let address = |line: &str| {
            let mut fields = line.split_whitespace();
            let ip = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
            let interface = u32::from_str_radix(fields.next()?, 16).ok()?;
            let flags = u8::from_str_radix(fields.nth(2)?, 16).ok()?;
            let scope = if ip.is_unicast_link_local() { interface } else { 0 };
            let usable = flags & NOT_YET_OR_NO_MORE == 0;
            usable.then(|| SocketAddrV6::new(ip, 0, 0, scope))
        };
        table.lines().filter_map(address).collect()
    }

    #[test]
    fn an_answer_over_ipv6_leaves_from_whichever_address_was_asked() {
        let (mut socket, port) = open("[::]:0");
        let addresses = ipv6_addresses();
        assert!(addresses.iter().any(|address| address.ip().is_loopback()), "no ::1");
        for address in addresses {
            let name = format!("{address} asked");
            let mut asked = address;
            asked.set_port(port);
            let client = client(address.into(), asked.into());
            client.send(b"?").unwrap();
            let (all, _) = take(&mut socket, 1);
            assert_eq!(all[0].origin.local, Some(IpAddr::V6(*address.ip())), "{name}");
            assert_eq!(send_back(&socket, &all), 0, "{name}: dropped");
            assert_answered(&client, "answer ?", &name);
        }
    }

    #[test]
    fn one_batch_answers_both_families_each_from_its_own_address() {
        let (mut socket, port) = open("[::]:0");
        let clients: Vec<Client> = ["127.0.0.1", "::1", "127.0.0.5", "::1", "127.0.0.9"]
            .map(|asked| asked.parse::<IpAddr>().unwrap())
            .map(|asked| client(SocketAddr::new(asked, 0), SocketAddr::new(asked, port)))
            .into();
        clients.iter().for_each(|client| assert_eq!(client.send(b"?").unwrap(), 1));
        let (all, _) = take(&mut socket, clients.len());
        let asked: BTreeSet<IpAddr> = all.iter().filter_map(|got| got.origin.local).collect();
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert_eq!(send_back(&socket, &all), 0, "answers were dropped");
        clients.iter().for_each(|client| assert_answered(client, "answer ?", "one of five"));
    }

    #[test]
    fn a_long_datagram_is_cut() {
        let (mut socket, port) = open("127.0.0.1:0");
        let client = local_client(port);
        for bytes in [0, 1, PACKET_BYTES_MAX, PACKET_BYTES_MAX + 1, 60_000, 16] {
            let sent: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
            client.send(&sent).unwrap();
            let (all, _) = take(&mut socket, 1);
            assert_eq!(all[0].bytes, sent[..bytes.min(PACKET_BYTES_MAX)], "{bytes} bytes");
        }
    }

    /// Only who may open raw sockets can send from port 0; for others `io` has a test.
    #[test]
    fn a_datagram_from_port_0_is_left_out() {
        let (mut socket, port) = open("127.0.0.1:0");
        let raw = match Socket::new(Domain::IPV4, Type::from(libc::SOCK_RAW), Some(Protocol::UDP)) {
            Ok(raw) => raw,
            Err(error) => return assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        };
        let [high, low] = port.to_be_bytes();
        // From port 0, to our port, 9 bytes, no checksum.
        let packet = [0, 0, high, low, 0, 9, 0, 0, b'?'];
        raw.send_to(&packet, &SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        let client = local_client(port);
        client.send(b"from somewhere").unwrap();
        let (all, _) = take(&mut socket, 2);
        let found: Vec<&[u8]> = all.iter().map(|got| &got.bytes[..]).collect();
        assert_eq!(found, [b"from somewhere"]);
    }

    #[test]
    fn what_the_kernel_drops_is_counted() {
        let small = DatagramOptions { receive_buffer_bytes: 4_096, ..options("127.0.0.1:0") };
        let mut socket = DatagramSocket::open(&small).unwrap();
        let client = local_client(socket.socket.local_addr().unwrap().port());
        let (mut sent, mut taken, mut drops) = (0, 0, 0);
        let mut batch = ReceiveBatch::new();
        for flood in [300, 1, 200, 1] {
            for _ in 0..flood {
                client.send(&[7; 100]).unwrap();
                sent += 1;
            }
            let begun = Instant::now();
            // The counter comes with a datagram that is queued later.
            while taken + drops < sent {
                assert!(begun.elapsed() < WAIT, "{taken} taken, {drops} drops of {sent} sent");
                await_datagram(socket.socket.as_fd());
                let received = socket.receive(&mut batch).unwrap();
                taken += received.count;
                drops += received.drops as usize;
                if taken + drops < sent {
                    client.send(b"one more").unwrap();
                    sent += 1;
                }
            }
            assert_eq!(taken + drops, sent, "{taken} taken, {drops} drops");
        }
        assert!(drops > 100, "{drops} drops: 500 datagrams fitted 4 KiB");
    }

    #[test]
    fn an_answer_that_cannot_be_sent_costs_only_itself() {
        let (mut socket, port) = open("0.0.0.0:0");
        let clients: Vec<Client> = (0..5).map(|_| local_client(port)).collect();
        clients.iter().for_each(|client| assert_eq!(client.send(b"?").unwrap(), 1));
        let (mut all, _) = take(&mut socket, clients.len());
        let to = |remote: &str| {
            let (name, name_bytes) = SocketName::of(remote.parse().unwrap());
            Origin { name, name_bytes, local: None }
        };
        let others = Origin { local: Some("198.51.100.250".parse().unwrap()), ..all[0].origin };
        for (at, origin) in [(5, to("255.255.255.255:9")), (3, others), (0, to("127.0.0.1:0"))] {
            all.insert(at, Got { bytes: b"!".to_vec(), from: all[0].from, origin });
        }
        assert_eq!(send_back(&socket, &all), 3, "only these three are refused");
        clients.iter().for_each(|client| assert_answered(client, "answer ?", "the others"));
    }

    #[test]
    fn errors_of_others_do_not_stop_a_socket() {
        let (mut socket, port) = open("0.0.0.0:0");
        for turn in 0..3 {
            let gone = local_client(port);
            gone.send(b"?").unwrap();
            let (all, _) = take(&mut socket, 1);
            drop(gone);
            // Nobody has the port any more: an ICMP error comes back.
            send_back(&socket, all.iter().cycle().take(10));
            let client = local_client(port);
            client.send(b"?").unwrap();
            let (all, _) = take(&mut socket, 1);
            assert_eq!(send_back(&socket, &all), 0, "turn {turn}: dropped");
            assert_answered(&client, "answer ?", &format!("turn {turn}"));
        }
    }

    #[test]
    fn an_error_left_on_the_socket_is_passed_over() {
        // Only a connected socket is told of ICMP errors without asking for them.
        let other = Client::bind("127.0.0.1:0").unwrap();
        let there = other.local_addr().unwrap();
        let own = client("127.0.0.1:0".parse().unwrap(), there);
        let mut batch = ReceiveBatch::new();
        drop(other);
        own.send(b"?").unwrap();
        await_datagram(own.as_fd());
        assert_eq!(batch.receive(own.as_fd()).unwrap(), 0, "an error, and no datagram behind it");
        let other = client(there, own.local_addr().unwrap());
        other.send(b"!").unwrap();
        await_datagram(own.as_fd());
        assert_eq!(batch.receive(own.as_fd()).unwrap(), 1, "a datagram");
    }

    #[test]
    fn a_port_in_use_is_noticed() {
        let kind = |outcome: Result<()>| outcome.map_err(|error| error.kind());
        let in_use = Err(ErrorKind::AddrInUse);
        let (socket, port) = open("127.0.0.1:0");
        let same = options(&format!("127.0.0.1:{port}"));
        let another = DatagramSocket::open(&same);
        assert!(another.is_ok(), "the next worker's socket");
        assert_eq!(kind(probe(&same)), in_use, "a tracker has it");
        let all = options(&format!("[::]:{port}"));
        assert_eq!(kind(probe(&all)), in_use, "a tracker has it for one address of all");
        let only_v6 = DatagramOptions { only_v6: true, ..all };
        assert_eq!(kind(probe(&only_v6)), Ok(()), "IPv4's port is none of IPv6's");
        drop((socket, another));
        assert_eq!(kind(probe(&same)), Ok(()), "nobody has it");
        let foreign = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        foreign.set_reuse_address(true).unwrap();
        foreign.bind(&same.address.into()).unwrap();
        assert_eq!(kind(probe(&same)), in_use, "a program that would share it has it");
        assert_eq!(kind(DatagramSocket::open(&same).map(drop)), in_use, "and is not joined");
    }

    #[test]
    fn the_receive_buffer_is_what_the_kernel_grants() {
        let bytes_max = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        let bytes_max: usize = bytes_max.trim().parse().unwrap();
        for asked in [BUFFER_BYTES, bytes_max, bytes_max + 4_096] {
            let wanted = DatagramOptions { receive_buffer_bytes: asked, ..options("[::]:0") };
            let granted = DatagramSocket::open(&wanted).unwrap().receive_buffer_bytes;
            assert_eq!(granted, asked.min(bytes_max), "{asked} bytes asked for");
        }
    }

    #[test]
    fn a_hundred_batches_allocate_nothing() {
        let (mut socket, port) = open("[::]:0");
        let clients: Vec<Client> = (0..BATCH_MAX).map(|_| local_client(port)).collect();
        let (mut requests, mut answers) = (ReceiveBatch::new(), SendBatch::new());
        let (mut taken, mut dropped, mut answer) = (0, 0, [0; 64]);
        let mut exchange = || {
            clients.iter().for_each(|client| assert_eq!(client.send(b"?").unwrap(), 1));
            let mut missing = clients.len();
            while missing > 0 {
                await_datagram(socket.socket.as_fd());
                missing -= socket.receive(&mut requests).unwrap().count;
                for request in requests.datagrams() {
                    answers.room().unwrap()[..request.bytes.len()].copy_from_slice(request.bytes);
                    answers.push(request.bytes.len(), &request.origin);
                    taken += 1;
                }
                dropped += socket.send(&mut answers);
            }
            clients.iter().for_each(|client| assert_eq!(client.recv(&mut answer).unwrap(), 1));
        };
        exchange();
        let allocations = allocation_counter::measure(|| (0..100).for_each(|_| exchange()));
        assert_eq!(allocations.count_total, 0, "{} bytes", allocations.bytes_total);
        assert_eq!((taken, dropped), (101 * BATCH_MAX, 0), "taken and dropped");
    }
}
