//! The swarms against a model that anyone can check by reading: a hash map of torrents, each a hash
//! map of peers.
//!
//! Owns: [`run_operations`], which reads any bytes as a configuration and a list of operations,
//! does each of them to a [`Store`] and to the model, and panics at the first difference. Counters
//! must be equal; an answer must have the right number of peers, each eligible, known, with its own
//! id and flag, none twice. Which of the eligible peers is chance, and is judged in
//! `swarm::select`.
//!
//! Never: looks into the store. All is seen through announces, scrapes and totals, as a client
//! would.

use std::collections::{self, HashSet};
use std::net::Ipv6Addr;

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::config::{Networks, PublicAddresses, SwarmLimits};
use crate::ids::{Crypto, Event, Family, InfoHash, Millis, PeerAddr, PeerId};
use crate::swarm::{
    Announcement, Chosen, Counts, Moment, Newcomer, Store, StoreSettings, Sweep, Totals, Walk,
};
use crate::tests::announcement::{self, open_at};
use crate::tests::snapshots;

/// Its 8th part is four units of age.
const LIFETIME_MS: u64 = 32 << 14;
const STEP_MS: u64 = LIFETIME_MS / 8;

/// Bytes that one operation reads.
pub const OPERATION_BYTES: usize = 6;

type HashMap<K, V> = collections::HashMap<K, V, ahash::RandomState>;

struct ModelPeer {
    seeder: bool,
    heard: Millis,
    crypto: Crypto,
    counted: bool,
    has_leeched: bool,
    peer_id: PeerId,
}

struct ModelTorrent {
    downloaded: u32,
    peers: HashMap<PeerAddr, ModelPeer>,
}

impl ModelTorrent {
    fn new() -> ModelTorrent {
        ModelTorrent {
            downloaded: 0,
            peers: HashMap::with_hasher(ahash::RandomState::with_seed(1)),
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { downloaded: self.downloaded, ..Counts::default() };
        for peer in self.peers.values() {
            *(if peer.seeder { &mut counts.complete } else { &mut counts.incomplete }) += 1;
        }
        counts
    }
}

/// What counts as one address: an IPv4 address, or a /64.
fn host(addr: &PeerAddr) -> Vec<u8> {
    match addr {
        PeerAddr::V4(wire) => wire[..4].to_vec(),
        PeerAddr::V6(wire) => wire[..8].to_vec(),
    }
}

/// Completions of one address in one torrent that are counted in a lifetime.
const COMPLETIONS_MAX: u32 = 64;
/// Peers in an answer up to which more than two of one address may be in it.
const FILLED_UP_TO: usize = 20;

struct Model {
    /// Since when, and how many completions were counted of an address in a torrent.
    completions: HashMap<(InfoHash, Vec<u8>), (Millis, u32)>,
    limits: SwarmLimits,
    peer_ids: bool,
    torrents: HashMap<InfoHash, ModelTorrent>,
    peers: u64,
}

impl Model {
    fn announce(&mut self, announce: &Announcement, now: Millis) -> Counts {
        let torrents = self.torrents.len() as u64;
        let is_new = !self.torrents.contains_key(&announce.info_hash);
        let may_store = announce.listening && self.peers < self.limits.peers_max;
        let may_begin =
            may_store && announce.event != Event::Stopped && torrents < self.limits.torrents_max;
        if is_new && !may_begin {
            return Counts::default();
        }
        let is_exempt = self.limits.shares_exempt.contain(announce.peer.ip());
        let torrent = self.torrents.entry(announce.info_hash).or_insert_with(ModelTorrent::new);
        let known = torrent.peers.remove(&announce.peer);
        self.peers -= u64::from(known.is_some());
        let of_address = torrent.peers.keys().filter(|addr| host(addr) == host(&announce.peer));
        let max = self.limits.peers_per_address_max as usize;
        let may_store = may_store && (max == 0 || is_exempt || of_address.count() < max);
        if announce.event != Event::Stopped && (known.is_some() || may_store) {
            let Announcement { seeder, crypto, peer_id, .. } = *announce;
            let same = known.filter(|peer| !self.peer_ids || peer.peer_id == peer_id);
            let had_leeched = same.as_ref().is_some_and(|peer| peer.has_leeched);
            let counted = same.is_some_and(|peer| peer.counted);
            let completed = had_leeched && seeder && announce.event == Event::Completed && !counted;
            let pair = (announce.info_hash, host(&announce.peer));
            let (since, count) = self.completions.entry(pair).or_insert((now, 0));
            if now.since(*since) > self.limits.lifetime_ms || *count == 0 {
                (*since, *count) = (now, 0);
            }
            let is_counted = completed && (is_exempt || *count < COMPLETIONS_MAX);
            *count += u32::from(is_counted && !is_exempt);
            torrent.downloaded += u32::from(is_counted);
            let peer = ModelPeer {
                seeder,
                heard: now,
                crypto,
                counted: counted || completed,
                has_leeched: had_leeched || !seeder,
                peer_id,
            };
            torrent.peers.insert(announce.peer, peer);
            self.peers += 1;
        }
        let counts = torrent.counts();
        if torrent.peers.is_empty() {
            self.torrents.remove(&announce.info_hash);
        }
        counts
    }

