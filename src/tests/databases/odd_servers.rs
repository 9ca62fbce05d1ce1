//! Servers that say what the driver does not speak or cannot read: each is an error like any other,
//! in one line that names the server, and none is the end of the process.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, JoinHandle};

use super::*;
use crate::listing::Record;
use crate::registry::database::BatchOutcome;
use crate::registry::panic_is_fenced;
use crate::tests::seeds::seed;

/// A server that plays what it was told to whoever connects, without listening to them.
pub(super) struct Fake {
    port: u16,
    script: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(super) fn start() -> Fake {
        print_no_fenced_panic();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, ended) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let (plays, is_over) = (Arc::clone(&script), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let script = plays.lock().unwrap().clone();
                play(client, &script);
            }
        });
        Fake { port, script, ended, thread: Some(thread) }
    }

    /// What comes of a lookup when the server says `script`.
    pub(super) fn lookup(&self, script: &[u8]) -> Result<Vec<Record>, DatabaseError> {
        self.plays(script).backend(always(LIMITS)).lookup(&[hash(1)])
    }

    /// What comes of writing when the server says `script`.
    pub(super) fn write(
        &self,
        script: &[u8],
        batch: &Batch,
    ) -> Result<BatchOutcome, DatabaseError> {
        self.plays(script).ledger(LIMITS).write(batch)
    }

    fn plays(&self, script: &[u8]) -> Source {
        *self.script.lock().unwrap() = script.to_vec();
        source(&format!("mysql://announced:wordpass@127.0.0.1:{}/tracker", self.port))
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The same, of which nothing may come but a line that names the server.
    #[track_caller]
    fn fails(&self, what: &str, script: &[u8]) -> DatabaseError {
        let error = self.lookup(script).expect_err(what);
        let text = error.to_string();
        let about = format!("MySQL at 127.0.0.1:{}: ", self.port);
        assert!(text.starts_with(&about) && text.len() > about.len(), "{what}: {text}");
        assert!(!text.contains('\n') && !text.contains("wordpass"), "{what}: {text}");
        error
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Says everything and then nothing more; what the client says is read, so that the connection is
/// not reset before it has read all.
fn play(mut client: TcpStream, script: &[u8]) {
    // A client that has given up before the end is no failure.
    let _ = client.write_all(script);
    let _ = client.shutdown(Shutdown::Write);
    let _ = client.read_to_end(&mut Vec::new());
}

/// As the program's own hook: without it, each of hundreds of panics would print where it was.
fn print_no_fenced_panic() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !panic_is_fenced() {
                print(panic);
            }
        }));
    });
}

/// One packet of the server's: its number in the exchange, and its payload.
#[derive(Clone)]
pub(super) struct Packet(pub(super) u8, pub(super) Vec<u8>);

impl Packet {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.1.len()).unwrap().to_le_bytes();
        [&length[..3], &[self.0], &self.1].concat()
    }
}

pub(super) fn script(packets: &[Packet]) -> Vec<u8> {
    packets.iter().flat_map(Packet::bytes).collect()
}

/// What a server begins with: version, a challenge, what it can do, how one logs in.
pub(super) fn greeting() -> Packet {
    let mut payload = vec![10];
    payload.extend(b"10.11.0\0\x01\0\0\0challeng\0");
    // Protocol 4.1 with transactions, a database in the log-in, several results, plugins.
    payload.extend(0xa209_u16.to_le_bytes());
    payload.extend([45, 2, 0]);
    payload.extend(0x000a_u16.to_le_bytes());
    payload.push(21);
    payload.extend([0; 10]);
    payload.extend(b"the challeng\0mysql_native_password\0");
    Packet(0, payload)
}

pub(super) fn ok(number: u8) -> Packet {
    Packet(number, vec![0, 0, 0, 2, 0, 0, 0])
}

/// Asks for another way to log in, with a challenge of its own.
pub(super) fn switch_to(plugin: &str) -> Packet {
    let challenge = [b'c'; 32];
    Packet(2, [&[0xfe], plugin.as_bytes(), &[0], &challenge].concat())
}

/// The answer to a question: one row of texts.
pub(super) fn row(cells: &[&[u8]]) -> Vec<Packet> {
    let text = |text: &[u8]| [&[u8::try_from(text.len()).unwrap()], text].concat();
    let column = [
        text(b"def"),
        text(b""),
        text(b"torrents"),
        text(b"torrents"),
        text(b"column"),
        text(b"column"),
        vec![12, 63, 0, 0, 1, 0, 0, 0xfd, 0, 0, 0, 0, 0],
    ]
    .concat();
    let end = vec![0xfe, 0, 0, 2, 0];
    let mut payloads = vec![vec![u8::try_from(cells.len()).unwrap()]];
    payloads.extend(cells.iter().map(|_| column.clone()));
    payloads.push(end.clone());
    payloads.push(cells.iter().flat_map(|cell| text(cell)).collect());
    payloads.push(end);
    payloads.into_iter().zip(1..).map(|(payload, number)| Packet(number, payload)).collect()
}

