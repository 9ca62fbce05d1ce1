//! The loads there are.

use crate::client::Exchange;

/// When a load is part of a run that names none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum When {
    /// With `--full` only.
    Full,
    /// Unless `--quick`.
    Usually,
    /// Always.
    Always,
}

/// How the tracker is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Site {
    /// The default settings.
    Open,
    /// Only torrents of a database.
    Registered,
    /// Peers live for a minute.
    ShortLived,
}

/// How requests go over UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Datagrams {
    /// Requests under way on each socket.
    pub(crate) window: usize,
    /// Whether each announce has a connect of its own.
    pub(crate) connects: bool,
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// What it models.
    pub(crate) about: &'static str,
    pub(crate) torrents: u32,
    pub(crate) peers: u32,
    pub(crate) zipf: f64,
    pub(crate) exchange: Exchange,
    /// Over UDP, and then `exchange` means nothing.
    pub(crate) datagrams: Option<Datagrams>,
    /// One scrape in so many requests.
    pub(crate) scrape_in: Option<usize>,
    pub(crate) site: Site,
    pub(crate) workers: u16,
    /// Whether announces are measured, or only the memory of those who have announced.
    pub(crate) measured: bool,
    /// When other trackers take part: some take minutes to get to know a million peers.
    pub(crate) rivals: Option<When>,
    pub(crate) when: When,
    /// The tracker's processor time for an announce over the bare server's, at most (DESIGN,
    /// section 5).
    pub(crate) goal: Option<f64>,
}

const USUAL: Load = Load {
    name: "keep-alive",
    about: "connections that stay, one request under way on each",
    torrents: 10_000,
    peers: 100_000,
    zipf: 1.0,
    exchange: Exchange::KeptAlive { depth: 1 },
    datagrams: None,
    scrape_in: None,
    site: Site::Open,
    workers: 1,
    measured: true,
    rivals: Some(When::Always),
    when: When::Always,
    goal: Some(1.12),
};

const UDP: Load = Load {
    name: "udp",
    about: "over UDP, eight announces under way on each socket",
    datagrams: Some(Datagrams { window: 8, connects: false }),
    goal: Some(1.2),
    ..USUAL
};

const MEMORY_OF: Load = Load {
    about: "memory of peers on a tenth as many torrents, Zipf's law",
    measured: false,
    when: When::Full,
    goal: None,
    ..USUAL
};

/// Every load, in the order of a run.
pub(crate) const LOADS: &[Load] = &[
    USUAL,
    Load {
        name: "new-connection",
        about: "a connection for every announce",
        exchange: Exchange::Reconnecting,
        goal: Some(1.08),
        ..USUAL
    },
    Load {
        name: "pipelined",
        about: "connections that stay, eight requests under way on each",
        exchange: Exchange::KeptAlive { depth: 8 },
        goal: Some(1.9),
        ..USUAL
    },
    Load {
        name: "scrapes",
        about: "as keep-alive, every tenth request a scrape",
        scrape_in: Some(10),
        when: When::Usually,
        goal: None,
        ..USUAL
    },
    Load {
        name: "registered",
        about: "as keep-alive, torrents listed in SQLite",
        site: Site::Registered,
        rivals: None,
        when: When::Usually,
        goal: None,
        ..USUAL
    },
    Load {
        name: "million-peers",
        about: "as keep-alive, a million peers",
        torrents: 100_000,
        peers: 1_000_000,
        rivals: Some(When::Full),
        when: When::Usually,
        goal: Some(1.25),
        ..USUAL
    },
    Load {
        name: "peers-10k",
        about: "as keep-alive, ten thousand peers",
        torrents: 1_000,
        peers: 10_000,
        rivals: None,
        when: When::Full,
        goal: None,
        ..USUAL
    },
    Load {
        name: "ten-million-peers",
        about: "as keep-alive, ten million peers",
        torrents: 1_000_000,
        peers: 10_000_000,
        rivals: None,
        when: When::Full,
        goal: Some(1.4),
        ..USUAL
    },
    Load {
        name: "two-workers",
        about: "as keep-alive, two workers; on a machine of two cores the load shares one of \
                theirs",
        workers: 2,
        rivals: None,
        when: When::Full,
        goal: None,
        ..USUAL
    },
    Load {
        name: "two-workers-million-peers",
        about: "as million-peers, two workers",
        torrents: 100_000,
        peers: 1_000_000,
        workers: 2,
        rivals: None,
        when: When::Full,
        goal: None,
        ..USUAL
    },
    Load {
        name: "expiry",
        about: "as million-peers, of which all but one in fifty expire in the middle of it",
        torrents: 100_000,
        peers: 1_000_000,
        site: Site::ShortLived,
        rivals: None,
        when: When::Full,
        goal: None,
        ..USUAL
    },
    UDP,
    Load {
        name: "udp-one",
        about: "over UDP, one announce under way on each socket",
        datagrams: Some(Datagrams { window: 1, connects: false }),
        when: When::Usually,
        goal: None,
        ..UDP
    },
    Load {
        name: "udp-connect",
        about: "as udp, a connection id asked for before every announce",
        datagrams: Some(Datagrams { window: 8, connects: true }),
        when: When::Usually,
        goal: None,
        ..UDP
    },
    Load {
        name: "udp-10k",
        about: "as udp, ten thousand peers",
        torrents: 1_000,
        peers: 10_000,
        when: When::Full,
        goal: None,
        ..UDP
    },
    Load {
        name: "udp-million",
        about: "as udp, a million peers",
        torrents: 100_000,
        peers: 1_000_000,
        when: When::Full,
        goal: Some(1.3),
        ..UDP
    },
    Load {
        name: "udp-scrapes",
        about: "as udp, every tenth request a scrape",
        scrape_in: Some(10),
        when: When::Full,
        goal: None,
        ..UDP
    },
    Load { name: "memory-10k", torrents: 1_000, peers: 10_000, ..MEMORY_OF },
    Load { name: "memory-100k", torrents: 10_000, peers: 100_000, ..MEMORY_OF },
    Load { name: "memory-million", torrents: 100_000, peers: 1_000_000, ..MEMORY_OF },
    Load {
        name: "memory-ten-million",
        torrents: 1_000_000,
        peers: 10_000_000,
        rivals: None,
        ..MEMORY_OF
    },
    Load {
        name: "memory-even",
        about: "memory of a million peers, each of which chooses one of as many torrents",
        torrents: 1_000_000,
        peers: 1_000_000,
        zipf: 0.0,
        ..MEMORY_OF
    },
];