    /// Who made room at a cap was stored, and the cap was reached.
    fn evict(&mut self, gone: &[(InfoHash, PeerAddr)]) {
        for (info_hash, peer) in gone {
            let torrents = self.torrents.len() as u64;
            assert!(
                self.peers == self.limits.peers_max || torrents == self.limits.torrents_max,
                "{peer:?} went below the caps"
            );
            let torrent = self.torrents.get_mut(info_hash).expect("a torrent that is there");
            assert!(torrent.peers.remove(peer).is_some(), "{peer:?} went and was not there");
            assert!(
                self.peers == self.limits.peers_max || torrent.peers.is_empty(),
                "{peer:?} made room for a torrent and was not the only one"
            );
            self.forget_empty();
        }
    }

    fn expire(&mut self, now: Millis) {
        for torrent in self.torrents.values_mut() {
            torrent.peers.retain(|_, peer| now.since(peer.heard) <= self.limits.lifetime_ms);
        }
        self.forget_empty();
    }

    fn remove(&mut self, info_hash: &InfoHash) {
        self.torrents.remove(info_hash);
        self.forget_empty();
    }

    fn forget_empty(&mut self) {
        self.torrents.retain(|_, torrent| !torrent.peers.is_empty());
        self.peers = self.torrents.values().map(|torrent| torrent.peers.len() as u64).sum();
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals { torrents: self.torrents.len() as u64, ..Totals::default() };
        for (addr, peer) in self.torrents.values().flat_map(|torrent| &torrent.peers) {
            *match (addr.family(), peer.seeder) {
                (Family::V4, true) => &mut totals.seeders_v4,
                (Family::V4, false) => &mut totals.leechers_v4,
                (Family::V6, true) => &mut totals.seeders_v6,
                (Family::V6, false) => &mut totals.leechers_v6,
            } += 1;
        }
        totals
    }

    /// Who may be in an answer to `announce`, each as it is shown there and as it is stored.
    fn eligible<'m>(
        &self,
        announce: &Announcement,
        torrent: &'m ModelTorrent,
    ) -> Vec<(PeerAddr, PeerAddr, &'m ModelPeer)> {
        let family = announce.peer.family();
        let is_outside = !announce.is_known || !is_private(&announce.peer);
        let public = self.limits.public_addresses.of_family(family);
        let shown = |addr: &PeerAddr| match is_outside && is_private(addr) {
            true => public.map(|ip| PeerAddr::new(ip, addr.port())),
            false => Some(*addr),
        };
        let eligible = |addr: &PeerAddr, peer: &ModelPeer| {
            addr.family() == family
                && *addr != announce.peer
                && !(announce.seeder && peer.seeder)
                && (announce.crypto != Crypto::Required || peer.crypto != Crypto::None)
                && announce.event != Event::Stopped
        };
        let peers = torrent.peers.iter().filter(|(addr, peer)| eligible(addr, peer));
        peers.filter_map(|(addr, peer)| Some((shown(addr)?, *addr, peer))).collect()
    }

    /// How many peers an answer has, and how many of them may share an address: at most two, while
    /// there are others, unless the answer would be short.
    fn fair_counts(&self, eligible: &[PeerAddr], wanted: usize) -> (usize, usize) {
        let mut hosts = HashMap::<Vec<u8>, usize>::with_hasher(ahash::RandomState::with_seed(1));
        let is_exempt = |addr: &PeerAddr| self.limits.shares_exempt.contain(addr.ip());
        let exempt = eligible.iter().filter(|addr| is_exempt(addr)).count();
        for addr in eligible.iter().filter(|addr| !is_exempt(addr)) {
            *hosts.entry(host(addr)).or_default() += 1;
        }
        let by_two = exempt + hosts.values().map(|peers| *peers.min(&2)).sum::<usize>();
        let is_one_host = hosts.len() == 1 && exempt == 0;
        let filled = if is_one_host { wanted } else { wanted.min(FILLED_UP_TO) };
        let count = wanted.min(by_two).max(filled.min(eligible.len()));
        (count, if count > wanted.min(by_two) { usize::MAX } else { 2 })
    }

