//! Announces that came before the peer they are about was taken in from a snapshot.
//!
//! Owns: what has to be remembered of them. A peer that stopped must not come back; one that
//! completed its download was a leecher, which is known only once it is taken in. All else needs no
//! note: what was announced since is there already, and stays as it is.
//!
//! Never: notes anything once everything has been taken in, which costs a look at one byte then,
//! and that only where a peer is not known.
//!
//! Limits: [`NOTES_MAX`] notes, some 8 MB; what is past it is forgotten, and counted. Taken under a
//! shard's lock, so that nothing is taken in between a look and a note.

use std::sync::atomic::{AtomicBool, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::ids::{Event, InfoHash, PeerAddr, PeerId};
use crate::swarm::announcement::Announcement;

/// Notes that are kept.
const NOTES_MAX: usize = 1 << 16;

/// See the module.
pub(super) struct Early {
    is_open: AtomicBool,
    notes: Mutex<Notes>,
}

/// The notes, by whom they are about.
pub(super) struct Notes {
    of: HashMap<(InfoHash, PeerAddr), Note, RandomState>,
    forgotten: u64,
}

/// What was announced of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Note {
    /// It has stopped, whatever it has announced since.
    pub(super) stopped: bool,
    /// It completed its download before it stopped, and called itself this.
    pub(super) completed: Option<PeerId>,
}

impl Early {
    /// Nothing is noted before [`Early::open`].
    pub(super) fn new(keys: RandomState) -> Early {
        let notes = Notes { of: HashMap::with_hasher(keys), forgotten: 0 };
        Early { is_open: AtomicBool::new(false), notes: Mutex::new(notes) }
    }

    /// Has notes kept from here on.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Everything has been taken in: forgets all notes. How many there was no room for.
    pub(super) fn close(&self) -> u64 {
        self.is_open.store(false, Ordering::Relaxed);
        let mut notes = self.notes.lock();
        notes.of.clear();
        notes.of.shrink_to_fit();
        std::mem::take(&mut notes.forgotten)
    }

    /// What has been noted; held by who takes in peers, under the lock of their shard.
    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock()
    }

    /// Notes what a peer that is not known announces; under the lock of its shard.
    #[inline]
    pub(super) fn note(&self, announce: &Announcement) {
        if self.is_open.load(Ordering::Relaxed) {
            self.note_now(announce);
        }
    }

    #[cold]
    fn note_now(&self, announce: &Announcement) {
        let Announcement { info_hash, peer, peer_id, seeder, event, .. } = *announce;
        let has_stopped = event == Event::Stopped;
        if !has_stopped && (event != Event::Completed || !seeder) {
            return;
        }
        let mut notes = self.notes.lock();
        if notes.of.len() >= NOTES_MAX && !notes.of.contains_key(&(info_hash, peer)) {
            notes.forgotten += 1;
            return;
        }
        let note = notes.of.entry((info_hash, peer)).or_default();
        if has_stopped {
            note.stopped = true;
        } else if !note.stopped {
            note.completed = Some(peer_id);
        }
    }
}

impl Notes {
    /// What was announced of a peer.
    pub(super) fn of(&self, info_hash: &InfoHash, peer: &PeerAddr) -> Note {
        if self.of.is_empty() {
            return Note::default();
        }
        self.of.get(&(*info_hash, *peer)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets;
    use crate::tests::announcement;

    fn early() -> Early {
        let [keys] = secrets::table_keys(1);
        Early::new(keys)
    }

    fn say(early: &Early, peer: u32, event: Event, seeder: bool) {
        early.note(&Announcement { event, seeder, ..announcement::of(1, peer) });
    }

    fn note(early: &Early, peer: u32) -> Note {
        early.notes().of(&announcement::hash(1), &announcement::addr(peer))
    }

    #[test]
    fn only_stops_and_completions_are_noted_and_only_while_a_snapshot_is_taken_in() {
        let early = early();
        let completed = Note { completed: Some(PeerId([b'p'; 20])), ..Note::default() };
        let stopped = Note { stopped: true, ..Note::default() };
        say(&early, 1, Event::Stopped, false);
        assert_eq!(note(&early, 1), Note::default(), "before it is opened");
        early.open();
        say(&early, 1, Event::Update, true);
        say(&early, 1, Event::Completed, false);
        assert_eq!(note(&early, 1), Note::default(), "an update, and a completion of a leecher");
        say(&early, 1, Event::Completed, true);
        assert_eq!(note(&early, 1), completed, "a completion");
        say(&early, 1, Event::Stopped, true);
        assert_eq!(note(&early, 1), Note { stopped: true, ..completed }, "and then a stop");
        say(&early, 2, Event::Stopped, true);
        say(&early, 2, Event::Completed, true);
        assert_eq!(note(&early, 2), stopped, "a completion after a stop is of another life");
        assert_eq!(early.close(), 0, "there was room for all");
        assert_eq!(note(&early, 1), Note::default(), "after it is closed");
    }

    #[test]
    fn past_the_bound_notes_are_forgotten_and_counted() {
        let early = early();
        early.open();
        let notes = u32::try_from(NOTES_MAX).unwrap();
        (0..notes + 3).for_each(|peer| say(&early, peer, Event::Stopped, false));
        say(&early, 0, Event::Stopped, false);
        assert!(note(&early, notes - 1).stopped, "the last there was room for");
        assert!(!note(&early, notes).stopped, "the first there was none for");
        assert_eq!(early.close(), 3);
    }
}
