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

use crate::counters::Counter;
use crate::frontend::{Http, Output};
use crate::server::connection::Connection;
use crate::server::slots::{SlotId, Slots};
use crate::server::stream::Stream;
use crate::tracker::Round;
use crate::wire::http::reply::REPLY_BYTES_MAX;

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
        let entries = Vec::with_capacity(BATCH_MAX);
        Batch { input, input_bytes: 0, request_bytes_max, entries }
    }

    /// Whether another connection has no room.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == BATCH_MAX
            || self.input.len() - self.input_bytes < self.request_bytes_max
    }

    /// Whether something was read from a connection and is not answered yet.
    pub(super) fn holds(&self, id: SlotId) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }

    /// Reads from a connection, if that is what it waits for and nothing is left over from before;
    /// whether it is part of the batch now. The batch is not full.
    pub(super) fn take<S: Stream>(&mut self, id: SlotId, connection: &mut Connection<S>) -> bool {
        let room = &mut self.input[self.input_bytes..][..self.request_bytes_max];
        let Some(bytes) = connection.read_ahead(room) else { return false };
        let input = self.input_bytes..self.input_bytes + bytes;
        self.input_bytes = input.end;
        self.entries.push(Entry { id, input, output: 0..0, broken: false });
        true
    }

    /// Answers all that has been read, and sends the answers.
    pub(super) fn answer<S: Stream>(
        &mut self,
        slots: &mut Slots<Connection<S>>,
        output: &mut [u8],
        http: &Http,
        round: &mut Round<'_>,
    ) {
        let Batch { input, input_bytes, entries, .. } = self;
        round.scratch.counters.add(Counter::BytesReceivedHttp, *input_bytes);
        let mut rest = entries.as_mut_slice();
        while !rest.is_empty() {
            let mut output_bytes = 0;
            let mut answered = 0;
            while answered < rest.len()
                && output_bytes < OUTPUT_BYTES
                && output.len() - output_bytes >= REPLY_BYTES_MAX
            {
                let entry = &mut rest[answered];
                answered += 1;
                let Some(connection) = slots.find(entry.id) else { continue };
                let mut out = Output::new(&mut output[output_bytes..]);
                let input = &input[entry.input.clone()];
                connection.conversation.receive(input, http, round, &mut out);
                entry.output = output_bytes..output_bytes + out.filled().len();
                output_bytes = entry.output.end;
            }
            let (done, others) = rest.split_at_mut(answered);
            for entry in done {
                let Some(connection) = slots.find(entry.id) else { continue };
                entry.broken = connection.send(&output[entry.output.clone()], round).is_err();
            }
            rest = others;
        }
    }

    /// Takes one of the connections out, with whether it is broken; the last first.
    pub(super) fn pop(&mut self) -> Option<(SlotId, bool)> {
        let popped = self.entries.pop().map(|entry| (entry.id, entry.broken));
        if popped.is_none() {
            self.input_bytes = 0;
        }
        popped
    }
}
