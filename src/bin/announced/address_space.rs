//! How the program gets along in a limited address space (RLIMIT_AS).
//!
//! Never: does anything where there is no such limit, or where MALLOC_ARENA_MAX is set already: by
//! the operator, or by this.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use announced::memory::is_address_space_limited;

/// Starts the program anew where the address space is limited, with one heap for all threads: by
/// default glibc's malloc reserves 64 MiB of it for each thread, and a tracker of a dozen threads
/// would find 420 MB taken before it has a peer. The setting counts from the begin of a process.
pub(crate) fn spare_address_space() {
    const HEAPS: &str = "MALLOC_ARENA_MAX";
    if env::var_os(HEAPS).is_some() || !is_address_space_limited() {
        return;
    }
    let (Ok(program), mut arguments) = (env::current_exe(), env::args_os()) else { return };
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only when it fails, and then all goes on as it is.
    _ = command.args(arguments).env(HEAPS, "1").exec();
}
