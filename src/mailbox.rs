//! Where answers from other threads wait for their worker.
//!
//! Owns: one queue a worker, and the closure that wakes it. Many threads put, one worker takes.
//! Never looks into what it carries.
//!
//! Limits: items in one queue; what is put beyond is dropped, and whoever put it is told so.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ids::Millis;

/// Wakes one worker's event loop; may be called from any thread, and more often than needed.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The time by the workers' clock.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The mailboxes of all workers, by index; clones share them.
pub struct Mailboxes<T>(Arc<All<T>>);

struct All<T> {
    mailboxes: Box<[Mailbox<T>]>,
    items_max: usize,
}

struct Mailbox<T> {
    queue: Mutex<VecDeque<T>>,
    wake: Wake,
}

impl<T> Clone for Mailboxes<T> {
    fn clone(&self) -> Self {
        Mailboxes(Arc::clone(&self.0))
    }
}

impl<T> Mailboxes<T> {
    /// One mailbox per waker, each for `items_max` items: the worker's index is its waker's.
    pub fn new(wakes: impl IntoIterator<Item = Wake>, items_max: usize) -> Mailboxes<T> {
        let mailbox = |wake| Mailbox { queue: Mutex::default(), wake };
        let mailboxes = wakes.into_iter().map(mailbox).collect();
        Mailboxes(Arc::new(All { mailboxes, items_max }))
    }

    /// Leaves `item` for a worker without waking it. False when it is dropped: the mailbox is full,
    /// or there is no such worker.
    pub fn put(&self, worker: u16, item: T) -> bool {
        let Some(mailbox) = self.0.mailboxes.get(usize::from(worker)) else { return false };
        let mut queue = mailbox.queue.lock();
        let has_room = queue.len() < self.0.items_max;
        if has_room {
            queue.push_back(item);
        }
        has_room
    }

    /// Wakes every worker that has something to take.
    pub fn wake(&self) {
        for mailbox in &self.0.mailboxes {
            if !mailbox.queue.lock().is_empty() {
                (mailbox.wake)();
            }
        }
    }

    /// The next item for a worker, if any.
    pub fn take(&self, worker: u16) -> Option<T> {
        self.0.mailboxes.get(usize::from(worker))?.queue.lock().pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn only_workers_with_mail_are_woken() {
        let woken = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let wakes = (0..2).map(|worker| {
            let woken = Arc::clone(&woken);
            Arc::new(move || {
                woken[worker].fetch_add(1, Ordering::Relaxed);
            }) as Wake
        });
        let mailboxes = Mailboxes::new(wakes, 2);
        assert!(mailboxes.put(1, "late"), "there is room");
        assert!(!mailboxes.put(7, "nobody's"), "there is no such worker");
        mailboxes.wake();
        assert_eq!([0, 1], [0, 1].map(|worker| woken[worker].load(Ordering::Relaxed)));
        assert_eq!(mailboxes.take(0), None, "for the first");
        assert_eq!(mailboxes.take(1), Some("late"), "for the second");
        assert_eq!(mailboxes.take(1), None, "for the second, again");
    }

    #[test]
    fn a_full_mailbox_takes_no_more_until_something_is_taken() {
        let mailboxes = Mailboxes::new([Arc::new(|| ()) as Wake], 2);
        assert_eq!([1, 2, 3].map(|item| mailboxes.put(0, item)), [true, true, false]);
        assert_eq!(mailboxes.take(0), Some(1), "the oldest comes first");
        assert!(mailboxes.put(0, 4), "there is room again");
        assert_eq!([(); 3].map(|()| mailboxes.take(0)), [Some(2), Some(4), None]);
    }
}
