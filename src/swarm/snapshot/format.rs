//! The bytes of a snapshot.
//!
//! Owns: the form. A snapshot is blocks of [`BLOCK_BYTES`], of which the last may be shorter. Each
//! can be read without the others: it has the version, what all of them have in common, the time
//! from which its ages count, and a checksum. So a damaged block costs what is in it and no more.
//!
//! A block holds records, each a torrent with some of its peers; a large swarm is many records.
//! Numbers are little-endian:
//!
//! - info hash, listing (the highest bit: the first record of the torrent), the two numbers of
//!   downloads, four numbers of peers: IPv4 leechers and seeders, IPv6 leechers and seeders;
//! - each peer: its wire address, two bytes of age and flags, its id where ids are kept.
//!
//! Never: does I/O or reads a clock. What is not understood is never guessed at.
//!
//! Limits: an age is below 4096 units of [`UNIT_MS`]; a peer heard of earlier has expired anyway.

use crc32fast::Hasher;

use crate::ids::{
    Crypto, INFO_HASH_BYTES, InfoHash, Millis, PEER_ID_BYTES, PEER_V4_BYTES, PEER_V6_BYTES,
    PeerAddr, PeerId,
};
use crate::listing::Listing;
use crate::swarm::registration::SavedCounts;
use crate::swarm::run::{SLOT_V4, SLOT_V6, STATE_BYTES};
use crate::swarm::state::{History, Stamp, State, UNIT_MS};

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Bytes that tell which database the listings are of.
pub const SOURCE_BYTES: usize = 16;

const MAGIC: &[u8; 16] = b"announced swarms";
/// The version of this form. It is written twice, the second time with every bit flipped: so a
/// flipped bit does not pass for another version.
const VERSION: u16 = 1;
const MAGIC_BYTES: usize = MAGIC.len() + 4;
const HEADER_BYTES: usize = MAGIC_BYTES + 1 + 8 + SOURCE_BYTES + 8 + 4 + SUM_BYTES;
const SUM_BYTES: usize = 4;

/// Flags of a block.
const PEER_IDS: u8 = 1;
const FINAL: u8 = 2;
const LAST: u8 = 4;

/// In the byte of a record's listing: it is the first of the torrent.
const FIRST: u8 = 0x80;
const RECORD_BYTES: usize = INFO_HASH_BYTES + 1 + 8 + 4 * 2;

/// In the two bytes of a peer.
const AGE_MASK: u16 = 0x0fff;
const SUPPORTS_CRYPTO: u16 = 1 << 12;
const REQUIRES_CRYPTO: u16 = 1 << 13;
const HAS_LEECHED: u16 = 1 << 14;
const COUNTED: u16 = 1 << 15;

/// Numbers of peers by [`GROUPS`].
pub(super) type GroupCounts = [usize; GROUPS];
/// IPv4 leechers and seeders, IPv6 leechers and seeders, in this order.
pub(super) const GROUPS: usize = 4;

/// Bytes of an address of a group.
const fn address_bytes(group: usize) -> usize {
    if group < 2 { PEER_V4_BYTES } else { PEER_V6_BYTES }
}

const _: () = assert!(
    SLOT_V4 == PEER_V4_BYTES + STATE_BYTES && SLOT_V6 == PEER_V6_BYTES + STATE_BYTES,
    "a saved peer is as long as its slot"
);

/// What all blocks of one snapshot have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotHead {
    /// Tells it from others.
    pub id: u64,
    /// Which database the listings are of.
    pub source: [u8; SOURCE_BYTES],
    /// Nothing was counted or written after it by the process that wrote it.
    pub is_final: bool,
    /// Whether peers have their ids.
    pub peer_ids: bool,
}

/// Why a block is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockFault {
    /// It is of a newer form than is known here.
    Newer(u16),
    /// It is cut, or its bytes are not those that were written.
    Damaged,
}

