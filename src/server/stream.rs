//! What a connection reads from and writes to: a TCP socket, or a simulated one in the tests.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::{Event, Source};
use mio::net::TcpStream;

/// A stream of bytes both ways that a poll can watch.
pub trait Stream: Read + Write + Source {
    /// Shuts down the sending side: the peer reads the end of input, what it sends still arrives.
    ///
    /// # Errors
    /// When the peer is gone already.
    fn shut_down_sending(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn shut_down_sending(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What a poll has to tell of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// There may be input, or the end of it.
    pub readable: bool,
    /// The peer has closed its sending side.
    pub read_closed: bool,
    /// The connection is broken: nobody is left to answer.
    pub broken: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Readiness {
        Readiness {
            readable: event.is_readable() || event.is_read_closed(),
            read_closed: event.is_read_closed(),
            broken: event.is_error() || event.is_write_closed(),
        }
    }
}
