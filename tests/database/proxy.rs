//! What stands between a tracker and MariaDB in some tests: a relay that can be away, and that can
//! lose what matters most.
//!
//! Owns: a listening port, and every connection through it. It knows as much of MySQL's protocol as
//! that a packet is three bytes of length, one of number and a payload, and that a statement is
//! packet 0 with a payload of the byte 3 and text; enough to see a COMMIT.
//!
//! Of the commits that are to be lost, every other one never reaches the server, which rolls the
//! transaction back; of the rest the server's answer never reaches the tracker. To the tracker both
//! look the same: the connection ends.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const HEADER_BYTES: usize = 4;
const COM_QUERY: u8 = 3;

/// A relay. It ends when dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    relay: Arc<Relay>,
}

struct Relay {
    server: SocketAddr,
    away: AtomicBool,
    ended: AtomicBool,
    to_lose: AtomicU32,
    questions_lost: AtomicU32,
    answers_lost: AtomicU32,
    /// Both ends of every connection so far.
    streams: Mutex<Vec<TcpStream>>,
}

/// What becomes of a commit.
enum Fate {
    Passed,
    QuestionLost,
    AnswerLost,
}

impl Proxy {
    /// A relay to the server on `server_port` of this machine.
    #[track_caller]
    pub(crate) fn start(server_port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let relay = Arc::new(Relay {
            server: SocketAddr::from((Ipv4Addr::LOCALHOST, server_port)),
            away: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            to_lose: AtomicU32::new(0),
            questions_lost: AtomicU32::new(0),
            answers_lost: AtomicU32::new(0),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&relay);
        thread::spawn(move || accepting.accept(&listener));
        Proxy { port, relay }
    }

    /// Ends all connections, and every new one as soon as it is made.
    pub(crate) fn go_away(&self) {
        self.relay.away.store(true, Ordering::SeqCst);
        self.relay.end_all();
    }

    /// Relays again.
    pub(crate) fn come_back(&self) {
        self.relay.away.store(false, Ordering::SeqCst);
    }

    /// Loses the next `count` commits.
    pub(crate) fn lose_commits(&self, count: u32) {
        self.relay.to_lose.store(count, Ordering::SeqCst);
    }

    /// Commits that never reached the server so far, and those that it has applied without the
    /// tracker being told.
    pub(crate) fn lost(&self) -> (u32, u32) {
        (
            self.relay.questions_lost.load(Ordering::SeqCst),
            self.relay.answers_lost.load(Ordering::SeqCst),
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.relay.ended.store(true, Ordering::SeqCst);
        self.go_away();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Relay {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((tracker, _)) = listener.accept() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            // A connection that cannot be made for whatever reason is one that ends at once.
            let _ = self.connect(&tracker);
        }
    }

    fn connect(self: &Arc<Self>, tracker: &TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        for stream in [tracker, &server] {
            stream.set_nodelay(true)?;
            self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        // Looked at only now, so that whoever goes away in between finds the connection in the
        // list.
        if self.away.load(Ordering::SeqCst) {
            end(tracker, &server);
            return Ok(());
        }
        let answer_is_to_be_lost = Arc::new(AtomicBool::new(false));
        let (relay, lose) = (Arc::clone(self), Arc::clone(&answer_is_to_be_lost));
        let (from, to) = (tracker.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = relay.pass_questions(&from, &to, &lose);
            end(&from, &to);
        });
        let (relay, from, to) = (Arc::clone(self), server, tracker.try_clone()?);
        thread::spawn(move || {
            let _ = relay.pass_answers(&from, &to, &answer_is_to_be_lost);
            end(&from, &to);
        });
        Ok(())
    }

    /// Until the tracker ends the connection, or a commit is lost.
    fn pass_questions(
        &self,
        mut tracker: &TcpStream,
        mut server: &TcpStream,
        lose_answer: &AtomicBool,
    ) -> io::Result<()> {
        loop {
            let packet = packet(&mut tracker)?;
            let fate = if is_commit(&packet) { self.fate() } else { Fate::Passed };
            if matches!(fate, Fate::QuestionLost) {
                self.questions_lost.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            lose_answer.store(matches!(fate, Fate::AnswerLost), Ordering::SeqCst);
            server.write_all(&packet)?;
        }
    }

    /// Until the server ends the connection, or the answer to a commit is lost.
    fn pass_answers(
        &self,
        mut server: &TcpStream,
        mut tracker: &TcpStream,
        lose_answer: &AtomicBool,
    ) -> io::Result<()> {
        let mut buffer = [0; 16_384];
        loop {
            let read_bytes = server.read(&mut buffer)?;
            if read_bytes == 0 {
                return Ok(());
            }
            // A tracker that has asked says nothing until it has its answer, so this is the answer
            // to that commit.
            if lose_answer.load(Ordering::SeqCst) {
                self.answers_lost.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            tracker.write_all(&buffer[..read_bytes])?;
        }
    }

    fn fate(&self) -> Fate {
        let left = self
            .to_lose
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Err(_) => Fate::Passed,
            Ok(left) if left % 2 == 0 => Fate::AnswerLost,
            Ok(_) => Fate::QuestionLost,
        }
    }

    fn end_all(&self) {
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The other side may have ended it already.
fn end(tracker: &TcpStream, server: &TcpStream) {
    let _ = tracker.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// One packet, header included.
fn packet(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; HEADER_BYTES];
    from.read_exact(&mut packet)?;
    let payload_bytes = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]);
    from.take(payload_bytes.into()).read_to_end(&mut packet)?;
    Ok(packet)
}

fn is_commit(packet: &[u8]) -> bool {
    let [_, _, _, 0, COM_QUERY, statement @ ..] = packet else { return false };
    statement.trim_ascii().eq_ignore_ascii_case(b"COMMIT")
}

/// The relay itself, on the server that it is for.
#[test]
fn a_commit_can_be_lost_on_the_way_there_and_on_the_way_back() {
    use mysql::prelude::Queryable;

    use crate::site::{Schema, Site};

    let schema = Schema::with_tables("CREATE TABLE torrents (downloaded INT);");
    schema.run("INSERT INTO torrents VALUES (0)");
    let proxy = Proxy::start(schema.server_port());
    let schema = schema.through(proxy.port);
    // Else the client asks the server for its Unix socket, and goes there.
    let url = format!("{}?prefer_socket=false", schema.url());
    let add_one = || {
        let mut connection = mysql::Conn::new(url.as_str()).expect("the relay passes the greeting");
        connection.query_drop("BEGIN").and_then(|()| {
            connection.query_drop("UPDATE torrents SET downloaded = downloaded + 1")
        })?;
        connection.query_drop("COMMIT")
    };
    add_one().expect("nothing is to be lost yet");
    proxy.lose_commits(2);
    add_one().expect_err("the answer is lost");
    assert_eq!(schema.sum("downloaded"), 2, "downloads after the answer is lost");
    assert_eq!(proxy.lost(), (0, 1), "what the proxy lost until then");
    add_one().expect_err("the commit is lost");
    add_one().expect("nothing is to be lost any more");
    assert_eq!(schema.sum("downloaded"), 3, "downloads after the commit is lost");
    assert_eq!(proxy.lost(), (1, 1), "what the proxy lost in all");
    proxy.go_away();
    assert!(mysql::Conn::new(url.as_str()).is_err());
    proxy.come_back();
    add_one().expect("the relay is back");
}
