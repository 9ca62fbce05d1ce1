//! A connection's stream without a socket: two buffers, and a poll that tells of edges as epoll
//! does.
//!
//! Owns: what is on its way in both directions, how much the peer's window takes, and which edges
//! have not been told yet. An edge comes when something arrives, or when a full window opens again;
//! it is told once. Registering tells what is ready already.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::server::{Readiness, Stream};

#[derive(Default)]
struct Wire {
    /// What has arrived and is not read yet.
    inbound: Vec<u8>,
    /// Nothing arrives behind `inbound`.
    end_of_input: bool,
    /// Bytes the peer's window still takes.
    window: usize,
    /// What the peer has been sent.
    sent: Vec<u8>,
    /// The tracker's side has been dropped.
    closed: bool,
    /// The tracker's side sends no more.
    shut_down: bool,
    /// A write has found the window full.
    write_blocked: bool,
    interest: Option<Interest>,
    /// There is something to tell.
    edge: bool,
}

/// The tracker's end of a connection.
pub struct SimulatedStream(Rc<RefCell<Wire>>);

/// The client's end.
pub struct SimulatedPeer(Rc<RefCell<Wire>>);

/// Both ends of a new connection; the client's window is closed.
pub fn pair() -> (SimulatedStream, SimulatedPeer) {
    let wire = Rc::new(RefCell::new(Wire::default()));
    (SimulatedStream(Rc::clone(&wire)), SimulatedPeer(wire))
}

impl SimulatedPeer {
    /// Bytes arrive at the tracker, and behind them the end of input if they are the last.
    pub fn deliver(&self, bytes: &[u8], is_last: bool) {
        let mut wire = self.0.borrow_mut();
        wire.edge |= !bytes.is_empty() || is_last && !wire.end_of_input;
        wire.inbound.extend_from_slice(bytes);
        wire.end_of_input |= is_last;
    }

    /// The client takes so many bytes more.
    pub fn open_window(&self, bytes: usize) {
        let mut wire = self.0.borrow_mut();
        wire.window = wire.window.saturating_add(bytes);
        let waits = wire.write_blocked && wire.interest.is_some_and(Interest::is_writable);
        wire.edge |= waits && wire.window > 0;
        wire.write_blocked &= wire.window == 0;
    }

    /// What the poll has to tell, once.
    pub fn take_event(&self) -> Option<Readiness> {
        let mut wire = self.0.borrow_mut();
        if wire.interest.is_none() || !std::mem::take(&mut wire.edge) {
            return None;
        }
        let readable = !wire.inbound.is_empty() || wire.end_of_input;
        Some(Readiness { readable, read_closed: wire.end_of_input, broken: false })
    }

    /// What the client has been sent.
    pub fn sent(&self) -> Vec<u8> {
        self.0.borrow().sent.clone()
    }

    /// The tracker has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// The tracker sends no more.
    pub fn is_shut_down(&self) -> bool {
        self.0.borrow().shut_down
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

impl Read for SimulatedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.inbound.is_empty() && !wire.end_of_input {
            return Err(ErrorKind::WouldBlock.into());
        }
        let bytes = wire.inbound.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&wire.inbound[..bytes]);
        wire.inbound.drain(..bytes);
        Ok(bytes)
    }
}

impl Write for SimulatedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.shut_down, "written after the sending side was shut down");
        let taken = bytes.len().min(wire.window);
        wire.window -= taken;
        wire.write_blocked = taken < bytes.len();
        wire.sent.extend_from_slice(&bytes[..taken]);
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SimulatedStream {
    fn watch(&mut self, interest: Interest) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        wire.interest = Some(interest);
        wire.edge = !wire.inbound.is_empty()
            || wire.end_of_input
            || interest.is_writable() && wire.window > 0;
        Ok(())
    }
}

impl Source for SimulatedStream {
    fn register(&mut self, _: &Registry, _: Token, interest: Interest) -> io::Result<()> {
        self.watch(interest)
    }

    fn reregister(&mut self, _: &Registry, _: Token, interest: Interest) -> io::Result<()> {
        self.watch(interest)
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        self.0.borrow_mut().interest = None;
        Ok(())
    }
}

impl Stream for SimulatedStream {
    fn shut_down_sending(&self) -> io::Result<()> {
        self.0.borrow_mut().shut_down = true;
        Ok(())
    }
}