/// Peers to be written, all copied from one torrent.
#[derive(Clone, Copy)]
pub(super) struct Piece<'c> {
    pub(super) info_hash: InfoHash,
    pub(super) counts: SavedCounts,
    pub(super) is_first: bool,
    pub(super) groups: GroupCounts,
    /// Slots in the order of the groups, each followed by the peer id where ids are kept.
    pub(super) slots: &'c [u8],
}

/// Makes blocks.
pub(super) struct BlockWriter {
    head: SnapshotHead,
    bytes: Vec<u8>,
    /// What the block's ages count from.
    now: Stamp,
}

impl BlockWriter {
    pub(super) fn new(head: SnapshotHead) -> BlockWriter {
        BlockWriter { head, bytes: Vec::with_capacity(BLOCK_BYTES), now: Stamp::of(Millis(0)) }
    }

    /// Begins a block if none is begun. It is `unix_ms` by the wall clock and `now` by the one that
    /// peers are heard of by.
    pub(super) fn begin(&mut self, now: Millis, unix_ms: u64) {
        if !self.bytes.is_empty() {
            return;
        }
        self.now = Stamp::of(now);
        let SnapshotHead { id, source, is_final, peer_ids } = self.head;
        let flags = [(is_final, FINAL), (peer_ids, PEER_IDS)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        // Ages are whole units before the begin of the unit that it is now.
        let counted_from_ms = unix_ms.saturating_sub(now.0 % UNIT_MS);
        self.bytes.extend_from_slice(MAGIC);
        self.bytes.extend_from_slice(&VERSION.to_le_bytes());
        self.bytes.extend_from_slice(&(!VERSION).to_le_bytes());
        self.bytes.push(flags);
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.bytes.extend_from_slice(&source);
        self.bytes.extend_from_slice(&counted_from_ms.to_le_bytes());
        // The length and the checksum, see `seal`.
        self.bytes.resize(HEADER_BYTES, 0);
    }

    /// Writes as much of a piece as there is room for. False when not all of it is written: then
    /// `piece` is the rest, for another block.
    pub(super) fn write(&mut self, piece: &mut Piece<'_>) -> bool {
        let id_bytes = if self.head.peer_ids { PEER_ID_BYTES } else { 0 };
        let mut room = (BLOCK_BYTES - self.bytes.len()).saturating_sub(RECORD_BYTES);
        let mut groups = GroupCounts::default();
        for (group, taken) in groups.iter_mut().enumerate() {
            let peer_bytes = address_bytes(group) + STATE_BYTES + id_bytes;
            *taken = piece.groups[group].min(room / peer_bytes).min(u16::MAX.into());
            room -= *taken * peer_bytes;
            if *taken < piece.groups[group] {
                break;
            }
        }
        let is_all = groups == piece.groups;
        if groups == GroupCounts::default()
            && (!is_all || self.bytes.len() + RECORD_BYTES > BLOCK_BYTES)
        {
            return false;
        }
        self.write_record(piece, &groups, id_bytes);
        piece.is_first = false;
        piece.groups.iter_mut().zip(groups).for_each(|(left, taken)| *left -= taken);
        is_all
    }

    fn write_record(&mut self, piece: &mut Piece<'_>, groups: &GroupCounts, id_bytes: usize) {
        let SavedCounts { listing, base, own } = piece.counts;
        let first = if piece.is_first { FIRST } else { 0 };
        self.bytes.extend_from_slice(&piece.info_hash.0);
        self.bytes.push(listing.number().to_le_bytes()[0] | first);
        self.bytes.extend_from_slice(&base.to_le_bytes());
        self.bytes.extend_from_slice(&own.to_le_bytes());
        for peers in groups {
            let peers = u16::try_from(*peers).unwrap_or(u16::MAX);
            self.bytes.extend_from_slice(&peers.to_le_bytes());
        }
        for (group, peers) in groups.iter().enumerate() {
            let address_bytes = address_bytes(group);
            let peer_bytes = address_bytes + STATE_BYTES + id_bytes;
            let (slots, rest) = piece.slots.split_at(peers * peer_bytes);
            piece.slots = rest;
            for slot in slots.chunks_exact(peer_bytes) {
                let (address, rest) = slot.split_at(address_bytes);
                let (state, id) = rest.split_at(STATE_BYTES);
                let state = State::from_bytes([state[0], state[1]]);
                self.bytes.extend_from_slice(address);
                self.bytes.extend_from_slice(&saved_state(state, self.now).to_le_bytes());
                self.bytes.extend_from_slice(id);
            }
        }
    }

    /// Hands out the block that was begun; nothing of it stays.
    pub(super) fn seal<T>(&mut self, is_last: bool, hand_out: impl FnOnce(&[u8]) -> T) -> T {
        if is_last {
            self.bytes[MAGIC_BYTES] |= LAST;
        }
        let length = u32::try_from(self.bytes.len() - HEADER_BYTES).unwrap_or(0);
        let length_at = HEADER_BYTES - SUM_BYTES - 4;
        self.bytes[length_at..][..4].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(&self.bytes).to_le_bytes();
        self.bytes[HEADER_BYTES - SUM_BYTES..HEADER_BYTES].copy_from_slice(&sum);
        if !is_last {
            // What is too short for another peer, so that each block is found by its number.
            self.bytes.resize(BLOCK_BYTES, 0);
        }
        let outcome = hand_out(&self.bytes);
        self.bytes.clear();
        outcome
    }
}

/// Of a whole block, but for where the sum itself is.
fn checksum(block: &[u8]) -> u32 {
    let mut sum = Hasher::new();
    sum.update(&block[..HEADER_BYTES - SUM_BYTES]);
    sum.update(&block[HEADER_BYTES..]);
    sum.finalize()
}

fn saved_state(state: State, now: Stamp) -> u16 {
    let history = state.history();
    let flags = [
        (state.supports_crypto(), SUPPORTS_CRYPTO),
        (state.requires_crypto(), REQUIRES_CRYPTO),
        (history.has_leeched(), HAS_LEECHED),
        (history.is_counted(), COUNTED),
    ];
    let age = state.age_units(now).min(AGE_MASK);
    flags.iter().filter(|(is_set, _)| *is_set).fold(age, |saved, (_, flag)| saved | flag)
}

/// One block that was read.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotBlock<'b> {
    /// What it has in common with the others.
    pub head: SnapshotHead,
    /// Whether no other follows.
    pub is_last: bool,
    /// What its ages count from, milliseconds since 1970.
    pub counted_from_ms: u64,
    records: &'b [u8],
}

