//! What strangers must not be able to guess: what is new in every process, and the one secret that
//! outlives it.
//!
//! Owns: the one way to the system's randomness. Keys of hash tables and the seeds of choices come
//! from here: info hashes and ports are chosen by strangers, and the intervals in answers show what
//! follows from a guessed seed. Beside that the [`Secret`] in the state directory, from which keys
//! are derived that the next process must have as well, each under a label of its own. Whoever may
//! read or write its file beside the tracker's user is warned of.
//!
//! Never: shows a secret, or uses it for anything itself.

use std::fmt;
use std::fs::Metadata;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ahash::RandomState;
use data_encoding::HEXLOWER;
use rustix::process::geteuid;
use siphasher::sip128::SipHasher24;

use crate::state_directory::{StateDirectory, in_shell};

/// Bytes of a secret, and of each key that follows from it.
pub const KEY_BYTES: usize = 16;
/// The secret's file in the state directory.
const NAME: &str = "announced.secret";
/// The secret in hexadecimal digits, and what an editor may have added.
const FILE_BYTES_MAX: usize = 2 * KEY_BYTES + 2;
/// Bits of a file's mode by which others than its owner may read or write it.
const OTHERS_MODE: u32 = 0o066;

/// So many random bytes.
///
/// # Errors
/// When the system has no randomness to give.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// A random key or seed.
///
/// # Errors
/// As [`bytes`].
pub fn key() -> io::Result<u64> {
    bytes().map(u64::from_ne_bytes)
}

/// The keys of `N` hash tables. They follow from `seed`, so that a test can run again; a table that
/// strangers fill takes its seed from [`key`].
pub fn table_keys<const N: usize>(seed: u64) -> [RandomState; N] {
    let mut rng = fastrand::Rng::with_seed(seed);
    [(); N].map(|()| RandomState::with_seeds(rng.u64(..), rng.u64(..), rng.u64(..), rng.u64(..)))
}

/// What all keys of a tracker follow from that must outlive the process.
#[derive(Clone)]
pub struct Secret([u8; KEY_BYTES]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// A new one, which ends with the process.
    ///
    /// # Errors
    /// As [`bytes`].
    pub fn random() -> io::Result<Secret> {
        bytes().map(Secret)
    }

    /// The one that is kept in `directory`. Where there is none yet, a new one is kept from now on;
    /// a file that holds none is put aside, or stays where that cannot be done. A secret that
    /// cannot be kept ends with the process, with a warning.
    ///
    /// # Errors
    /// As [`bytes`].
    pub fn kept_in(directory: &StateDirectory) -> io::Result<Secret> {
        let path = directory.path_of(NAME);
        match read(directory) {
            Ok(Some(secret)) => return Ok(secret),
            Ok(None) => {}
            Err(error) => match directory.set_aside(NAME) {
                Ok(kept) => log::warn!(
                    "{}: {error}; kept as {}; a new one is made, and clients over UDP connect anew",
                    path.display(),
                    kept.display()
                ),
                Err(trouble) => {
                    log::warn!(
                        "{}: {error}, and it cannot be put aside ({trouble}): until it is gone, \
                         clients over UDP connect anew after each start",
                        path.display()
                    );
                    return Secret::random();
                }
            },
        }
        let secret = Secret::random()?;
        let text = HEXLOWER.encode(&secret.0);
        if let Err(error) = directory.replace_private(NAME, |file| writeln!(file, "{text}")) {
            log::warn!(
                "{}: {error}; clients over UDP will connect anew after a restart",
                path.display()
            );
        }
        Ok(secret)
    }

    /// The key for one purpose: whoever learns it learns neither the secret nor another key.
    pub fn key(&self, label: &[u8]) -> [u8; KEY_BYTES] {
        SipHasher24::new_with_key(&self.0).hash(label).as_bytes()
    }
}

fn read(directory: &StateDirectory) -> io::Result<Option<Secret>> {
    let Some(file) = directory.read(NAME)? else { return Ok(None) };
    let metadata = file.get_ref().metadata()?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    let bytes = HEXLOWER.decode(text.trim_ascii()).ok();
    let secret = bytes.and_then(|bytes| bytes.try_into().ok()).map(Secret);
    let wrong = || io::Error::new(ErrorKind::InvalidData, "is not 32 hexadecimal digits");
    let secret = secret.ok_or_else(wrong)?;
    if let Some(warning) = others(&directory.path_of(NAME), &metadata, geteuid().as_raw()) {
        log::warn!("{warning}");
    }
    Ok(Some(secret))
}

