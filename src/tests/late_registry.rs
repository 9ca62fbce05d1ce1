//! A slow database behind the real server, over real sockets: who waits for it waits in order, and
//! nobody else waits at all.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::config::{Config, DatabaseUrl, FullScrape, Mode};
use crate::counters::Counter;
use crate::daemon::Daemon;
use crate::ids::InfoHash;
use crate::listing::{Listing, Record};
use crate::registry::database::{Batch, BatchOutcome, DatabaseError};
use crate::registry::{Backend, Databases, OpenBackend, OpenLedger};
use crate::tests::paper_ledger::{self, PaperLedger};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What the database says of a torrent whose hash begins with this byte.
pub(super) const KNOWN: u8 = b'k';
pub(super) const UNKNOWN: u8 = b'u';
pub(super) const BANNED: u8 = b'b';
pub(super) const REASON: &str = "a takedown notice";

/// The test's side of the database: told of every question, and asked for permission to answer it.
pub(super) struct Database {
    questions: Receiver<Vec<InfoHash>>,
    answers: Sender<Answer>,
}

/// What the database answers: [`record`], or the same of all torrents in the question.
type Answer = Result<Option<Listing>, DatabaseError>;

/// The pool's side.
struct Slow {
    questions: Sender<Vec<InfoHash>>,
    answers: Arc<Mutex<Receiver<Answer>>>,
}

impl Backend for Slow {
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        // The test may have ended: then nobody cares.
        let _ = self.questions.send(hashes.to_vec());
        let answer = self.answers.lock().unwrap().recv();
        let listing = answer.unwrap_or(Err(DatabaseError::Away("the test is over".to_owned())))?;
        let answer = |hash| listing.map_or_else(|| record(hash), Record::plain);
        Ok(hashes.iter().map(answer).collect())
    }
}

fn record(hash: &InfoHash) -> Record {
    match hash.0[0] {
        KNOWN => Record { listing: Listing::Listed, text: Some("Demo".into()), downloaded: 0 },
        BANNED => Record { listing: Listing::Banned, text: Some(REASON.into()), downloaded: 0 },
        _ => Record::plain(Listing::Unlisted),
    }
}

pub(super) fn start(mode: Mode, settle: impl FnOnce(&mut Config)) -> (Daemon, Database) {
    start_with(paper_ledger::away(), mode, settle)
}

fn start_with(
    ledger: OpenLedger,
    mode: Mode,
    settle: impl FnOnce(&mut Config),
) -> (Daemon, Database) {
    let mut config = Config::default();
    config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.server.workers = 1;
    config.server.drain = Duration::ZERO;
    config.tracker.mode = mode;
    config.database.url = DatabaseUrl::memory();
    config.database.lookup_threads = 1;
    config.database.lookup_timeout = PATIENCE;
    settle(&mut config);
    let (ask, questions) = mpsc::channel();
    let (answers, permissions) = mpsc::channel();
    let permissions = Arc::new(Mutex::new(permissions));
    let backend: OpenBackend = Box::new(move || {
        Box::new(Slow { questions: ask.clone(), answers: Arc::clone(&permissions) })
    });
    let server = Daemon::start_with(&config, Some(Databases { backend, ledger }), |_| ()).unwrap();
    (server, Database { questions, answers })
}

impl Database {
    /// Waits for the next question.
    pub(super) fn question(&self) -> Vec<InfoHash> {
        self.questions.recv_timeout(PATIENCE).expect("a question to the database")
    }

    pub(super) fn answer(&self) {
        self.answers.send(Ok(None)).unwrap();
    }

    /// Says the same of all torrents in the question.
    fn answer_with(&self, listing: Listing) {
        self.answers.send(Ok(Some(listing))).unwrap();
    }

    fn fail(&self) {
        self.answers.send(Err(DatabaseError::Away("gone away".to_owned()))).unwrap();
    }
}

pub(super) struct Peer(TcpStream);

