//! The listener of the status pages, with threads of its own: what an operator's browser does, or
//! does not do, is nobody else's business.
//!
//! Owns: one thread that accepts, and one for each connection while it is answered. A request has
//! [`REQUEST_TIME`], its answer [`ANSWER_TIME`]; a connection carries one request.
//!
//! Never: touches a worker or its sockets.
//!
//! Limits: [`CONNECTIONS_MAX`] at a time; one more is closed unread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};

use crate::frontend::{Page, STATUS_REQUEST_BYTES_MAX, Status};
use crate::server::inherited::{HandedSocket, Purpose};
use crate::wire::http::request::{Parsed, parse};

const CONNECTIONS_MAX: usize = 16;
const REQUEST_TIME: Duration = Duration::from_secs(2);
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How often requests are sampled, and the stop is looked for.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// The status pages' listener. Dropped, it accepts nobody any more; nobody is waited for.
pub struct Admin {
    address: SocketAddr,
    listener: Socket,
    stopping: Arc<AtomicBool>,
}

impl Admin {
    /// Opens the listener, or takes the one that is `there` already.
    ///
    /// # Errors
    /// When the address is taken or bad.
    pub fn listen(address: SocketAddr, there: &[HandedSocket]) -> io::Result<TcpListener> {
        let listener = match there.iter().find(|handed| handed.is_for(Purpose::Admin, address)) {
            Some(handed) => OwnedFd::from(handed.try_clone()?).into(),
            None => TcpListener::bind(address)?,
        };
        // Accepting ends from time to time, so that a second is noticed.
        SockRef::from(&listener).set_read_timeout(Some(SAMPLE_INTERVAL))?;
        Ok(listener)
    }

    /// Serves `status` on `listener`.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(listener: TcpListener, status: Arc<Status>) -> io::Result<Admin> {
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let own = SockRef::from(&listener).try_clone()?;
        let told = Arc::clone(&stopping);
        let run = move || accept_all(&listener, &status, &told);
        thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(Admin { address, listener: own, stopping })
    }

    /// The listener once more, for a successor.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn for_successor(&self) -> io::Result<HandedSocket> {
        let socket = self.listener.try_clone()?;
        Ok(HandedSocket { purpose: Purpose::Admin, activated: false, socket })
    }

    /// Where it listens, with the port that the kernel chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

fn accept_all(listener: &TcpListener, status: &Arc<Status>, stopping: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut sample_at = Instant::now();
    while !stopping.load(Ordering::Relaxed) {
        if Instant::now() >= sample_at {
            status.sample();
            // After a standstill there is nothing to catch up with.
            sample_at = (sample_at + SAMPLE_INTERVAL).max(Instant::now());
        }
        match listener.accept() {
            Ok((stream, _)) => serve_apart(stream, status, &open),
            Err(error) if is_a_timeout(error.kind()) => {}
            Err(error) => {
                log::debug!("status pages: cannot accept: {error}");
                thread::sleep(PAUSE);
            }
        }
    }
}

fn is_a_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Answers one connection in a thread of its own, if there is one to be had.
fn serve_apart(stream: TcpStream, status: &Arc<Status>, open: &Arc<AtomicUsize>) {
    if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
        open.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let place = Place(Arc::clone(open));
    let status = Arc::clone(status);
    let serve = move || {
        let _place = place;
        // Whoever goes away has no use for an error.
        let _ = serve(stream, &status);
    };
    if let Err(error) = thread::Builder::new().name("admin-answer".to_owned()).spawn(serve) {
        log::warn!("status pages: no thread to answer with: {error}");
    }
}

/// One of [`CONNECTIONS_MAX`], given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(mut stream: TcpStream, status: &Status) -> io::Result<()> {
    let page = read_request(&mut stream, status, Instant::now() + REQUEST_TIME)?;
    write_by(&mut stream, &page.bytes(), Instant::now() + ANSWER_TIME)?;
    stream.shutdown(Shutdown::Write)?;
    // What is still to come would reset the connection, and with it the answer.
    stream.set_read_timeout(Some(PAUSE))?;
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(())
}

/// Reads one request, and makes its answer.
fn read_request(stream: &mut TcpStream, status: &Status, until: Instant) -> io::Result<Page> {
    let (mut request, mut bytes) = ([0; STATUS_REQUEST_BYTES_MAX], 0);
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        let read = stream.read(&mut request[bytes..])?;
        bytes += read;
        match parse(&request[..bytes], STATUS_REQUEST_BYTES_MAX) {
            Ok(Parsed::Complete { head, .. }) => return Ok(status.answer(&head)),
            Ok(Parsed::Partial) if read > 0 => {}
            Ok(Parsed::Partial) | Err(_) => return Ok(status.fault()),
        }
    }
}

fn write_by(stream: &mut TcpStream, mut bytes: &[u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        let written = stream.write(bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// How long there is until a time.
///
/// # Errors
/// When it is over.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness;

    const WAIT_MAX: Duration = Duration::from_secs(30);

    fn admin() -> Admin {
        let site = harness::Site::new(harness::policy());
        let listener = Admin::listen("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
        Admin::start(listener, Arc::new(harness::status(&site))).unwrap()
    }

    fn connect(admin: &Admin) -> TcpStream {
        let stream = TcpStream::connect(admin.address()).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream
    }

    fn answer_to(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        // A connection that was closed unread may be reset.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn a_request_in_pieces_is_answered_and_garbage_too() {
        let admin = admin();
        let mut stream = connect(&admin);
        for piece in ["GET /health HT", "TP/1.1\r\nHost: local", "host\r\n\r\n"] {
            stream.write_all(piece.as_bytes()).unwrap();
        }
        let answer = answer_to(stream);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "in pieces: {answer}");
        for (garbage, status) in
            [(&b"\x16\x03\x01\x00\r\n\r\n"[..], "400"), (b"GET /x\r\n\r\n", "400")]
        {
            let mut stream = connect(&admin);
            stream.write_all(garbage).unwrap();
            let answer = answer_to(stream);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{garbage:?}: {answer}");
        }
        let mut stream = connect(&admin);
        stream.write_all(&[b'a'; 2 * STATUS_REQUEST_BYTES_MAX]).unwrap();
        assert!(answer_to(stream).starts_with("HTTP/1.1 400 "), "too long a request");
    }

    #[test]
    fn silent_connections_keep_nobody_out_for_longer_than_their_time() {
        let admin = admin();
        let silent: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(|_| connect(&admin)).collect();
        let end = Instant::now() + WAIT_MAX;
        loop {
            let mut stream = connect(&admin);
            // One that is closed unread may be reset at once.
            let _ = stream.write_all(b"GET /health HTTP/1.1\r\n\r\n");
            if answer_to(stream).starts_with("HTTP/1.1 200 ") {
                break;
            }
            assert!(Instant::now() < end, "silent connections keep others out");
        }
        for stream in silent {
            assert_eq!(answer_to(stream), "", "a silent one is closed without a word");
        }
    }
}