/// All that a server says until the answer to the first lookup.
pub(super) fn conversation() -> Vec<Packet> {
    let mut packets = vec![greeting(), ok(2), ok(1)];
    packets.extend(row(&[b"infohash"]));
    packets.extend(row(&[b"torrents", b"InnoDB"]));
    packets.extend(row(&[b"torrents"]));
    // How long a statement may take: that it can be set, and what it is.
    packets.extend([ok(1), ok(1)]);
    packets.extend(row(&[&hash(1).0, b"Demo", b"7", b"0", b""]));
    packets
}

#[test]
fn the_conversation_that_is_damaged_here_can_be_read_whole() {
    let records = Fake::start().lookup(&script(&conversation())).unwrap();
    assert_eq!(records[0].text.as_deref(), Some("Demo"), "the name");
    assert_eq!(records[0].downloaded, 7, "the downloads");
}

#[test]
fn what_the_driver_does_not_speak_is_named_and_what_it_cannot_read_is_borne() {
    let parsec_salt = Packet(4, [&b"\x01P\x00"[..], &[b's'; 18]].concat());
    let key_of = |payload: &[u8]| {
        vec![
            greeting(),
            switch_to("caching_sha2_password"),
            Packet(4, vec![1, 4]),
            Packet(6, payload.to_vec()),
        ]
    };
    let rows = [
        ("ed25519 and then nothing", vec![greeting(), switch_to("client_ed25519")], None),
        ("parsec and then nothing", vec![greeting(), switch_to("parsec")], None),
        (
            "parsec whose salt is half of one",
            vec![greeting(), switch_to("parsec"), Packet(4, b"\x01P\x00half".to_vec())],
            None,
        ),
        (
            "parsec with an endless task",
            vec![
                greeting(),
                switch_to("parsec"),
                Packet(4, [&b"\x01P\xff"[..], &[b's'; 18]].concat()),
            ],
            None,
        ),
        ("parsec", vec![greeting(), switch_to("parsec"), parsec_salt, Packet(6, vec![0xff])], None),
        ("a plugin nobody knows", vec![greeting(), switch_to("dialog2")], Some("dialog2")),
        ("nothing", vec![], None),
        ("an empty greeting", vec![Packet(0, vec![])], None),
        ("an empty answer to the log-in", vec![greeting(), Packet(2, vec![])], None),
        ("an empty answer to a statement", vec![greeting(), ok(2), Packet(1, vec![])], None),
        (
            "a word of sha2 without its end",
            vec![greeting(), switch_to("caching_sha2_password"), Packet(4, vec![1])],
            None,
        ),
        ("a key of sha2 that is empty", key_of(b""), None),
        ("a key of sha2 that is none", key_of(b"\x01no key"), None),
        ("a greeting with a wrong number", vec![Packet(7, vec![10])], None),
    ];
    let fake = Fake::start();
    for (what, packets, plugin) in rows {
        let error = fake.fails(what, &script(&packets));
        match plugin {
            Some(plugin) => assert!(
                matches!(&error, DatabaseError::Denied(text) if text.contains(plugin)),
                "{what}: somebody has to act: {error:?}"
            ),
            None => assert!(matches!(error, DatabaseError::Away(_)), "{what}: {error:?}"),
        }
    }
}

#[test]
fn a_conversation_is_borne_that_is_cut_within_any_packet() {
    let (fake, packets) = (Fake::start(), conversation());
    for (at, whole) in packets.iter().enumerate() {
        for length in 0..whole.1.len() {
            let what = format!("packet {at} of {} ends after {length} bytes", packets.len());
            let mut damaged = packets.clone();
            damaged[at].1.truncate(length);
            // What is left of a row or of a text may still be read.
            if let Err(error) = fake.lookup(&script(&damaged)) {
                assert!(error.to_string().starts_with("MySQL at "), "{what}: {error}");
            }
            let until = packets[..at].iter().map(|packet| packet.bytes().len()).sum::<usize>();
            fake.fails(&what, &script(&packets)[..until + length]);
        }
    }
}

#[test]
fn noise_is_borne_at_every_step_of_the_log_in() {
    let (fake, packets) = (Fake::start(), conversation());
    let mut rng = fastrand::Rng::with_seed(seed());
    for round in 0..300 {
        let what = format!("round {round}");
        let kept = rng.usize(..2);
        let noise: Vec<u8> = (0..rng.usize(1..100)).map(|_| rng.u8(..)).collect();
        let mut said = script(&packets[..kept]);
        said.extend(if rng.bool() { Packet(packets[kept].0, noise).bytes() } else { noise });
        fake.fails(&what, &said);
    }
}
