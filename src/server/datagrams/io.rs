//! Datagrams in batches: `recvmmsg` and `sendmmsg`, one system call for up to [`BATCH_MAX`] each.
//!
//! Owns: the memory of a batch, taken once, and the calls that lend it to the kernel. nix cannot
//! serve: its `recvmmsg` keeps the length of control messages from one call to the next, so that
//! a later message is cut (0.32, tried), and its `sendmmsg` sends one local address with all.
//! rustix knows neither `recvmmsg` nor `IP_PKTINFO`.
//!
//! Never: a datagram's meaning, a wait, or an allocation after the start. What the socket does not
//! take is dropped and counted.
//!
//! With sockopt.rs and bin/announced/inherited.rs the only file with `unsafe`. Invariant: every
//! call passes a descriptor borrowed for the call, and headers made for that call, whose pointers
//! are to buffers that the same function has borrowed and whose lengths are those of these buffers;
//! the kernel keeps none of them. Nothing but integers is read from what it has written. Miri runs
//! everything but the calls: a test writes through the pointers what the kernel would.
#![allow(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::unnecessary_cast,
    reason = "counts and lengths far below 2^16, whose types differ between C libraries"
)]

use std::io::{self, ErrorKind};
use std::mem::{MaybeUninit, size_of_val, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::server::datagrams::address::{CONTROL_BYTES, Control, NAME_BYTES, Origin, SocketName};
use crate::wire::udp::{ANSWER_V4_BYTES_MAX, ANSWER_V6_BYTES_MAX, REQUEST_BYTES_MAX};

/// Datagrams of one system call.
pub(in crate::server) const BATCH_MAX: usize = 32;
/// Bytes of a datagram that are received. An odd number of cache lines, so that the beginnings of
/// a batch do not share a few places of the cache.
pub(in crate::server) const PACKET_BYTES_MAX: usize = 25 * 64;
/// Bytes of an answer.
pub(in crate::server) const ANSWER_BYTES_MAX: usize = ANSWER_V4_BYTES_MAX;
/// Errors left on a socket that are passed over before it is given up for now.
const PENDING_ERRORS_MAX: usize = 8;

const _: () = assert!(PACKET_BYTES_MAX >= REQUEST_BYTES_MAX);
const _: () = assert!(ANSWER_BYTES_MAX >= ANSWER_V6_BYTES_MAX);

/// Has the kernel tell the local address of each datagram: for sockets that are bound to none. On
/// an IPv6 socket IPv4 datagrams are told of as well.
///
/// # Errors
/// What setsockopt says.
pub(in crate::server) fn tell_local_addresses(
    socket: BorrowedFd<'_>,
    is_ipv6: bool,
) -> io::Result<()> {
    match is_ipv6 {
        true => enable(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => enable(socket, libc::IPPROTO_IP, libc::IP_PKTINFO),
    }
}

/// Has the kernel tell how many datagrams it has dropped for want of room.
///
/// # Errors
/// What setsockopt says.
pub(in crate::server) fn tell_drops(socket: BorrowedFd<'_>) -> io::Result<()> {
    enable(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)
}

/// How many datagrams the kernel has dropped so far for want of room in the socket's buffer.
///
/// # Errors
/// What getsockopt says.
pub(in crate::server) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = [0_u32; MEMINFO_DROPS + 1];
    let mut length = libc::socklen_t::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    // SAFETY: `info` and `length` live across the call, and `length` is the size of `info`;
    // getsockopt writes no more than that, whole numbers of any value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(info[MEMINFO_DROPS]) } else { Err(io::Error::last_os_error()) }
}

fn enable(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    // SAFETY: `on` lives across the call and `length` is its size; setsockopt only reads it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where the drops stand in what `SO_MEMINFO` says (linux/sock_diag.h, `SK_MEMINFO_DROPS`).
const MEMINFO_DROPS: usize = 8;

/// What the kernel said of a datagram: the bytes of each part that it has written.
#[derive(Clone, Copy, Default)]
struct Envelope {
    packet_bytes: usize,
    name_bytes: usize,
    control_bytes: usize,
}

/// One datagram of a batch.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Datagram<'b> {
    /// What it carries, at most [`PACKET_BYTES_MAX`] of it; what is longer is cut, and asks for no
    /// more than its beginning does.
    pub(in crate::server) bytes: &'b [u8],
    /// Who sent it; mapped for IPv4 on a dual-stack socket.
    pub(in crate::server) from: SocketAddr,
    /// Where an answer goes.
    pub(in crate::server) origin: Origin,
}

/// Datagrams that have arrived: the memory for them, and those of the last call.
pub(crate) struct ReceiveBatch {
    packets: Box<[[u8; PACKET_BYTES_MAX]]>,
    names: Box<[SocketName]>,
    controls: Box<[Control]>,
    envelopes: [Envelope; BATCH_MAX],
    count: usize,
}

impl ReceiveBatch {
    /// Memory for [`BATCH_MAX`] datagrams.
    pub(in crate::server) fn new() -> ReceiveBatch {
        ReceiveBatch {
            packets: vec![[0; PACKET_BYTES_MAX]; BATCH_MAX].into_boxed_slice(),
            names: vec![SocketName::EMPTY; BATCH_MAX].into_boxed_slice(),
            controls: vec![Control::EMPTY; BATCH_MAX].into_boxed_slice(),
            envelopes: [Envelope::default(); BATCH_MAX],
            count: 0,
        }
    }

    /// Takes what has arrived, in place of the batch before; how many that are. Fewer than
    /// [`BATCH_MAX`]: nothing more is there, and an event tells when there is. An ICMP error that
    /// is left on the socket is passed over.
    ///
    /// # Errors
    /// What recvmmsg says again and again: nothing was taken, more may be there.
    pub(in crate::server) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        let mut errors = 0;
        loop {
            match self.receive_once(socket) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if errors == PENDING_ERRORS_MAX => return Err(error),
                // Telling it took it off the socket.
                Err(_) => errors += 1,
            }
        }
    }

    fn receive_once(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut headers = Headers::new();
        self.lend(&mut headers);
        // SAFETY: `lend` has pointed all the headers at buffers of `self` and of `headers`, which
        // both stay borrowed until the call returns, and given their lengths.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH_MAX as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        self.take_back(&headers, count);
        Ok(count)
    }

    /// Points each header at its own buffers, whole as they are: the kernel has shortened the
    /// lengths of those it has written to.
    fn lend(&mut self, headers: &mut Headers) {
        let parts = self.packets.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for (((packet, name), control), room) in parts.zip(headers.iter_mut()) {
            room.point_at(
                (packet.as_mut_ptr(), PACKET_BYTES_MAX),
                (name.as_mut_ptr(), NAME_BYTES),
                (control.as_mut_ptr(), CONTROL_BYTES),
            );
        }
    }

    /// Notes what the kernel has written to the first `count`, never more than there is room for.
    fn take_back(&mut self, headers: &Headers, count: usize) {
        self.count = count.min(BATCH_MAX);
        for (envelope, header) in self.envelopes.iter_mut().zip(&headers.headers[..self.count]) {
            // SAFETY: `lend` has written every header.
            let header = unsafe { header.assume_init_ref() };
            *envelope = Envelope {
                packet_bytes: (header.msg_len as usize).min(PACKET_BYTES_MAX),
                name_bytes: (header.msg_hdr.msg_namelen as usize).min(NAME_BYTES),
                control_bytes: (header.msg_hdr.msg_controllen as usize).min(CONTROL_BYTES),
            };
        }
    }

    /// The batch's datagrams, but for those that cannot be answered: from port 0.
    pub(in crate::server) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let parts = self.packets.iter().zip(&self.names).zip(&self.controls);
        parts.zip(&self.envelopes[..self.count]).filter_map(|(((packet, name), control), wrote)| {
            let Envelope { packet_bytes, name_bytes, control_bytes } = *wrote;
            let from = name.address(name_bytes).filter(|from| from.port() != 0)?;
            let local = control.told(control_bytes).local;
            let origin = Origin { name: *name, name_bytes, local };
            Some(Datagram { bytes: &packet[..packet_bytes], from, origin })
        })
    }

    /// The socket's drop counter when the batch's last datagram was queued, modulo 2^32; none while
    /// it is 0, or when there is no batch.
    pub(in crate::server) fn drops(&self) -> Option<u32> {
        let last = self.count.checked_sub(1)?;
        self.controls[last].told(self.envelopes[last].control_bytes).drops
    }
}

