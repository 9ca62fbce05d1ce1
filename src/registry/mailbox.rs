//! Where answers from other threads wait for their worker.
//!
//! Owns: one queue a worker, and the closure that wakes it. Many threads put, one worker takes.
//! Never looks into what it carries.
//!
//! Limits: none of its own. What may be put is bounded where it is asked for: one completion for
//! every ticket that waits.

use std::sync::Arc;

use crossbeam_queue::SegQueue;

/// Wakes one worker's event loop; may be called from any thread, and more often than needed.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The mailboxes of all workers, by index; clones share them.
pub struct Mailboxes<T>(Arc<[Mailbox<T>]>);

struct Mailbox<T> {
    queue: SegQueue<T>,
    wake: Wake,
}

impl<T> Clone for Mailboxes<T> {
    fn clone(&self) -> Self {
        Mailboxes(Arc::clone(&self.0))
    }
}

impl<T> Mailboxes<T> {
    /// One mailbox per waker: the worker's index is its waker's.
    pub fn new(wakes: impl IntoIterator<Item = Wake>) -> Mailboxes<T> {
        Mailboxes(wakes.into_iter().map(|wake| Mailbox { queue: SegQueue::new(), wake }).collect())
    }

    /// Leaves `item` for a worker without waking it; dropped when there is no such worker.
    pub fn put(&self, worker: u16, item: T) {
        if let Some(mailbox) = self.0.get(usize::from(worker)) {
            mailbox.queue.push(item);
        }
    }

    /// Wakes every worker that has something to take.
    pub fn wake(&self) {
        self.0
            .iter()
            .filter(|mailbox| !mailbox.queue.is_empty())
            .for_each(|mailbox| (mailbox.wake)());
    }

    /// The next item for a worker, if any.
    pub fn take(&self, worker: u16) -> Option<T> {
        self.0.get(usize::from(worker))?.queue.pop()
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
        let mailboxes = Mailboxes::new(wakes);
        mailboxes.put(1, "late");
        mailboxes.put(7, "nobody's");
        mailboxes.wake();
        assert_eq!([0, 1], [0, 1].map(|worker| woken[worker].load(Ordering::Relaxed)));
        assert_eq!(mailboxes.take(0), None, "for the first");
        assert_eq!(mailboxes.take(1), Some("late"), "for the second");
        assert_eq!(mailboxes.take(1), None, "for the second, again");
    }
}