impl Peer {
    pub(super) fn connect(server: &Daemon) -> Peer {
        let stream = TcpStream::connect(server.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer(stream)
    }

    pub(super) fn send(&mut self, targets: &[&str]) {
        let requests: String =
            targets.iter().map(|target| format!("GET {target} HTTP/1.1\r\n\r\n")).collect();
        self.0.write_all(requests.as_bytes()).unwrap();
    }

    fn has_answer(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).unwrap();
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    pub(super) fn reply(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        head + &String::from_utf8_lossy(&body)
    }
}

pub(super) fn announce(first: u8) -> String {
    let hash = format!("{}aaaaaaaaaaaaaaaaaaa", char::from(first));
    format!(
        "/announce?info_hash={hash}&peer_id=-XX0001-abcdefghijkl&port=6881&uploaded=0&\
         downloaded=0&left=1"
    )
}

/// Waits until something has been counted so often.
pub(super) fn wait_for(daemon: &Daemon, counter: Counter, wanted: u64) {
    let end = Instant::now() + PATIENCE;
    while daemon.counters().count(counter) < wanted {
        let counted = daemon.counters().count(counter);
        assert!(Instant::now() < end, "{} is {counted} and not {wanted}", counter.name());
        std::thread::yield_now();
    }
}

#[test]
fn a_pipeline_waits_at_the_request_that_waits_and_goes_on_in_order() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut peer = Peer::connect(&server);
    peer.send(&["/", &announce(KNOWN), "/", &announce(UNKNOWN), &announce(KNOWN), "/"]);
    assert!(peer.reply().contains("announced"));
    database.question();
    assert!(!peer.has_answer(), "what stands behind a parked request must wait");
    let mut other = Peer::connect(&server);
    other.send(&["/"]);
    assert!(other.reply().contains("announced"), "nobody else waits");
    database.answer();
    assert!(peer.reply().contains("10:incompletei1e"));
    assert!(peer.reply().contains("announced"));
    database.question();
    database.answer();
    assert!(peer.reply().contains("#5"));
    assert!(peer.reply().contains("10:incompletei1e"), "the second time it is at hand");
    assert!(peer.reply().contains("announced"));
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn a_half_closed_client_gets_the_late_answer_and_then_the_end() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut peer = Peer::connect(&server);
    peer.send(&[&announce(BANNED), "/"]);
    peer.0.shutdown(Shutdown::Write).unwrap();
    database.question();
    database.answer();
    assert!(
        peer.reply().contains(&format!("#6 this torrent is banned from this tracker: {REASON}"))
    );
    assert!(peer.reply().contains("announced"));
    assert_eq!(peer.0.read(&mut [0]).unwrap(), 0);
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn an_answer_for_a_client_that_reset_reaches_nobody() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut gone = Peer::connect(&server);
    gone.send(&[&announce(KNOWN)]);
    database.question();
    // No lingering: closing sends a reset.
    SockRef::from(&gone.0).set_linger(Some(Duration::ZERO)).unwrap();
    drop(gone);
    let mut stranger = Peer::connect(&server);
    stranger.send(&["/"]);
    assert!(stranger.reply().contains("announced"));
    database.answer();
    wait_for(&server, Counter::LateAnswer, 1);
    stranger.send(&["/"]);
    assert!(stranger.reply().contains("announced"));
    assert!(!stranger.has_answer());
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn what_many_wait_for_is_asked_once_and_what_has_gathered_in_one_question() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut first = Peer::connect(&server);
    first.send(&[&announce(UNKNOWN)]);
    assert_eq!(database.question().len(), 1);
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::connect(&server)).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.send(&[&announce(if number % 2 == 0 { KNOWN } else { BANNED })]);
    }
    wait_for(&server, Counter::Parked, 21);
    database.answer();
    assert_eq!(database.question().len(), 2, "twenty announces for two torrents");
    database.answer();
    assert!(first.reply().contains("#5"));
    for (number, peer) in peers.iter_mut().enumerate() {
        assert!(peer.reply().contains(if number % 2 == 0 { "8:interval" } else { "#6" }));
    }
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn a_scrape_waits_for_all_its_torrents_and_shows_names() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut peer = Peer::connect(&server);
    peer.send(&["/scrape?info_hash=kaaaaaaaaaaaaaaaaaaa&info_hash=uaaaaaaaaaaaaaaaaaaa&\
                 info_hash=baaaaaaaaaaaaaaaaaaa"]);
    let mut asked = 0;
    while asked < 3 {
        asked += database.question().len();
        database.answer();
    }
    let reply = peer.reply();
    assert!(
        reply.contains(
            "20:kaaaaaaaaaaaaaaaaaaad8:completei0e10:downloadedi0e10:incompletei0e4:name4:Demoe"
        ),
        "{reply}"
    );
    assert!(!reply.contains("uaaaaaaa") && !reply.contains("baaaaaaa"), "{reply}");
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn an_open_tracker_serves_what_is_not_listed_and_refuses_what_is_banned() {
    let (server, database) = start(Mode::Open, |_| ());
    let mut peer = Peer::connect(&server);
    peer.send(&[
        &announce(UNKNOWN),
        &announce(BANNED),
        "/scrape?info_hash=uaaaaaaaaaaaaaaaaaaa&info_hash=baaaaaaaaaaaaaaaaaaa",
    ]);
    for _ in 0..2 {
        database.question();
        database.answer();
    }
    assert!(peer.reply().contains("10:incompletei1e"));
    assert!(
        peer.reply().contains(&format!("#6 this torrent is banned from this tracker: {REASON}"))
    );
    let scrape = peer.reply();
    assert!(
        scrape.contains("20:uaaaaaaaaaaaaaaaaaaad8:completei0e") && !scrape.contains("baaaaaaa"),
        "{scrape}"
    );
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn a_registered_tracker_looks_at_the_fields_before_it_looks_for_the_torrent() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut peer = Peer::connect(&server);
    peer.send(&[&announce(UNKNOWN).replace("port=6881", "port=0")]);
    assert!(peer.reply().contains("#4"));
    assert!(database.questions.try_recv().is_err());
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn without_an_answer_in_time_open_mode_serves_and_registered_mode_asks_to_retry() {
    for (mode, expected) in [(Mode::Open, "10:incompletei1e"), (Mode::Registered, "8:retry ini")] {
        let (server, database) =
            start(mode, |config| config.database.lookup_timeout = Duration::from_millis(200));
        let mut peer = Peer::connect(&server);
        peer.send(&[&announce(KNOWN), "/"]);
        let reply = peer.reply();
        assert!(reply.contains(expected) && !reply.contains('#'), "{mode}: {reply}");
        assert!(peer.reply().contains("announced"));
        drop(database);
        server.stop_and_join(PATIENCE).unwrap();
    }
}

#[test]
fn a_database_that_fails_is_told_at_once_and_until_it_answers_again_nobody_waits_for_it() {
    for (mode, expected) in [(Mode::Open, "8:completei0e"), (Mode::Registered, "8:retry ini")] {
        let (server, database) = start(mode, |_| ());
        let mut peer = Peer::connect(&server);
        peer.send(&[&announce(KNOWN)]);
        database.question();
        database.fail();
        let reply = peer.reply();
        assert!(reply.contains(expected) && !reply.contains('#'), "{mode}: {reply}");
        // The thread that found out tries again by itself, and has not been answered yet.
        let probe = database.question();
        assert!(probe.len() == 1 && probe[0].0[0] != KNOWN, "{mode}: {probe:?}");
        peer.send(&[&announce(BANNED)]);
        let reply = peer.reply();
        assert!(reply.contains(expected) && !reply.contains('#'), "{mode}: {reply}");
        database.answer();
        for reply in send_until_asked(&mut peer, &announce(UNKNOWN), &database) {
            assert!(reply.contains(expected), "{mode}, before it is asked again: {reply}");
        }
        database.answer();
        let reply = peer.reply();
        assert!(
            reply.contains(if mode == Mode::Open { "10:incompletei" } else { "#5" }),
            "{mode}: {reply}"
        );
        drop(database);
        server.stop_and_join(PATIENCE).unwrap();
    }
}

/// Sends a request again and again until the database is asked because of it; the last one has not
/// been answered then. The replies to those before it.
fn send_until_asked(peer: &mut Peer, target: &str, database: &Database) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    let mut replies = Vec::new();
    peer.send(&[target]);
    while database.questions.recv_timeout(Duration::from_millis(1)).is_err() {
        assert!(Instant::now() < end, "the database is never asked; told: {:?}", replies.last());
        if peer.has_answer() {
            replies.push(peer.reply());
            peer.send(&[target]);
        }
    }
    replies
}

