//! Who announces: the peers, their torrents, and the addresses they come from.
//!
//! Owns: one list of peers, grouped by the address that announces them, in random order within it.
//! A peer is an entry in one torrent; the sizes of torrents follow Zipf's law. A peer's address is
//! that of the connection that announces it, so with 64 connections there are 64 addresses, and
//! peers of one address differ in their port.
//!
//! Limits: [`PORTS`] ports an address; a torrent has at most as many peers as there are addresses
//! and ports for.

use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;

use fastrand::Rng;

/// Bytes of an info hash.
pub(crate) const HASH_BYTES: usize = 20;
/// Every hash has so many bytes that are sent as they are, the mean of random ones, so that all
/// requests are equally long.
const RAW_BYTES: usize = 5;
/// What libtorrent sends as it is.
const UNRESERVED: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.!~*()";
/// Bytes of a hash as it is sent.
pub(crate) const ESCAPED_BYTES: usize = RAW_BYTES + 3 * (HASH_BYTES - RAW_BYTES);
/// Ports of peers, five digits each.
const PORT_MIN: u32 = 10_000;
const PORTS: u32 = 55_000;

/// How many peers there are, and how they are spread.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    /// Torrents; the smallest may get no peer.
    pub(crate) torrents: u32,
    /// Peers of all torrents.
    pub(crate) peers: u32,
    /// Exponent of Zipf's law; 0 is even.
    pub(crate) zipf: f64,
    /// Share of seeders.
    pub(crate) seeders: f64,
    /// Addresses that announce.
    pub(crate) addresses: u32,
}

/// One peer.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// Index of its torrent, and in the highest bit whether it is a seeder.
    torrent: u32,
    /// Index of its address.
    pub(crate) address: u16,
    /// Where it listens.
    pub(crate) port: u16,
}

const SEEDER: u32 = 1 << 31;

impl Peer {
    /// Index of its torrent.
    pub(crate) fn torrent(self) -> u32 {
        self.torrent & !SEEDER
    }

    /// Whether it is a seeder.
    pub(crate) fn is_seeder(self) -> bool {
        self.torrent & SEEDER != 0
    }
}

/// See the module.
pub(crate) struct Population {
    peers: Vec<Peer>,
    /// Where each address' peers begin, and the end of the last.
    begins: Vec<usize>,
    hashes: Vec<[u8; HASH_BYTES]>,
}

impl Population {
    /// The population of a spread; the same every time.
    pub(crate) fn new(spread: &Spread) -> io::Result<Population> {
        let mut rng = Rng::with_seed(1);
        let hashes = (0..spread.torrents).map(|_| hash(&mut rng)).collect();
        let zipf = Zipf::new(spread.torrents, spread.zipf);
        let mut sizes = vec![0_u32; spread.torrents as usize];
        let drawn = (0..spread.peers).map(|_| {
            let torrent = zipf.draw(&mut rng);
            let nth = sizes[torrent as usize];
            sizes[torrent as usize] += 1;
            // The addresses of a torrent begin anywhere, so that small torrents do not all have the
            // first ones.
            let address = (nth.wrapping_add(torrent.wrapping_mul(7_919))) % spread.addresses;
            let port = nth / spread.addresses;
            if port >= PORTS {
                return Err(io::Error::other(
                    "a torrent has more peers than addresses and ports: add --connections or \
                     torrents",
                ));
            }
            let seeder = if rng.f64() < spread.seeders { SEEDER } else { 0 };
            Ok(Peer {
                torrent: torrent | seeder,
                address: narrow(address),
                port: narrow(PORT_MIN + port),
            })
        });
        let drawn = drawn.collect::<io::Result<Vec<Peer>>>()?;
        let (peers, begins) = grouped(&drawn, spread.addresses as usize);
        Ok(Population { peers, begins, hashes })
    }

    /// All peers.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Addresses that announce.
    pub(crate) fn addresses(&self) -> usize {
        self.begins.len() - 1
    }

    /// Torrents, those without peers included.
    pub(crate) fn hashes(&self) -> &[[u8; HASH_BYTES]] {
        &self.hashes
    }

    /// The positions of the peers of one address.
    pub(crate) fn of_address(&self, address: usize) -> Range<usize> {
        self.begins[address]..self.begins[address + 1]
    }

    /// The peer at a position.
    pub(crate) fn peer(&self, at: usize) -> Peer {
        self.peers[at]
    }

    /// Writes the hash of a torrent as libtorrent sends it: lower-case escapes among raw letters.
    pub(crate) fn write_escaped(&self, torrent: u32, out: &mut [u8]) {
        let mut at = 0;
        for byte in self.hashes[torrent as usize] {
            if UNRESERVED_TABLE[usize::from(byte)] {
                out[at] = byte;
                at += 1;
            } else {
                out[at..at + 3].copy_from_slice(&[
                    b'%',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]);
                at += 3;
            }
        }
    }
}

/// The address of an index: thousands of 127/8, none of them the server's own 127.0.0.1.
pub(crate) fn address(index: usize) -> Ipv4Addr {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    Ipv4Addr::from(0x7f01_0001 + (index / 250) * 256 + index % 250)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

static UNRESERVED_TABLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < UNRESERVED.len() {
        table[UNRESERVED[at] as usize] = true;
        at += 1;
    }
    table
};

/// A hash with [`RAW_BYTES`] bytes that need no escape, anywhere in it.
fn hash(rng: &mut Rng) -> [u8; HASH_BYTES] {
    let mut hash = std::array::from_fn(|_| {
        loop {
            let byte = rng.u8(..);
            if !UNRESERVED_TABLE[usize::from(byte)] {
                break byte;
            }
        }
    });
    for _ in 0..RAW_BYTES {
        let free: Vec<usize> =
            (0..HASH_BYTES).filter(|at| !UNRESERVED_TABLE[usize::from(hash[*at])]).collect();
        hash[free[rng.usize(..free.len())]] = UNRESERVED[rng.usize(..UNRESERVED.len())];
    }
    hash
}

/// Puts the peers of one address together, otherwise in the order they were drawn, which is random.
fn grouped(drawn: &[Peer], addresses: usize) -> (Vec<Peer>, Vec<usize>) {
    let mut begins = vec![0; addresses + 1];
    drawn.iter().for_each(|peer| begins[usize::from(peer.address) + 1] += 1);
    (1..=addresses).for_each(|address| begins[address] += begins[address - 1]);
    let mut next = begins.clone();
    let mut peers = drawn.to_vec();
    for peer in drawn {
        let at = &mut next[usize::from(peer.address)];
        peers[*at] = *peer;
        *at += 1;
    }
    (peers, begins)
}

fn narrow(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Draws ranks by Zipf's law: the cumulative shares, and for equal steps of them the rank where to
/// begin looking.
struct Zipf {
    shares: Vec<f64>,
    guide: Vec<u32>,
}

impl Zipf {
    fn new(ranks: u32, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += f64::from(rank).powf(-exponent);
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        let mut rank = 0;
        let guide = (0..ranks).map(|step| {
            while shares[rank as usize] < f64::from(step) / f64::from(ranks) {
                rank += 1;
            }
            rank
        });
        let guide = guide.collect();
        Zipf { shares, guide }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a u32"
    )]
    fn draw(&self, rng: &mut Rng) -> u32 {
        let share = rng.f64();
        let mut rank = self.guide[(share * self.guide.len() as f64) as usize];
        while self.shares.get(rank as usize).is_some_and(|end| *end <= share) {
            rank += 1;
        }
        rank.min(self.guide.len() as u32 - 1)
    }
}