/// Who beside `user` may read or write a file, and what to do about it.
fn others(path: &Path, metadata: &Metadata, user: u32) -> Option<String> {
    let shell_path = in_shell(path);
    let (mut who, mut remedies) = (Vec::new(), Vec::new());
    if metadata.uid() != user {
        who.push(format!("belongs to user {}", metadata.uid()));
        remedies.push(format!("chown {user} {shell_path}"));
    }
    if metadata.mode() & OTHERS_MODE != 0 {
        who.push("may be read or written by others".to_owned());
        remedies.push(format!("chmod 600 {shell_path}"));
    }
    let (who, remedies) = (who.join(" and "), remedies.join(" && "));
    (!who.is_empty()).then(|| format!("{}: {who}; to end that: {remedies}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state_directory::DAMAGED_FILES_MAX;
    use crate::tests::fifo;

    #[test]
    fn a_secret_is_kept_for_its_own_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(folder.path()).unwrap().unwrap();
        // What a power cut has left is not what the secret is written into.
        fs::write(directory.path_of("announced.secret-new"), "half").unwrap();
        let first = Secret::kept_in(&directory).unwrap();
        let mode = fs::metadata(directory.path_of(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the file's mode");
        let again = Secret::kept_in(&directory).unwrap();
        assert_eq!(again.0, first.0, "the next process has the same");
        assert_ne!(Secret::random().unwrap().0, first.0, "another tracker has another");
    }

    #[test]
    fn a_file_without_a_secret_is_put_aside() {
        for text in ["", "hello", &"0".repeat(31), &"0".repeat(34), &"x".repeat(32), "\u{fffd}"] {
            let folder = tempfile::tempdir().unwrap();
            let directory = StateDirectory::open(folder.path()).unwrap().unwrap();
            fs::write(directory.path_of(NAME), text).unwrap();
            let made = Secret::kept_in(&directory).unwrap();
            let kept = fs::read_to_string(directory.path_of("announced.secret.damaged-1"));
            assert_eq!(kept.unwrap(), text, "{text:?} is kept");
            assert_eq!(Secret::kept_in(&directory).unwrap().0, made.0, "instead of {text:?}");
        }
    }

    #[test]
    fn a_fifo_is_put_aside_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(folder.path()).unwrap().unwrap();
        fifo::make(&directory.path_of(NAME));
        let made = Secret::kept_in(&directory).unwrap();
        assert!(directory.path_of("announced.secret.damaged-1").exists(), "it is gone");
        assert_eq!(Secret::kept_in(&directory).unwrap().0, made.0, "the new one is not kept");
    }

    #[test]
    fn where_no_more_can_be_put_aside_the_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(folder.path()).unwrap().unwrap();
        for number in 1..=DAMAGED_FILES_MAX {
            fs::write(directory.path_of(&format!("{NAME}.damaged-{number}")), "older").unwrap();
        }
        fs::write(directory.path_of(NAME), "damaged").unwrap();
        let made = Secret::kept_in(&directory).unwrap();
        assert_eq!(fs::read_to_string(directory.path_of(NAME)).unwrap(), "damaged");
        let again = Secret::kept_in(&directory).unwrap();
        assert_ne!(again.0, made.0, "each run has a secret of its own");
    }

    #[test]
    fn others_who_may_read_or_write_it_are_told_of_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a secret");
        fs::write(&path, "").unwrap();
        let (name, user) = (path.display(), geteuid().as_raw());
        let (chmod, chown) = (format!("chmod 600 '{name}'"), format!("chown 12345 '{name}'"));
        let (owned, open) =
            (format!("belongs to user {user}"), "may be read or written by others".to_owned());
        let rows = [
            (0o600, user, None),
            (0o400, user, None),
            (0o700, user, None),
            (0o640, user, Some(format!("{open}; to end that: {chmod}"))),
            (0o604, user, Some(format!("{open}; to end that: {chmod}"))),
            (0o602, user, Some(format!("{open}; to end that: {chmod}"))),
            (0o600, 12_345, Some(format!("{owned}; to end that: {chown}"))),
            (0o644, 12_345, Some(format!("{owned} and {open}; to end that: {chown} && {chmod}"))),
        ];
        for (mode, of, expected) in rows {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let warning = others(&path, &fs::metadata(&path).unwrap(), of);
            let expected = expected.map(|expected| format!("{name}: {expected}"));
            assert_eq!(warning, expected, "mode {mode:o}, the tracker's user is {of}");
        }
    }

    #[test]
    fn each_label_has_its_own_key() {
        let secret = Secret(*b"sixteen bytes ok");
        assert_eq!(secret.key(b"a"), secret.key(b"a"), "the same in every process");
        assert_ne!(secret.key(b"a"), secret.key(b"b"), "two labels");
        assert_ne!(secret.key(b"a"), Secret([0; KEY_BYTES]).key(b"a"), "two secrets");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }
}