    /// Panics unless `chosen` is a fair answer to `announce`: what is in it, not how it was drawn.
    fn judge(&self, announce: &Announcement, chosen: &Chosen) {
        let nobody = ModelTorrent::new();
        let torrent = self.torrents.get(&announce.info_hash).unwrap_or(&nobody);
        let eligible = self.eligible(announce, torrent);
        let mut distinct = eligible.iter().map(|(shown, ..)| *shown).collect::<HashSet<_>>();
        distinct.remove(&announce.peer);
        // Peers that are shown alike may have been chosen together, and are in the answer once.
        let alike = eligible.len() - distinct.len();
        let wanted = announce.numwant.min(PEERS_PER_REPLY_MAX);
        let stored = eligible.iter().map(|(_, stored, _)| *stored).collect::<Vec<_>>();
        let (fair, of_one_host) = self.fair_counts(&stored, wanted);
        let counts = if eligible.len() <= fair {
            distinct.len()..=distinct.len()
        } else {
            fair.saturating_sub(alike)..=fair.min(distinct.len())
        };
        // Peers that are shown under the network's address join those that have it.
        let is_renamed = eligible.iter().any(|(shown, stored, _)| shown != stored);
        let mut hosts = HashMap::<Vec<u8>, usize>::with_hasher(ahash::RandomState::with_seed(1));
        for addr in peers_of(chosen).filter(|addr| !self.limits.shares_exempt.contain(addr.ip())) {
            let of_host = hosts.entry(host(&addr)).or_default();
            *of_host += 1;
            assert!(
                *of_host <= of_one_host || is_renamed,
                "{of_host} peers with the address of {addr:?} for {announce:?}"
            );
        }
        assert!(
            counts.contains(&chosen.count()),
            "{} peers, not {counts:?}, for {announce:?}",
            chosen.count()
        );
        let [ids, flags] = [announce.want_ids && self.peer_ids, announce.want_crypto_flags]
            .map(|is_wanted| is_wanted.then(|| chosen.count()));
        assert_eq!(chosen.ids().map(<[_]>::len), ids, "ids for {announce:?}");
        assert_eq!(chosen.crypto_flags().map(<[_]>::len), flags, "flags for {announce:?}");
        for (at, addr) in peers_of(chosen).enumerate() {
            assert!(distinct.remove(&addr), "{addr:?} is no peer for {announce:?}, or there twice");
            let is_this = |(shown, _, peer): &(PeerAddr, PeerAddr, &ModelPeer)| {
                let flag = u8::from(peer.crypto == Crypto::Required);
                *shown == addr
                    && chosen.ids().is_none_or(|ids| ids[at] == peer.peer_id)
                    && chosen.crypto_flags().is_none_or(|flags| flags[at] == flag)
            };
            assert!(eligible.iter().any(is_this), "{addr:?} has another's id or flag");
        }
    }
}

/// The peers of an answer.
fn peers_of(chosen: &Chosen) -> impl Iterator<Item = PeerAddr> {
    chosen.wire().chunks_exact(chosen.family().peer_bytes()).map(|wire| match *wire {
        [a, b, c, d, high, low] => PeerAddr::V4([a, b, c, d, high, low]),
        _ => PeerAddr::V6(wire.try_into().unwrap_or_default()),
    })
}

/// Whether an address that [`addr`] makes is private.
fn is_private(addr: &PeerAddr) -> bool {
    match addr {
        PeerAddr::V4(wire) => wire[0] == 10,
        PeerAddr::V6(wire) => wire[0] == 0xfd,
    }
}

/// Both sides of the comparison, and what the operations share.
struct Run {
    store: Store,
    model: Model,
    chosen: Chosen,
    rng: fastrand::Rng,
    now: Millis,
    torrents: u8,
    peers: u16,
    /// Whether most announces are stops, so that swarms shrink.
    shrinking: bool,
}

