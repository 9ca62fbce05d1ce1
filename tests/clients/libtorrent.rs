//! libtorrent (qBittorrent's and Deluge's engine) through its Python bindings.
//!
//! Owns: the process that runs `libtorrent_session.py`, where the session's settings are. The
//! script says on standard output when the torrent is complete and takes the end of its standard
//! input for the word to leave, so it also ends when the test does, however that comes about.

use std::path::Path;

use crate::support::PATIENCE;
use crate::support::process::{Running, command};
use crate::{Client, Job};

/// The system's own interpreter: Debian's packages are not seen by any other.
const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/libtorrent_session.py");

struct Libtorrent(Running);

/// Starts a session; it checks what is in the directory and downloads the rest.
pub(crate) fn start(job: &Job<'_>) -> Box<dyn Client> {
    let import =
        command(Path::new(PYTHON), job.directory).args(["-c", "import libtorrent"]).status();
    assert!(
        import.is_ok_and(|status| status.success()),
        "install the Debian package python3-libtorrent"
    );
    let mut python = command(Path::new(PYTHON), job.directory);
    python.arg(SCRIPT).args([job.torrent, job.directory]).arg(job.host.ip.to_string());
    Box::new(Libtorrent(Running::start(python)))
}

impl Client for Libtorrent {
    fn wait_complete(&mut self) {
        self.0.wait_line("that it is complete", |line| (line == "complete").then_some(()));
    }

    fn leave(&mut self) {
        self.0.close_stdin();
    }

    fn end(mut self: Box<Self>) {
        let status = self.0.wait_exit(PATIENCE);
        assert!(status.success(), "libtorrent's script ended with {status}");
    }
}
