//! Socket options that neither std nor socket2 has a safe call for.
//!
//! With datagrams/io.rs and bin/announced/inherited.rs the only file with `unsafe`. Invariant:
//! every call passes a descriptor borrowed for the call, and a pointer to a live local of exactly
//! the length it states; the kernel keeps neither.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `TCP_DEFER_ACCEPT`: the connection is handed to accept when its first bytes have arrived, or
/// after about `seconds` without them.
///
/// # Errors
/// What setsockopt says.
pub(super) fn defer_accept(listener: BorrowedFd<'_>, seconds: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&seconds)).map_err(io::Error::other)?;
    // SAFETY: `seconds` lives across the call and `length` is its size; setsockopt only reads it.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