impl Run {
    fn new([seed, caps, torrents, peers, ids, lifetime]: [u8; OPERATION_BYTES]) -> Run {
        let cap = |choice: u8, cap: u64| if choice.is_multiple_of(4) { cap } else { u64::MAX };
        let limits = SwarmLimits {
            lifetime_ms: LIFETIME_MS + u64::from(lifetime % 2) * 321,
            // Of IPv6 peers all have one of two /64s.
            peers_per_address_max: [0, 3, 40, 64][usize::from(ids / 2 % 4)],
            shares_exempt: if ids & 8 == 0 { Networks::NONE } else { Networks::private() },
            peers_max: cap(caps, 150),
            torrents_max: cap(caps / 4, 3),
            // Those of two hosts that may have peers of their own.
            public_addresses: PublicAddresses {
                v4: (lifetime & 2 != 0).then_some([9, 0, 0, 0].into()),
                v6: (lifetime & 4 != 0)
                    .then_some(Ipv6Addr::from_bits((u128::MAX / 255 * 0x20) & (u128::MAX << 16))),
            },
        };
        let peer_ids = ids % 2 == 1;
        Run {
            store: Store::new(StoreSettings { peer_ids }, u64::from(seed)),
            model: Model {
                completions: HashMap::with_hasher(ahash::RandomState::with_seed(1)),
                limits,
                peer_ids,
                torrents: HashMap::with_hasher(ahash::RandomState::with_seed(1)),
                peers: 0,
            },
            chosen: Chosen::new(),
            rng: fastrand::Rng::with_seed(u64::from(seed)),
            now: Millis(0),
            torrents: [1, 2, 6, 255][usize::from(torrents % 4)],
            peers: [4, 40, 100, 360][usize::from(peers % 4)],
            shrinking: false,
        }
    }

    fn operate(&mut self, operation: [u8; OPERATION_BYTES]) {
        let [kind, torrent, .., flags, _] = operation;
        let info_hash = InfoHash([torrent % self.torrents; 20]);
        match kind {
            0..=247 => self.announce(self.announcement(info_hash, operation)),
            248..=249 => assert_eq!(
                self.store.scrape(&info_hash),
                self.model.torrents.get(&info_hash).map(ModelTorrent::counts)
            ),
            250 => self.expire(if flags < 2 { LIFETIME_MS + STEP_MS } else { STEP_MS }),
            251 => self.shrinking = flags.is_multiple_of(2),
            252 if flags < 64 => self.ban(&info_hash),
            253 if flags < 4 => self.store.check_invariants(),
            254 if flags < 64 => self.compare_peers(info_hash),
            255 if flags >= 248 => self.restart(),
            _ if flags < 16 => self.compare_torrents(),
            _ => {}
        }
    }

    fn announcement(&self, info_hash: InfoHash, operation: [u8; OPERATION_BYTES]) -> Announcement {
        let [kind, _, high, low, flags, numwant] = operation;
        let listening = !numwant.is_multiple_of(32);
        let event = match kind {
            _ if self.shrinking && !kind.is_multiple_of(8) => Event::Stopped,
            0..=140 => Event::Update,
            141..=200 => Event::Started,
            201..=230 => Event::Completed,
            _ => Event::Stopped,
        };
        Announcement {
            info_hash,
            peer: addr(u16::from_be_bytes([high, low]) % self.peers, listening),
            is_known: true,
            // Mostly one client to an address, so that completions are counted.
            peer_id: PeerId([if flags < 16 { kind } else { low }; 20]),
            seeder: if event == Event::Completed {
                !flags.is_multiple_of(16)
            } else {
                flags.is_multiple_of(2)
            },
            event,
            crypto: [Crypto::None, Crypto::Supported, Crypto::None, Crypto::Required]
                [usize::from(flags / 2 % 4)],
            listening,
            numwant: if numwant > 252 {
                PEERS_PER_REPLY_MAX + 7
            } else {
                usize::from(numwant % 16)
            },
            want_ids: flags & 32 != 0,
            want_crypto_flags: flags & 64 != 0,
        }
    }

    fn announce(&mut self, announce: Announcement) {
        let counts = self.store.enter(
            &Newcomer::without_list(&announce),
            Moment { limits: &self.model.limits, ..open_at(self.now) },
            &mut self.rng,
            &mut self.chosen,
        );
        self.model.evict(&self.store.take_gone());
        assert_eq!(
            counts,
            Some(self.model.announce(&announce, self.now)),
            "counts after {announce:?}"
        );
        self.model.judge(&announce, &self.chosen);
    }