#[test]
fn a_verdict_past_its_time_is_asked_for_before_it_counts_again_and_others_do_not_wait() {
    let (server, database) =
        start(Mode::Registered, |config| config.database.cache_ttl = Duration::from_millis(1));
    let [mut first, mut second] = [Peer::connect(&server), Peer::connect(&server)];
    for hash in [KNOWN, UNKNOWN] {
        first.send(&[&announce(hash)]);
        database.question();
        database.answer();
        let told = first.reply();
        send_until_asked(&mut first, &announce(hash), &database);
        assert!(!first.has_answer(), "{told}");
        second.send(&[&announce(hash)]);
        assert_eq!(
            second.reply().contains("#5"),
            told.contains("#5"),
            "the old verdict stands meanwhile"
        );
        database.answer();
        assert_eq!(first.reply().contains("#5"), told.contains("#5"));
    }
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn a_verdict_past_its_time_counts_when_no_newer_one_is_to_be_had() {
    let (server, database) =
        start(Mode::Registered, |config| config.database.cache_ttl = Duration::from_millis(1));
    let mut peer = Peer::connect(&server);
    for hash in [KNOWN, BANNED] {
        peer.send(&[&announce(hash)]);
        database.question();
        database.answer();
        peer.reply();
    }
    send_until_asked(&mut peer, &announce(KNOWN), &database);
    database.fail();
    assert!(peer.reply().contains("8:completei0e"));
    peer.send(&[
        &announce(BANNED),
        "/scrape?info_hash=kaaaaaaaaaaaaaaaaaaa&info_hash=uaaaaaaaaaaaaaaaaaaa",
    ]);
    assert!(peer.reply().contains("#6"));
    assert!(peer.reply().contains("4:name4:Demo"));
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn a_torrent_taken_off_the_list_is_not_shown_and_its_peers_are_there_when_it_is_listed_again() {
    let (server, database) = start(Mode::Registered, |config| {
        config.database.cache_ttl = Duration::from_millis(1);
        config.tracker.full_scrape = FullScrape::On;
    });
    let mut peer = Peer::connect(&server);
    peer.send(&[&announce(KNOWN)]);
    database.question();
    database.answer();
    assert!(peer.reply().contains("10:incompletei1e"), "while it is listed");
    send_until_asked(&mut peer, &announce(KNOWN), &database);
    database.answer_with(Listing::Unlisted);
    assert!(peer.reply().contains("#5"), "it is not listed any more");
    send_until_asked(&mut peer, "/scrape?info_hash=kaaaaaaaaaaaaaaaaaaa", &database);
    database.answer_with(Listing::Unlisted);
    assert!(peer.reply().contains("5:filesde"), "a scrape does not show it");
    peer.send(&["/scrape"]);
    assert!(!peer.reply().contains("kaaaaaaa"), "a full scrape does not show it");
    let mut other = Peer::connect(&server);
    send_until_asked(&mut other, &announce(KNOWN), &database);
    database.answer();
    let again = other.reply();
    assert!(again.contains("10:incompletei1e"), "it is listed again: {again}");
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn a_swarm_outlives_its_record_in_the_cache_and_knows_whether_it_may_be_served() {
    let (server, database) = start(Mode::Registered, |config| {
        config.database.cache_ttl = Duration::from_millis(1);
        config.database.cache_bytes_max = 0;
    });
    let mut peer = Peer::connect(&server);
    peer.send(&[&announce(KNOWN)]);
    database.question();
    database.answer();
    assert!(peer.reply().contains("10:incompletei1e"), "while it is listed");
    for (listing, expected) in [
        (Listing::Listed, "10:incompletei1e"),
        (Listing::Unlisted, "8:retry ini"),
        (Listing::Banned, "#6"),
    ] {
        send_until_asked(&mut peer, &announce(KNOWN), &database);
        database.answer_with(listing);
        peer.reply();
        send_until_asked(&mut peer, &announce(KNOWN), &database);
        database.fail();
        let reply = peer.reply();
        assert!(reply.contains(expected), "{listing:?}, and the database is away: {reply}");
        // The thread that found out tries again by itself.
        database.question();
        database.answer();
    }
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (server, database) = start(Mode::Registered, |config| config.database.lookup_queue_max = 1);
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::connect(&server)).collect();
    peers[0].send(&[&announce(KNOWN)]);
    database.question();
    peers[1].send(&[&announce(BANNED)]);
    wait_for(&server, Counter::Parked, 2);
    peers[2].send(&[&announce(UNKNOWN)]);
    let reply = peers[2].reply();
    assert!(reply.contains("8:retry ini") && !reply.contains('#'), "{reply}");
    database.answer();
    database.question();
    database.answer();
    assert!(peers[0].reply().contains("8:interval") && peers[1].reply().contains("#6"));
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn stopping_does_not_wait_for_a_database_that_never_answers() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut peer = Peer::connect(&server);
    peer.send(&[&announce(KNOWN)]);
    database.question();
    let (stopped, end) = mpsc::channel();
    std::thread::spawn(move || stopped.send(server.stop_and_join(Duration::ZERO).is_ok()));
    assert_eq!(end.recv_timeout(PATIENCE), Ok(true), "the database has not answered yet");
    drop(database);
}

#[test]
fn at_the_end_a_parked_request_is_waited_for() {
    let (server, database) = start(Mode::Registered, |_| ());
    let mut peer = Peer::connect(&server);
    let mut idle = Peer::connect(&server);
    idle.send(&["/"]);
    idle.reply();
    peer.send(&[&announce(KNOWN)]);
    database.question();
    let stopping = std::thread::spawn(move || server.stop_and_join(PATIENCE));
    assert_eq!(idle.0.read(&mut [0]).unwrap(), 0, "the end has begun");
    database.answer();
    assert!(peer.reply().contains("10:incompletei1e"));
    assert_eq!(peer.0.read(&mut [0]).unwrap(), 0);
    stopping.join().unwrap().unwrap();
}

#[test]
fn answers_and_counters_share_the_time_for_stopping() {
    let (write, writing) = mpsc::channel();
    let ledger: OpenLedger = Box::new(move || {
        let write = write.clone();
        let never = move |_: &Batch| {
            let _ = write.send(());
            std::thread::sleep(PATIENCE);
            Ok(BatchOutcome::WHOLE)
        };
        Box::new(PaperLedger { on_write: Some(Box::new(never)), ..PaperLedger::default() })
    });
    let (server, database) = start_with(ledger, Mode::Registered, |config| {
        config.database.flush_interval = Duration::from_secs(1);
    });
    let mut peer = Peer::connect(&server);
    peer.send(&[&announce(KNOWN)]);
    database.question();
    database.answer();
    peer.reply();
    writing.recv_timeout(PATIENCE).unwrap();
    peer.send(&[&announce(UNKNOWN)]);
    database.question();
    // One after the other, each with all of the time, would take twice as long at least.
    let (grace, begin) = (Duration::from_secs(8), Instant::now());
    let lost = server.stop_and_join(grace).unwrap_err().to_string();
    assert!(lost.starts_with("the counters of 1 batch are lost"), "{lost}");
    let taken = begin.elapsed();
    assert!(taken < 2 * grace, "stopping took {taken:?} with {grace:?} for all of it");
}
