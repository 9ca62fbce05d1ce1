-- The tables of announced, for MySQL from 5.7 and MariaDB from 10.2 on. Into a database that exists already, as often as wanted:
--
--     mysql NAME < schema/mysql.sql
--
-- A database of the PHP tracker's is upgraded by from-php-tracker.sql instead, but works as it is, too.
--
-- The tracker's user needs SELECT, INSERT, UPDATE and DELETE on these tables, and nothing else. Every column a site does not
-- know has a default: INSERT INTO torrents (infohash, name) VALUES (UNHEX('…'), '…') lists a torrent.

-- What is listed, and what is banned. Written by the site and by `announced torrent`; by the tracker only what it counts.
CREATE TABLE IF NOT EXISTS torrents (
    tid         INT UNSIGNED      NOT NULL AUTO_INCREMENT            COMMENT 'the site''s number; the tracker does not use it',
    infohash    BINARY(20)        NOT NULL                           COMMENT 'the info hash as its 20 bytes (BEP 3)',
    name        VARCHAR(255)      NOT NULL DEFAULT ''                COMMENT 'shown in scrapes; empty: none',
    downloaded  INT UNSIGNED      NOT NULL DEFAULT 0                 COMMENT 'completed downloads; the tracker adds to it',
    banned      BIT(1)            NOT NULL DEFAULT b'0'              COMMENT '1: announces are refused',
    added       TIMESTAMP         NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'when it was listed',
    updated     TIMESTAMP         NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'when it was last announced or changed; for torrent_ttl',
    complete    INT UNSIGNED      NOT NULL DEFAULT 0                 COMMENT 'seeders, when the tracker last wrote them',
    incomplete  INT UNSIGNED      NOT NULL DEFAULT 0                 COMMENT 'leechers, when the tracker last wrote them',
    ban_reason  VARCHAR(255)          NULL DEFAULT NULL              COMMENT 'told to clients of a banned torrent; NULL: nothing',
    PRIMARY KEY (tid),
    UNIQUE KEY infohash (infohash),
    KEY updated (updated)         COMMENT 'for finding torrents older than torrent_ttl'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The last batch of counters that each tracker has written: it moves on in the transaction that writes the batch, so a tracker
-- that did not hear whether its COMMIT arrived can find out, and adds no download twice. Every run of a tracker has a name of its
-- own; a batch that one leaves to the next keeps its name and number.
CREATE TABLE IF NOT EXISTS flushes (
    node        BINARY(16)        NOT NULL                           COMMENT 'which tracker, and which run of it: a random name for each',
    number      BIGINT UNSIGNED   NOT NULL DEFAULT 0                 COMMENT 'the last batch applied; the next has the next number',
    at          TIMESTAMP         NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'when that was; rows older than 30 days are deleted',
    PRIMARY KEY (node),
    KEY at (at)                   COMMENT 'for deleting the old'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- What `announced torrent` has changed, for running trackers to look at again at once. A site may append to it, too:
-- INSERT INTO changes (infohash) VALUES (UNHEX('…')).
CREATE TABLE IF NOT EXISTS changes (
    number      BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT            COMMENT 'trackers ask for what is above the last one they saw',
    infohash    BINARY(20)        NOT NULL                           COMMENT 'the torrent that was changed',
    at          TIMESTAMP         NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'when; rows older than a day are deleted',
    PRIMARY KEY (number),
    KEY at (at)                   COMMENT 'for deleting the old'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