/// An answer: where it stands, and where it goes.
struct Answer {
    start: usize,
    bytes: usize,
    to: Origin,
    control: Control,
    control_bytes: usize,
}

/// Answers to be sent: the memory for them, and those written so far.
pub(crate) struct SendBatch {
    packets: Box<[u8]>,
    used: usize,
    answers: Vec<Answer>,
}

impl SendBatch {
    /// Memory for [`BATCH_MAX`] answers.
    pub(in crate::server) fn new() -> SendBatch {
        SendBatch {
            packets: vec![0; BATCH_MAX * ANSWER_BYTES_MAX].into_boxed_slice(),
            used: 0,
            answers: Vec::with_capacity(BATCH_MAX),
        }
    }

    /// Answers that are not yet sent.
    #[cfg(test)]
    pub(in crate::server) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Where the next answer can be written: [`ANSWER_BYTES_MAX`] bytes. None when the batch is
    /// full and must be sent first.
    pub(in crate::server) fn room(&mut self) -> Option<&mut [u8]> {
        let room = self.packets[self.used..].get_mut(..ANSWER_BYTES_MAX);
        room.filter(|_| self.answers.len() < BATCH_MAX)
    }

    /// Adds the answer that stands in the first `bytes` of the room. Without room nothing is added.
    pub(in crate::server) fn push(&mut self, bytes: usize, to: &Origin) {
        let start = self.used;
        let Some(bytes) = self.room().map(|room| bytes.min(room.len())) else { return };
        let (control, control_bytes) = to.local.map_or((Control::EMPTY, 0), Control::leave_from);
        self.used += bytes;
        self.answers.push(Answer { start, bytes, to: *to, control, control_bytes });
    }

