//! Where a conversation stands, and what is to be done for it.

use std::net::IpAddr;

use crate::frontend::Pending;
use crate::ids::Millis;
use crate::wire::http::head::Head;

/// How long a lingering close waits for the peer to take note, milliseconds.
pub(super) const LINGER_MS: u64 = 2_000;

/// What is to be done for a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Write [`Conversation::unsent`](crate::server::Conversation::unsent), as much as
    /// [`Conversation::take_piece`](crate::server::Conversation::take_piece) says, then report by
    /// [`Conversation::sent`](crate::server::Conversation::sent).
    Write,
    /// Parse what is kept: pass [`Conversation::tail`](crate::server::Conversation::tail) to
    /// [`Conversation::receive`](crate::server::Conversation::receive) as it is.
    Parse,
    /// Read behind [`Conversation::tail`](crate::server::Conversation::tail) and pass both to
    /// [`Conversation::receive`](crate::server::Conversation::receive); at the end of input,
    /// [`Conversation::end_of_input`](crate::server::Conversation::end_of_input).
    Read,
    /// Count the client at this address, which a preface has named:
    /// [`Conversation::admit`](crate::server::Conversation::admit) if it may have one connection
    /// more, [`Conversation::turn_away`](crate::server::Conversation::turn_away) if not.
    Admit(IpAddr),
    /// Nothing: the registry's answer comes by
    /// [`Conversation::complete`](crate::server::Conversation::complete).
    Wait,
    /// Shut down the sending side, then
    /// [`Conversation::start_draining`](crate::server::Conversation::start_draining).
    ShutDown,
    /// Read and throw away; report by
    /// [`Conversation::drained`](crate::server::Conversation::drained).
    Drain,
    /// Close.
    Close,
}

/// How far a conversation has come.
pub(super) enum Phase {
    /// A proxy's preface is to come first.
    Preface {
        /// Whether the client in it is counted by its address.
        is_counted: bool,
    },
    /// The preface has named a client that is to be counted.
    Named(IpAddr),
    Open,
    Waiting {
        pending: Box<Pending>,
        ending: Ending,
        until: Millis,
    },
    Ending {
        linger: bool,
    },
    Draining {
        bytes: usize,
    },
}

impl Phase {
    /// What follows an answer.
    pub(super) fn after(ending: Ending) -> Phase {
        match ending {
            Ending::KeepAlive => Phase::Open,
            Ending::Close { linger } => Phase::Ending { linger },
        }
    }
}

/// What follows the answer to a request.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    KeepAlive,
    Close { linger: bool },
}

impl Ending {
    /// What follows a request; `is_last` says that surely nothing has come behind it. When the
    /// worker is `closing`, such a request is the connection's last, and its answer will say so.
    pub(super) fn of(head: &mut Head<'_>, is_last: bool, closing: bool) -> Ending {
        let ends_early = closing && is_last && head.keep_alive;
        head.keep_alive &= !ends_early;
        match head.keep_alive && !head.has_body {
            true => Ending::KeepAlive,
            // After an early end the client may be sending its next request already.
            false => Ending::Close { linger: head.has_body || !is_last || ends_early },
        }
    }
}

/// What was to follow a request that waited, and until when it may wait.
#[derive(Clone, Copy)]
pub(super) struct Waited {
    pub(super) ending: Ending,
    pub(super) until: Millis,
}
