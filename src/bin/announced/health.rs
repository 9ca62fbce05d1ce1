//! `announced health`: asks a running tracker's status page how it is, for a container's
//! HEALTHCHECK and a supervisor's probe.
//!
//! Never: waits for longer than [`WAIT_MAX`], or reads an answer without a bound.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::terminal::print;

/// To connect, and for each step of the answer.
const WAIT_MAX: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Prints the line of `/health` at `address`. The error says why the tracker is not well.
pub(crate) fn run(address: SocketAddr) -> Result<(), Vec<String>> {
    let wrong = |what: String| vec![format!("{address}: {what}")];
    let answer = ask(address).map_err(|error| wrong(error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => print(body),
        Some(status) => Err(wrong(format!("{status}: {}", body.trim()))),
        None => Err(wrong("this is no status page of announced".to_owned())),
    }
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    stream.write_all(format!("GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
