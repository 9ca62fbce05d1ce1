-- Turns the PHP tracker's database into announced's, in place; nothing is lost, and a second run changes nothing:
--
--     mysql NAME < schema/from-php-tracker.sql
--
-- The tracker runs on the old tables, too, without what the new columns hold. One that is running sees the new ones within a
-- minute. MySQL has no ADD COLUMN IF NOT EXISTS (MariaDB's word), so each step asks information_schema first. The user needs
-- ALTER and CREATE here, which the tracker's own user need not have. The table `peers` is no longer used: drop it when you like.

-- Old tables have times of 0000-00-00, which newer servers refuse even to copy in an ALTER.
SET @announced_sql_mode = @@SESSION.sql_mode, SESSION sql_mode = '';

-- MyISAM knows no transactions, so a batch of counters could be written by half.
SET @step = (SELECT IF((SELECT COUNT(*) FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND ENGINE <> 'InnoDB') > 0,
    'ALTER TABLE torrents ENGINE = InnoDB', 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- The oldest versions had no times.
SET @step = (SELECT IF((SELECT COUNT(*) FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND COLUMN_NAME = 'added') = 0,
    'ALTER TABLE torrents ADD COLUMN added TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT ''when it was listed''', 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- The same for updated.
SET @step = (SELECT IF((SELECT COUNT(*) FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND COLUMN_NAME = 'updated') = 0,
    'ALTER TABLE torrents ADD COLUMN updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT ''when it was last announced or changed; for torrent_ttl''', 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- Names of any characters: older tables hold latin1, or utf8 without emoji.
SET @step = (SELECT COALESCE((SELECT CONCAT('ALTER TABLE torrents MODIFY name ', COLUMN_TYPE, ' CHARACTER SET utf8mb4 ',
    IF(IS_NULLABLE = 'YES', 'NULL', 'NOT NULL'), IF(COLUMN_DEFAULT IN ('', ''''''), ' DEFAULT ''''', ''))
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND COLUMN_NAME = 'name'
    AND CHARACTER_SET_NAME IS NOT NULL AND CHARACTER_SET_NAME <> 'utf8mb4'), 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- What announced writes beside the PHP tracker's counter.
SET @step = (SELECT IF((SELECT COUNT(*) FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND COLUMN_NAME = 'complete') = 0,
    'ALTER TABLE torrents ADD COLUMN complete INT UNSIGNED NOT NULL DEFAULT 0 COMMENT ''seeders, when the tracker last wrote them''', 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- The same for incomplete.
SET @step = (SELECT IF((SELECT COUNT(*) FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND COLUMN_NAME = 'incomplete') = 0,
    'ALTER TABLE torrents ADD COLUMN incomplete INT UNSIGNED NOT NULL DEFAULT 0 COMMENT ''leechers, when the tracker last wrote them''', 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- Why a torrent is banned.
SET @step = (SELECT IF((SELECT COUNT(*) FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND COLUMN_NAME = 'ban_reason') = 0,
    'ALTER TABLE torrents ADD COLUMN ban_reason VARCHAR(255) CHARACTER SET utf8mb4 NULL DEFAULT NULL COMMENT ''told to clients of a banned torrent; NULL: nothing''', 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- For finding torrents older than torrent_ttl.
SET @step = (SELECT IF((SELECT COUNT(*) FROM information_schema.STATISTICS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'torrents' AND COLUMN_NAME = 'updated' AND SEQ_IN_INDEX = 1) = 0,
    'ALTER TABLE torrents ADD KEY updated (updated)', 'DO 0'));
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

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

SET SESSION sql_mode = @announced_sql_mode;
