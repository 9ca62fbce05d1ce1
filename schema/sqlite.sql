-- The tables of announced in an SQLite file. The tracker makes them by itself; this is what they hold. Times are seconds since
-- 1970. Every column a site does not know has a default: INSERT INTO torrents (infohash, name) VALUES (x'…', '…') lists a torrent.

-- What is listed, and what is banned. Written by the site and by `announced torrent`; by the tracker only what it counts.
CREATE TABLE IF NOT EXISTS torrents (
    tid         INTEGER PRIMARY KEY AUTOINCREMENT,      -- the site's number; the tracker does not use it
    infohash    BLOB    NOT NULL UNIQUE                 -- the info hash as its 20 bytes (BEP 3)
                CHECK (typeof(infohash) = 'blob' AND length(infohash) = 20),
    name        TEXT    NOT NULL DEFAULT '',            -- shown in scrapes; empty: none
    downloaded  INTEGER NOT NULL DEFAULT 0,             -- completed downloads; the tracker adds to it
    banned      INTEGER NOT NULL DEFAULT 0,             -- 1: announces are refused
    added       INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)), -- when it was listed
    updated     INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)), -- when it was last announced or changed; for torrent_ttl
    complete    INTEGER NOT NULL DEFAULT 0,             -- seeders, when the tracker last wrote them
    incomplete  INTEGER NOT NULL DEFAULT 0,             -- leechers, when the tracker last wrote them
    ban_reason  TEXT                                    -- told to clients of a banned torrent; NULL: nothing
);
-- For finding torrents older than torrent_ttl.
CREATE INDEX IF NOT EXISTS torrents_updated ON torrents (updated);

-- The last batch of counters that each tracker has written: it moves on in the transaction that writes the batch, so that no
-- download is added twice. Every run of a tracker has a name of its own; a batch that one leaves to the next keeps its name and number.
CREATE TABLE IF NOT EXISTS flushes (
    node        BLOB    NOT NULL PRIMARY KEY,           -- which tracker, and which run of it: a random name for each, 16 bytes
    number      INTEGER NOT NULL DEFAULT 0,             -- the last batch applied; the next has the next number
    at          INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)) -- when that was; rows older than 30 days are deleted
);

-- What `announced torrent` has changed, for the running tracker to look at again at once. A site may append to it, too:
-- INSERT INTO changes (infohash) VALUES (x'…').
CREATE TABLE IF NOT EXISTS changes (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,      -- trackers ask for what is above the last one they saw
    infohash    BLOB    NOT NULL                        -- the torrent that was changed
                CHECK (typeof(infohash) = 'blob' AND length(infohash) = 20),
    at          INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)) -- when; rows older than a day are deleted
);