    /// Sends the batch and empties it; how many answers were dropped, because the socket would not
    /// take them.
    pub(in crate::server) fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        let dropped = send_all(self.answers.len(), |from| self.send_once(socket, from));
        self.answers.clear();
        self.used = 0;
        dropped
    }

    /// Sends the answers from the index `from` on; how many the socket has taken.
    fn send_once(&self, socket: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        let mut headers = Headers::new();
        let count = self.lend(from, &mut headers);
        // SAFETY: `lend` has pointed the first `count` headers at buffers of `self` and of
        // `headers`, which both stay borrowed until the call returns, and given their lengths. The
        // kernel only reads the buffers of `self`.
        let result = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }

    /// Points a header at each answer from the index `from` on; how many they are.
    fn lend(&self, from: usize, headers: &mut Headers) -> usize {
        let answers = self.answers.get(from..).unwrap_or_default();
        for (answer, room) in answers.iter().zip(headers.iter_mut()) {
            let packet = &self.packets[answer.start..answer.start + answer.bytes];
            // The kernel only reads them.
            room.point_at(
                (packet.as_ptr().cast_mut(), packet.len()),
                (answer.to.name.as_ptr().cast_mut(), answer.to.name_bytes),
                (answer.control.as_ptr().cast_mut(), answer.control_bytes),
            );
        }
        answers.len().min(BATCH_MAX)
    }
}

/// Sends `count` answers by calls that begin at an index and say how many were taken; how many were
/// dropped. An answer that the kernel refuses (no route, a firewall) costs only itself.
fn send_all(count: usize, mut send_from: impl FnMut(usize) -> io::Result<usize>) -> usize {
    let (mut at, mut dropped) = (0, 0);
    while at < count {
        match send_from(at) {
            Ok(sent) if sent > 0 => at += sent,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Room comes too late for the rest: a client asks again.
            Err(error) if is_out_of_room(&error) => return dropped + count - at,
            _ => {
                at += 1;
                dropped += 1;
            }
        }
    }
    dropped
}

fn is_out_of_room(error: &io::Error) -> bool {
    let errors = [libc::EAGAIN, libc::EWOULDBLOCK, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|number| errors.contains(&number))
}

/// What a system call is told of a batch: for each datagram a header, and its one buffer. Written
/// anew for each call, as far as the call is to read.
struct Headers {
    buffers: [MaybeUninit<libc::iovec>; BATCH_MAX],
    headers: [MaybeUninit<libc::mmsghdr>; BATCH_MAX],
}

impl Headers {
    fn new() -> Headers {
        Headers {
            buffers: [const { MaybeUninit::uninit() }; BATCH_MAX],
            headers: [const { MaybeUninit::uninit() }; BATCH_MAX],
        }
    }

