//! HTTP by hand over a blocking socket: the bytes that go out are the test's own, the reply comes
//! back whole.
//!
//! Owns: one connection, and the cutting of replies out of its stream (head, then `Content-Length`
//! bytes, or all until the end where there is none), so that kept-alive and pipelined replies can
//! be told apart. Limits: every read and write is bounded by [`PATIENCE`]; chunked replies are not
//! decoded.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use flate2::read::GzDecoder;
use serde_bencode::value::Value;
use socket2::{Domain, Protocol, Socket, Type};

use super::PATIENCE;

/// A bencoded dictionary.
pub(crate) type Dict = HashMap<Vec<u8>, Value>;

/// One reply.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status line and the headers, without the empty line.
    pub(crate) head: String,
    /// The body as it came.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The number in the status line.
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let code = self.head.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("no status in {self:?}"))
    }

    /// The value of a header, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .into_iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// The same reply with its gzipped body unpacked.
    #[track_caller]
    pub(crate) fn unzipped(self) -> Reply {
        let mut body = Vec::new();
        GzDecoder::new(self.body.as_slice()).read_to_end(&mut body).expect("a gzipped body");
        Reply { head: self.head, body }
    }

    /// The body as the dictionary it must be.
    #[track_caller]
    pub(crate) fn dict(&self) -> Dict {
        match serde_bencode::from_bytes(&self.body) {
            Ok(Value::Dict(dict)) => dict,
            other => panic!("not a bencoded dictionary: {other:?} in {self:?}"),
        }
    }
}

/// A connection to the tracker.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    #[track_caller]
    pub(crate) fn open(to: SocketAddr) -> Connection {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"));
        Connection::over(stream)
    }

    /// Connects from a certain address of this machine.
    #[track_caller]
    pub(crate) fn open_from(source: Ipv4Addr, to: SocketAddr) -> Connection {
        let socket =
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("a loopback address");
        socket
            .connect_timeout(&to.into(), PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"));
        Connection::over(socket.into())
    }

    fn over(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("the limit is not zero");
        Connection(BufReader::new(stream))
    }

    /// Two handles on the connection, one to send with and one to receive with.
    #[track_caller]
    pub(crate) fn split(self) -> (Connection, Connection) {
        let sending = self.0.get_ref().try_clone().expect("a descriptor");
        (Connection::over(sending), self)
    }

    /// Sends what the tracker is willing to take: it may have answered and closed before the end.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Says that nothing more will be sent; the tracker may have closed already.
    pub(crate) fn half_close(&mut self) {
        let _ = self.0.get_mut().shutdown(Shutdown::Write);
    }

    /// A GET that leaves the connection open, and its reply.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: tracker\r\n\r\n").as_bytes());
        self.reply()
    }

    /// Sends `bytes` as they stand.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the tracker takes what is sent");
    }

    /// The next reply.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read_bytes = self.0.read_line(&mut head).expect("a readable head of a reply");
            assert!(read_bytes > 0, "the connection ended in the head of a reply: {head:?}");
        }
        let mut reply = Reply { head: head.trim_end().to_owned(), body: Vec::new() };
        let body_bytes = reply
            .header("Content-Length")
            .map(|value| value.parse().expect("a number in Content-Length"));
        match body_bytes {
            Some(length) => reply.body = self.exactly(length),
            None => reply.body = self.rest(),
        }
        reply
    }

    /// All bytes until the tracker closes the connection.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("the tracker closes the connection in order");
        bytes
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("as many bytes as Content-Length says");
        bytes
    }
}

/// Sends `request` as it stands and returns all that comes back until the tracker closes.
#[track_caller]
pub(crate) fn exchange(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(to);
    connection.send(request);
    connection.rest()
}

/// One GET on a connection of its own.
#[track_caller]
pub(crate) fn get(to: SocketAddr, target: &str) -> Reply {
    let mut connection = Connection::open(to);
    connection.send(
        format!("GET {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    connection.reply()
}

/// Every byte as `%XX`: what any decoder must take, whatever the bytes are.
pub(crate) fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    })
}