/// What one record says of a torrent.
#[derive(Clone, Copy, Debug)]
pub struct SavedTorrent<'b> {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// What was known of its registration.
    pub listing: Listing,
    /// Whether it is the first record of the torrent; all of them say the same of its downloads.
    pub is_first: bool,
    /// Downloads that somebody else has noted, or will.
    pub base: u32,
    /// Downloads that nobody else knows of.
    pub own: u32,
    /// The peers of each group.
    groups: [&'b [u8]; GROUPS],
    id_bytes: usize,
}

/// A peer of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedPeer {
    /// Where it listens.
    pub address: PeerAddr,
    /// Whether it is a seeder.
    pub seeder: bool,
    /// How long before the time of its block it was last heard of, milliseconds, at most.
    pub age_ms: u64,
    /// What it says of encryption.
    pub crypto: Crypto,
    /// Its id, where ids are kept.
    pub id: Option<PeerId>,
    pub(in crate::swarm) history: History,
}

impl<'b> SnapshotBlock<'b> {
    /// Reads a block; what stands behind it is not looked at.
    ///
    /// # Errors
    /// When it is damaged, or of a newer form.
    pub fn decode(bytes: &'b [u8]) -> Result<SnapshotBlock<'b>, BlockFault> {
        let mut rest = Reader(bytes);
        let magic = rest.take(MAGIC.len())?;
        let (version, again) = (rest.u16()?, rest.u16()?);
        if magic != MAGIC || version != !again {
            return Err(BlockFault::Damaged);
        }
        if version > VERSION {
            return Err(BlockFault::Newer(version));
        }
        let [flags] = rest.array()?;
        let id = u64::from_le_bytes(rest.array()?);
        let source = rest.array()?;
        let counted_from_ms = u64::from_le_bytes(rest.array()?);
        let length = u32::from_le_bytes(rest.array()?) as usize;
        let sum = u32::from_le_bytes(rest.array()?);
        let records = rest.take(length)?;
        if version != VERSION || checksum(&bytes[..HEADER_BYTES + length]) != sum {
            return Err(BlockFault::Damaged);
        }
        let (is_final, peer_ids) = (flags & FINAL != 0, flags & PEER_IDS != 0);
        let head = SnapshotHead { id, source, is_final, peer_ids };
        let block = SnapshotBlock { head, is_last: flags & LAST != 0, counted_from_ms, records };
        // So that whoever goes over the torrents meets no fault half-way.
        let mut records = Reader(records);
        while !records.0.is_empty() {
            block.read(&mut records)?;
        }
        Ok(block)
    }

    /// Its records.
    pub fn torrents(&self) -> impl Iterator<Item = SavedTorrent<'b>> + use<'b> {
        let (block, mut records) = (*self, Reader(self.records));
        std::iter::from_fn(move || block.read(&mut records).ok())
    }

    fn read(&self, records: &mut Reader<'b>) -> Result<SavedTorrent<'b>, BlockFault> {
        let info_hash = InfoHash(records.array()?);
        let [listing] = records.array()?;
        let (base, own) =
            (u32::from_le_bytes(records.array()?), u32::from_le_bytes(records.array()?));
        let number = u32::from(listing & !FIRST);
        let Some(listing_of) = Listing::ALL.get(number as usize) else {
            return Err(BlockFault::Damaged);
        };
        let id_bytes = if self.head.peer_ids { PEER_ID_BYTES } else { 0 };
        let mut counts = GroupCounts::default();
        for count in &mut counts {
            *count = records.u16()?.into();
        }
        let mut groups = [[].as_slice(); GROUPS];
        for (group, peers) in groups.iter_mut().enumerate() {
            let peer_bytes = address_bytes(group) + STATE_BYTES + id_bytes;
            *peers = records.take(counts[group] * peer_bytes)?;
        }
        let is_first = listing & FIRST != 0;
        Ok(SavedTorrent { info_hash, listing: *listing_of, is_first, base, own, groups, id_bytes })
    }
}

impl<'b> SavedTorrent<'b> {
    /// Its peers in this record.
    pub fn peers(&self) -> impl Iterator<Item = SavedPeer> + use<'b> {
        let id_bytes = self.id_bytes;
        self.groups.into_iter().enumerate().flat_map(move |(group, peers)| {
            let peer_bytes = address_bytes(group) + STATE_BYTES + id_bytes;
            peers.chunks_exact(peer_bytes).filter_map(move |peer| saved_peer(group, peer))
        })
    }
}

fn saved_peer(group: usize, peer: &[u8]) -> Option<SavedPeer> {
    let (address, rest) = peer.split_at(address_bytes(group));
    let (state, id) = rest.split_first_chunk()?;
    let state = u16::from_le_bytes(*state);
    let is_set = |flag| state & flag != 0;
    Some(SavedPeer {
        address: PeerAddr::of_wire(address)?,
        seeder: group % 2 == 1,
        age_ms: u64::from(state & AGE_MASK) * UNIT_MS,
        crypto: match (is_set(SUPPORTS_CRYPTO), is_set(REQUIRES_CRYPTO)) {
            (_, true) => Crypto::Required,
            (true, false) => Crypto::Supported,
            (false, false) => Crypto::None,
        },
        id: id.first_chunk().copied().map(PeerId),
        history: History::of(is_set(HAS_LEECHED), is_set(COUNTED)),
    })
}

/// Bytes that are still to be read.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], BlockFault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BlockFault::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockFault> {
        let (array, rest) = self.0.split_first_chunk().ok_or(BlockFault::Damaged)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u16(&mut self) -> Result<u16, BlockFault> {
        self.array().map(u16::from_le_bytes)
    }
}
