//! The fence around the `mysql` crate, which panics at some of what a server may say.
//!
//! Owns: the catching of such a panic, which becomes an error like any other, and the connection
//! that it happened on, which is dropped: what the driver has kept of it cannot be trusted. Every
//! call into the driver goes through here.
//!
//! A panic hook runs before the panic is caught. [`panic_is_fenced`] tells it that nothing has
//! happened that the process would have to end for.
//!
//! Never: around code of the tracker's own, whose panics are mistakes that must show.
//!
//! Limits: it catches panics. The driver makes room for as many columns as a server names, and a
//! count beyond all memory ends the process.

use std::any::Any;
use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{self, AssertUnwindSafe};

use mysql::{Conn, Error, Opts};

use crate::registry::database::mysql::failure::Fault;

thread_local! {
    /// Whether this thread is in a call into the driver.
    static FENCED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread, now, is caught and told of as an error of the database: for a
/// panic hook, which need not do anything then.
pub fn panic_is_fenced() -> bool {
    FENCED.try_with(Cell::get).unwrap_or(false)
}

/// Calls into the driver; the text of the panic if there was one.
pub(super) fn fenced<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let before = FENCED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(call));
    FENCED.set(before);
    outcome.map_err(|payload| text(payload.as_ref()))
}

fn text(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// A connection of the driver's; none once the driver has panicked.
pub(super) struct Driver(Option<Conn>);

impl Driver {
    /// Connects.
    pub(super) fn connect(opts: Opts) -> Result<Driver, Fault> {
        let conn = fenced(|| Conn::new(opts)).map_err(Fault::Panicked)?;
        Ok(Driver(Some(conn?)))
    }

    /// Has the driver do something.
    pub(super) fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Conn) -> Result<T, Error>,
    ) -> Result<T, Fault> {
        let Some(conn) = &mut self.0 else {
            return Err(Error::IoError(ErrorKind::NotConnected.into()).into());
        };
        match fenced(|| call(conn)) {
            Ok(outcome) => outcome.map_err(Fault::from),
            Err(panic) => {
                self.hang_up();
                Err(Fault::Panicked(panic))
            }
        }
    }

    /// Tells the server that this is the end, and closes the connection. If the driver panics at
    /// that, there is nobody to be told.
    fn hang_up(&mut self) {
        if let Some(conn) = self.0.take() {
            let _ = fenced(|| drop(conn));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.hang_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_panic_is_an_error_and_the_hook_can_tell_it_from_others() {
        let thread = std::thread::spawn(|| {
            assert!(!panic_is_fenced(), "nothing has been called yet");
            assert_eq!(fenced(panic_is_fenced), Ok(true), "inside a call");
            let within = fenced(|| {
                let inner = fenced(|| panic!("{}", "formatted"));
                (inner, panic_is_fenced())
            });
            assert_eq!(within, Ok((Err::<(), _>("formatted".to_owned()), true)), "a nested call");
            assert_eq!(fenced(|| panic!("a literal")), Err::<(), _>("a literal".to_owned()));
            assert!(!panic_is_fenced(), "after the calls");
        });
        assert!(thread.join().is_ok());
    }
}