    /// Bans a torrent, and has written what that leaves to be written, so that nothing is left.
    fn ban(&mut self, info_hash: &InfoHash) {
        self.store.ban(info_hash);
        let (mut walk, mut taken) = (Walk::default(), Vec::new());
        while !walk.is_over() {
            self.store.take_unwritten(&mut walk, self.now, usize::MAX, &mut taken);
        }
        for torrent in &taken {
            self.store.confirm_written(&torrent.info_hash, torrent.downloads);
            self.store.forget_written(&torrent.info_hash);
        }
        self.model.remove(info_hash);
    }

    /// Lets time pass; the first call of a fresh sweep is a whole round.
    fn expire(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.store.sweep(&mut Sweep::new(0, 1), self.now, &self.model.limits);
        self.model.expire(self.now);
        self.compare_torrents();
    }

    /// Another process goes on with what this one leaves: it has other keys and another clock.
    fn restart(&mut self) {
        let snapshot = snapshots::save(&self.store, self.now, 0);
        let settings = StoreSettings { peer_ids: self.model.peer_ids };
        self.store = Store::new(settings, self.rng.u64(..));
        snapshots::load(&self.store, &snapshot, self.now, 0, &self.model.limits);
        self.compare_torrents();
    }

    /// Compares who is in a swarm, class by class, by asking as peers that are not stored, from
    /// inside the tracker's network and from outside.
    fn compare_peers(&mut self, info_hash: InfoHash) {
        for choice in 0..8_u16 {
            let stranger = Announcement {
                info_hash,
                peer: addr(choice & 1, false),
                is_known: choice & 2 != 0,
                seeder: choice & 4 != 0,
                listening: false,
                numwant: PEERS_PER_REPLY_MAX,
                want_ids: true,
                want_crypto_flags: true,
                ..announcement::of(0, 0)
            };
            self.announce(stranger);
        }
    }

    fn compare_torrents(&self) {
        let mut torrents = 0;
        self.store.for_each(|info_hash, counts| {
            torrents += 1;
            assert_eq!(
                self.model.torrents.get(info_hash).map(ModelTorrent::counts),
                Some(counts),
                "{info_hash}"
            );
        });
        assert_eq!(torrents, self.model.torrents.len());
        assert_eq!(self.store.totals(), self.model.totals());
    }
}

/// The address of a peer: of either family by turns, private or public by turns of two, several on
/// one host. One that does not listen has port 1.
fn addr(name: u16, listening: bool) -> PeerAddr {
    let [high, low] = (name / 6).to_be_bytes();
    let [port_high, port_low] =
        if listening { (6881 + name / 2 % 3).to_be_bytes() } else { [0, 1] };
    if name.is_multiple_of(2) {
        let first = if name.is_multiple_of(4) { 10 } else { 9 };
        PeerAddr::V4([first, 0, high, low, port_high, port_low])
    } else {
        let mut wire = [0x20; 18];
        if name % 4 == 1 {
            wire[0] = 0xfd;
        }
        wire[14..].copy_from_slice(&[high, low, port_high, port_low]);
        PeerAddr::V6(wire)
    }
}

/// Does what `bytes` say to a store and to the model: the first [`OPERATION_BYTES`] bytes configure
/// both, each further group is one operation. Panics where they differ.
pub fn run_operations(bytes: &[u8]) {
    let mut operations = bytes.as_chunks::<OPERATION_BYTES>().0.iter();
    let Some(settings) = operations.next() else { return };
    let mut run = Run::new(*settings);
    operations.for_each(|operation| run.operate(*operation));
    run.expire(STEP_MS);
    (0..run.torrents).for_each(|torrent| run.compare_peers(InfoHash([torrent; 20])));
    run.store.check_invariants();
    run.expire(LIFETIME_MS + STEP_MS);
    assert_eq!(run.store.totals(), Totals::default(), "something outlived its time");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::seeds::seed;

    #[test]
    fn store_and_model_agree_through_millions_of_operations() {
        let mut rng = fastrand::Rng::with_seed(seed());
        let operations = if cfg!(debug_assertions) { 8_000 } else { 50_000 };
        for run in 0..100 {
            let mut bytes = vec![0; operations * OPERATION_BYTES];
            rng.fill(&mut bytes);
            // Every configuration comes up, whatever the seed.
            bytes[1..OPERATION_BYTES].copy_from_slice(&[run, run, run / 2, run / 8, run]);
            run_operations(&bytes);
        }
    }
}
