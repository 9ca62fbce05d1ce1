//! Requests that are answered together: read all, answer all, write all.
//!
//! Owns: what was read from some connections in a row, until it is answered. A system call and the
//! answering of a request each fill the processor's nearest caches with their own code and data. By
//! turns they push each other out; in runs each pays for that once.
//!
//! Never: keeps anything from one round of the loop to the next, or changes the order of one
//! connection's requests: whoever has something else to do with a connection has the batch answered
//! first.
//!
//! Limits: [`BATCH_MAX`] connections, and what they sent: each may fill the request limit.

use std::ops::Range;

use crate::server::connection::Round;
use crate::server::resident::{Bench, Resident, Shared};
use crate::server::slots::{SlotId, Slots};
use crate::tracker::{Outbox, Turn};
use crate::wire::reply::REPLY_BYTES_MAX;

/// Connections of a batch: beyond some dozens there is nothing more to win, and those who were read
/// first wait for the others.
const BATCH_MAX: usize = 32;
/// Room for ordinary requests beside one of the largest.
const INPUT_BYTES: usize = 32 * 1024;
/// Answers that are written before others are made, so that they are still in the cache then.
const OUTPUT_BYTES: usize = 32 * 1024;

/// One connection's part of a batch.
struct Entry {
    id: SlotId,
    /// Its bytes in the input.
    input: Range<usize>,
    /// Its answers in the worker's output.
    output: Range<usize>,
    /// Writing has failed.
    broken: bool,
}

/// See the module.
pub(super) struct Batch {
    input: Box<[u8]>,
    input_bytes: usize,
    request_bytes_max: usize,
    entries: Vec<Entry>,
}

impl Batch {
    /// An empty batch of requests of at most so many bytes.
    pub(super) fn new(request_bytes_max: usize) -> Batch {
        let input = vec![0; request_bytes_max + INPUT_BYTES].into();
        Batch { input, input_bytes: 0, request_bytes_max, entries: Vec::with_capacity(BATCH_MAX) }
    }

    /// Whether another connection has no room.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == BATCH_MAX
            || self.input.len() - self.input_bytes < self.request_bytes_max
    }

    /// Reads from a connection, if that is what it waits for and nothing is left over from before;
    /// whether it is part of the batch now. The batch is not full.
    pub(super) fn take(&mut self, id: SlotId, resident: &mut Resident) -> bool {
        let room = &mut self.input[self.input_bytes..][..self.request_bytes_max];
        let Some(bytes) = resident.read_ahead(room) else { return false };
        let input = self.input_bytes..self.input_bytes + bytes;
        self.input_bytes = input.end;
        self.entries.push(Entry { id, input, output: 0..0, broken: false });
        true
    }

    /// Answers all that has been read, and sends the answers.
    pub(super) fn answer(
        &mut self,
        slots: &mut Slots<Resident>,
        bench: &mut Bench,
        shared: &Shared<'_>,
    ) {
        let Batch { input, entries, .. } = self;
        let mut rest = entries.as_mut_slice();
        while !rest.is_empty() {
            let mut output_bytes = 0;
            let mut answered = 0;
            while answered < rest.len()
                && output_bytes < OUTPUT_BYTES.min(bench.output.len() - REPLY_BYTES_MAX)
            {
                let entry = &mut rest[answered];
                answered += 1;
                let Some(resident) = slots.find(entry.id) else { continue };
                let Bench { desk, output, now, .. } = &mut *bench;
                let turn = Turn { now: *now, desk, out: Outbox::new(&mut output[output_bytes..]) };
                let mut round = Round { tracker: shared.tracker, turn, limits: shared.limits };
                resident.connection.receive(&input[entry.input.clone()], &mut round);
                entry.output = output_bytes..output_bytes + round.turn.out.filled().len();
                output_bytes = entry.output.end;
            }
            let (done, others) = rest.split_at_mut(answered);
            for entry in done {
                let Some(resident) = slots.find(entry.id) else { continue };
                let answers = &bench.output[entry.output.clone()];
                entry.broken = resident.send(answers, bench.now, shared.limits).is_some();
            }
            rest = others;
        }
    }

    /// The connection at a position and whether it is broken, none behind the last.
    pub(super) fn connection(&self, at: usize) -> Option<(SlotId, bool)> {
        self.entries.get(at).map(|entry| (entry.id, entry.broken))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.input_bytes = 0;
        self.entries.clear();
    }
}
