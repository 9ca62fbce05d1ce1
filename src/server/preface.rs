//! The beginning of a trusted proxy's connection: a PROXY protocol preface, which names the client.
//!
//! Owns: taking the preface off the input, and what becomes of a client that is to be counted by
//! its address: nothing that it asks is answered before it is admitted.
//!
//! Never: counts anybody; `connections` does.

use crate::config::ConnectionTimes;
use crate::frontend::{Http, Output};
use crate::ids::Millis;
use crate::server::conversation::Conversation;
use crate::server::phase::Phase;
use crate::tracker::{Client, Round};
use crate::wire::http::fault::HttpFault;
use crate::wire::proxy_protocol::{self, Preface};

impl Conversation {
    /// The conversation of a trusted proxy's connection, which begins with a preface. Whether the
    /// client in it `is_counted`: if so, it waits to be admitted.
    pub fn behind_preface(
        client: Client,
        is_counted: bool,
        now: Millis,
        times: &ConnectionTimes,
    ) -> Conversation {
        let mut conversation = Conversation::new(client, now, times).of_proxy();
        conversation.phase = Phase::Preface { is_counted };
        conversation.request_since = Some(now);
        conversation.deadline = now.plus(times.request_ms);
        conversation
    }

    /// Takes the proxy's preface off the input, and over what it says of the client; what stands
    /// behind it. A bad one ends the connection: nobody is there who would understand an answer.
    pub(super) fn take_preface<'i>(
        &mut self,
        input: &'i [u8],
        bytes_max: usize,
        is_counted: bool,
    ) -> &'i [u8] {
        match proxy_protocol::parse(input) {
            Preface::Partial if input.len() < bytes_max => input,
            Preface::Complete { client, consumed } => {
                self.client = match client {
                    Some(ip) => Client { ip, ..self.client },
                    None => Client { is_known: false, ..self.client },
                };
                self.phase = match client.filter(|_| is_counted) {
                    Some(ip) => Phase::Named(ip),
                    None => Phase::Open,
                };
                self.request_since = None;
                &input[consumed..]
            }
            Preface::Partial | Preface::Bad => {
                self.phase = Phase::Ending { linger: false };
                &[]
            }
        }
    }

    /// The client that the preface has named may go on.
    pub fn admit(&mut self) {
        self.phase = Phase::Open;
        self.unparsed = !self.tail.is_empty();
    }

    /// The client that the preface has named has as many connections as it may.
    pub fn turn_away(&mut self, http: &Http, round: &mut Round<'_>, out: &mut Output<'_>) {
        self.fault(HttpFault::Overloaded, http, round, out);
        self.keep_tail(&[]);
        self.set_deadline(round);
    }
}
