//! The `torrent` command.