    /// Room for one after the other.
    fn iter_mut(&mut self) -> impl Iterator<Item = HeaderRoom<'_>> {
        let rooms = self.buffers.iter_mut().zip(&mut self.headers);
        rooms.map(|(buffer, header)| HeaderRoom { buffer, header })
    }

    fn as_mut_ptr(&mut self) -> *mut libc::mmsghdr {
        self.headers.as_mut_ptr().cast()
    }
}

/// Room for one header and its buffer.
struct HeaderRoom<'h> {
    buffer: &'h mut MaybeUninit<libc::iovec>,
    header: &'h mut MaybeUninit<libc::mmsghdr>,
}

impl HeaderRoom<'_> {
    /// Points the header at a datagram, at its socket address and at its control messages; each
    /// stands for as many bytes as it is given with.
    fn point_at(
        self,
        (packet, packet_bytes): (*mut u8, usize),
        (name, name_bytes): (*mut u8, usize),
        (control, control_bytes): (*mut u8, usize),
    ) {
        let buffer = libc::iovec { iov_base: packet.cast(), iov_len: packet_bytes };
        // SAFETY: the structure holds integers and raw pointers only, for which zero is a value.
        let mut header: libc::mmsghdr = unsafe { zeroed() };
        header.msg_hdr.msg_name = name.cast();
        header.msg_hdr.msg_namelen = name_bytes as libc::socklen_t;
        header.msg_hdr.msg_iov = self.buffer.write(buffer);
        header.msg_hdr.msg_iovlen = 1;
        if control_bytes > 0 {
            header.msg_hdr.msg_control = control.cast();
            header.msg_hdr.msg_controllen = control_bytes as _;
        }
        self.header.write(header);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    impl ReceiveBatch {
        /// Puts in what a simulated socket has, in place of the batch before: bytes, who sent
        /// them, and the local address that they came to; how many were taken.
        pub(crate) fn fill<'a>(
            &mut self,
            arrived: impl Iterator<Item = (&'a [u8], SocketAddr, IpAddr)>,
        ) -> usize {
            self.count = 0;
            for (bytes, from, local) in arrived.take(BATCH_MAX) {
                let packet_bytes = bytes.len().min(PACKET_BYTES_MAX);
                self.packets[self.count][..packet_bytes].copy_from_slice(&bytes[..packet_bytes]);
                let (name, name_bytes) = SocketName::of(from);
                let (control, control_bytes) = Control::leave_from(local);
                (self.names[self.count], self.controls[self.count]) = (name, control);
                self.envelopes[self.count] = Envelope { packet_bytes, name_bytes, control_bytes };
                self.count += 1;
            }
            self.count
        }
    }

    impl SendBatch {
        /// Hands each answer to a simulated socket, with where it goes and which local address it
        /// leaves from, and empties the batch.
        pub(crate) fn hand_over(
            &mut self,
            mut take: impl FnMut(&[u8], Option<SocketAddr>, Option<IpAddr>),
        ) {
            for answer in self.answers.drain(..) {
                let to = answer.to.name.address(answer.to.name_bytes);
                let local = answer.control.told(answer.control_bytes).local;
                take(&self.packets[answer.start..answer.start + answer.bytes], to, local);
            }
            self.used = 0;
        }
    }

    /// What the kernel does with one header of `recvmmsg`.
    struct Arrival<'a> {
        bytes: &'a [u8],
        from: &'a str,
        local: Option<&'a str>,
    }

    fn origin(remote: &str, local: Option<&str>) -> Origin {
        let (name, name_bytes) = SocketName::of(remote.parse().unwrap());
        Origin { name, name_bytes, local: local.map(|local| local.parse().unwrap()) }
    }

    /// Writes through a header's pointers as the kernel would.
    fn deliver(arrival: &Arrival<'_>, header: &mut libc::mmsghdr) {
        let (mut name, name_bytes) = SocketName::of(arrival.from.parse().unwrap());
        let local = arrival.local.map(|local| Control::leave_from(local.parse().unwrap()));
        let (mut control, control_bytes) = local.unwrap_or((Control::EMPTY, 0));
        let message = &mut header.msg_hdr;
        // SAFETY: the header points at live buffers of the lengths it states.
        unsafe {
            let buffer = &*message.msg_iov;
            let bytes = arrival.bytes.len().min(buffer.iov_len);
            buffer.iov_base.cast::<u8>().copy_from(arrival.bytes.as_ptr(), bytes);
            header.msg_len = u32::try_from(bytes).unwrap();
            assert!(name_bytes <= message.msg_namelen as usize, "room for a name");
            message.msg_name.cast::<u8>().copy_from(name.as_mut_ptr(), name_bytes);
            assert!(control_bytes <= message.msg_controllen, "room for control messages");
            message.msg_control.cast::<u8>().copy_from(control.as_mut_ptr(), control_bytes);
        }
        message.msg_namelen = u32::try_from(name_bytes).unwrap();
        message.msg_controllen = control_bytes as _;
        let cut = arrival.bytes.len() > header.msg_len as usize;
        message.msg_flags = if cut { libc::MSG_TRUNC } else { 0 };
    }

    /// A batch as `receive` would leave it.
    fn receive(batch: &mut ReceiveBatch, arrivals: &[Arrival<'_>]) {
        let mut headers = Headers::new();
        batch.lend(&mut headers);
        let filled = arrivals.iter().zip(&mut headers.headers);
        // SAFETY: `lend` has written every header.
        filled.for_each(|(arrival, header)| deliver(arrival, unsafe { header.assume_init_mut() }));
        batch.take_back(&headers, arrivals.len());
    }

    #[test]
    fn a_batch_is_what_the_kernel_wrote_into_it() {
        let long = [7; PACKET_BYTES_MAX + 1];
        let first = [
            Arrival { bytes: b"one", from: "192.0.2.1:1", local: Some("192.0.2.9") },
            Arrival { bytes: b"", from: "[2001:db8::1]:2", local: Some("2001:db8::9") },
            Arrival { bytes: &long, from: "192.0.2.3:3", local: None },
            Arrival { bytes: b"nobody can answer", from: "192.0.2.4:0", local: None },
            Arrival { bytes: b"five", from: "192.0.2.5:65535", local: Some("192.0.2.9") },
        ];
        let second = [Arrival { bytes: b"six", from: "[2001:db8::1]:6", local: Some("::9") }];
        let mut batch = ReceiveBatch::new();
        for arrivals in [&first[..], &second, &[], &first] {
            receive(&mut batch, arrivals);
            let found: Vec<Datagram<'_>> = batch.datagrams().collect();
            let answerable = arrivals.iter().filter(|arrival| !arrival.from.ends_with(":0"));
            assert_eq!(found.len(), answerable.clone().count(), "datagrams that can be answered");
            for (datagram, arrival) in found.iter().zip(answerable) {
                let (name, from) = (arrival.from, arrival.from.parse().unwrap());
                let bytes = &arrival.bytes[..arrival.bytes.len().min(PACKET_BYTES_MAX)];
                let Origin { name: to, name_bytes, local } = datagram.origin;
                assert_eq!(datagram.bytes, bytes, "{name}");
                assert_eq!(datagram.from, from, "who asked");
                assert_eq!(to.address(name_bytes), Some(from), "where an answer goes");
                assert_eq!(local, arrival.local.map(|local| local.parse().unwrap()), "{name}");
            }
            assert_eq!(batch.drops(), None, "drops that nobody told of");
        }
    }

    #[test]
    fn a_whole_batch_has_a_buffer_for_each_datagram() {
        let bytes: Vec<Vec<u8>> =
            (0..BATCH_MAX).map(|at| vec![u8::try_from(at).unwrap(); PACKET_BYTES_MAX]).collect();
        let arrivals: Vec<Arrival<'_>> = bytes
            .iter()
            .map(|bytes| Arrival { bytes, from: "[2001:db8::1]:6881", local: Some("::9") })
            .collect();
        let mut batch = ReceiveBatch::new();
        receive(&mut batch, &arrivals);
        let found: Vec<&[u8]> = batch.datagrams().map(|datagram| datagram.bytes).collect();
        assert_eq!(found, bytes);
    }

    /// What a header of `sendmmsg` points at: bytes, destination, local address.
    fn told_to_send(header: &libc::mmsghdr) -> (Vec<u8>, SocketAddr, Option<IpAddr>) {
        let message = &header.msg_hdr;
        let (mut name, mut control) = (SocketName::EMPTY, Control::EMPTY);
        let (name_bytes, control_bytes) = (message.msg_namelen as usize, message.msg_controllen);
        assert!(name_bytes <= NAME_BYTES && control_bytes <= CONTROL_BYTES);
        // SAFETY: the header points at live buffers of the lengths it states.
        let bytes = unsafe {
            name.as_mut_ptr().copy_from(message.msg_name.cast(), name_bytes);
            if control_bytes > 0 {
                control.as_mut_ptr().copy_from(message.msg_control.cast(), control_bytes);
            }
            let buffer = &*message.msg_iov;
            std::slice::from_raw_parts(buffer.iov_base.cast::<u8>(), buffer.iov_len).to_vec()
        };
        (bytes, name.address(name_bytes).unwrap(), control.told(control_bytes).local)
    }

    #[test]
    fn each_answer_has_its_own_bytes_destination_and_local_address() {
        let answers = [
            (&b"one"[..], origin("192.0.2.1:1", Some("192.0.2.9"))),
            (b"", origin("[2001:db8::1]:2", Some("2001:db8::9"))),
            (&[7; ANSWER_BYTES_MAX], origin("[::ffff:192.0.2.3]:3", Some("::ffff:192.0.2.9"))),
            (b"four", origin("192.0.2.4:4", None)),
        ];
        let mut batch = SendBatch::new();
        for (bytes, origin) in &answers {
            batch.room().unwrap()[..bytes.len()].copy_from_slice(bytes);
            batch.push(bytes.len(), origin);
        }
        for from in 0..=answers.len() {
            let mut headers = Headers::new();
            let count = batch.lend(from, &mut headers);
            assert_eq!(count, answers.len() - from, "answers from {from}");
            for (header, (bytes, origin)) in headers.headers.iter().zip(&answers[from..]) {
                // SAFETY: `lend` has written the first `count` headers.
                let told = told_to_send(unsafe { header.assume_init_ref() });
                let remote = origin.name.address(origin.name_bytes).unwrap();
                assert_eq!(told, (bytes.to_vec(), remote, origin.local));
            }
        }
    }

    #[test]
    fn a_full_batch_has_no_room_until_it_is_sent() {
        let origin = origin("192.0.2.1:1", None);
        for answer_bytes in [0, 8, ANSWER_BYTES_MAX, ANSWER_BYTES_MAX + 1] {
            let mut batch = SendBatch::new();
            for answers in 0..BATCH_MAX {
                assert_eq!(batch.len(), answers);
                assert_eq!(batch.room().map(|room| room.len()), Some(ANSWER_BYTES_MAX));
                batch.push(answer_bytes, &origin);
            }
            assert_eq!(batch.room(), None, "{BATCH_MAX} answers of {answer_bytes} bytes");
            batch.push(answer_bytes, &origin);
            assert_eq!(batch.len(), BATCH_MAX);
        }
    }

    #[test]
    fn what_the_socket_does_not_take_is_dropped_and_counted() {
        type Outcome = Result<usize, libc::c_int>;
        let rows: &[(&str, usize, &[Outcome], usize)] = &[
            ("nothing to send", 0, &[], 0),
            ("all at once", 5, &[Ok(5)], 0),
            ("in two parts", 5, &[Ok(3), Ok(2)], 0),
            ("a signal between", 5, &[Err(libc::EINTR), Ok(5)], 0),
            ("no room at all", 5, &[Err(libc::EAGAIN)], 5),
            ("no room for the rest", 5, &[Ok(2), Err(libc::EAGAIN)], 3),
            ("no memory for the rest", 5, &[Ok(4), Err(libc::ENOBUFS)], 1),
            ("the first has no route", 5, &[Err(libc::ENETUNREACH), Ok(4)], 1),
            ("one in the middle is forbidden", 5, &[Ok(2), Err(libc::EPERM), Ok(2)], 1),
            ("the last is refused", 5, &[Ok(4), Err(libc::EINVAL)], 1),
            ("an ICMP error was left", 2, &[Err(libc::ECONNREFUSED), Ok(1)], 1),
            ("each is refused", 2, &[Err(libc::EINVAL), Err(libc::EINVAL)], 2),
            ("the kernel took none", 2, &[Ok(0), Ok(1)], 1),
        ];
        for (name, count, outcomes, expected) in rows {
            let mut outcomes = outcomes.iter();
            let dropped = send_all(*count, |_| {
                outcomes.next().unwrap().map_err(io::Error::from_raw_os_error)
            });
            assert_eq!(dropped, *expected, "{name}");
            assert_eq!(outcomes.next(), None, "{name}: not asked often enough");
        }
    }
}
