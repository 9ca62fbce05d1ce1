//! What holds for every swarm of a store from its begin: the keys of its hashes, and whether peer
//! ids are kept.
//!
//! Info hashes, ports and (through `ip=`) addresses are chosen by strangers, who could pile them up
//! in one place of a table whose hash they know. So both hashes are keyed, with keys that follow
//! from the store's seed and are never shown.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use crate::ids::InfoHash;
use crate::secrets;

/// See the module.
pub(super) struct Rules {
    /// Whether peer ids are kept beside the peers.
    pub(super) ids: bool,
    torrent_keys: RandomState,
    peer_keys: RandomState,
}

impl Rules {
    /// Every key derives from `seed`.
    pub(super) fn new(ids: bool, seed: u64) -> Rules {
        let [torrent_keys, peer_keys] = secrets::table_keys(seed);
        Rules { ids, torrent_keys, peer_keys }
    }

    /// The hash that finds a torrent.
    pub(super) fn torrent_hash(&self, info_hash: &InfoHash) -> u64 {
        keyed(&self.torrent_keys, &info_hash.0)
    }

    /// Something random for each number, which strangers cannot guess.
    pub(super) fn random(&self, number: u64) -> u64 {
        keyed(&self.torrent_keys, &number.to_le_bytes())
    }

    /// A hash for what is counted of an address in a torrent; never 0.
    pub(super) fn pair_hash(&self, info_hash: &InfoHash, host: u64) -> u64 {
        let mut hasher = self.peer_keys.build_hasher();
        hasher.write(&info_hash.0);
        hasher.write_u64(host);
        hasher.finish() | 1
    }

    /// The hash that finds a peer of a large swarm, by its wire address.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "any bits of a hash are as good as the others"
    )]
    pub(super) fn peer_hash(&self, wire: &[u8]) -> usize {
        keyed(&self.peer_keys, wire) as usize
    }
}

fn keyed(keys: &RandomState, bytes: &[u8]) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
