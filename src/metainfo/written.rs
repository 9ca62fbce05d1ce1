//! Info hashes as people and programs write them: hex, base32, and magnet links.
//!
//! | written | is |
//! |---|---|
//! | 40 hex digits | the hash, v1 or truncated v2 |
//! | 32 base32 digits | the hash; older magnet links |
//! | 64 hex digits | a whole v2 hash (SHA-256), of which trackers see the first 20 bytes (BEP 52) |
//! | 68 hex digits, `1220…` | the same as a multihash, as in `xt=urn:btmh:` |
//! | `magnet:?xt=urn:btih:…&xt=urn:btmh:…&dn=NAME` | one torrent, two hashes when it is a hybrid
//! (BEP 9, BEP 53) |
//!
//! Letters may be of either case everywhere.

use data_encoding::{BASE32_NOPAD_NOCASE, HEXLOWER_PERMISSIVE};

use crate::ids::{INFO_HASH_BYTES, InfoHash};
use crate::metainfo::fault::Fault;
use crate::metainfo::torrent::{HASHES_MAX, Metainfo, name_of};

/// Prefix of a multihash that is a SHA-256 digest of 32 bytes.
const SHA2_256_OF_32_BYTES: [u8; 2] = [0x12, 0x20];
/// Bytes of a whole v2 hash.
const V2_HASH_BYTES: usize = 32;
const MAGNET: &str = "magnet:?";

/// The info hash that `text` is; `None` when it is something else.
pub fn info_hash(text: &str) -> Option<InfoHash> {
    let digest = match text.len() {
        32 => BASE32_NOPAD_NOCASE.decode(text.as_bytes()).ok()?,
        40 | 64 => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?,
        68 => v2_digest(text)?,
        _ => return None,
    };
    digest.first_chunk::<INFO_HASH_BYTES>().copied().map(InfoHash)
}

/// Whether `text` means to be a magnet link, right or wrong.
pub fn is_magnet(text: &str) -> bool {
    text.get(..MAGNET.len()).is_some_and(|start| start.eq_ignore_ascii_case(MAGNET))
}

/// What a magnet link says of its torrent. Trackers, peers and web seeds in it are passed over.
///
/// # Errors
/// When it names no BitTorrent hash, one that is none, or more hashes than a torrent has.
pub fn magnet(link: &str) -> Result<Metainfo, Fault> {
    let mut metainfo = Metainfo::default();
    for (key, value) in
        form_urlencoded::parse(link.get(MAGNET.len()..).unwrap_or_default().as_bytes())
    {
        // `xt.1`, `xt.2` number the topics of a link with several of them, `dn.1` their names.
        let key = key.split('.').next().unwrap_or_default().to_ascii_lowercase();
        match key.as_str() {
            "dn" if metainfo.name.is_none() => metainfo.name = name_of(value.as_bytes()),
            "xt" => {
                if let Some(hash) = topic(&value) {
                    add(&mut metainfo, hash.ok_or(Fault::MagnetHash)?)?;
                }
            }
            _ => (),
        }
    }
    if metainfo.info_hashes.is_empty() { Err(Fault::MagnetHash) } else { Ok(metainfo) }
}

fn add(metainfo: &mut Metainfo, hash: InfoHash) -> Result<(), Fault> {
    if metainfo.info_hashes.contains(&hash) {
        return Ok(());
    }
    metainfo.info_hashes.try_push(hash).map_err(|_| Fault::MagnetHashes(HASHES_MAX))
}

/// The hash of an exact topic: none for a topic of another network, `Some(None)` for one of
/// BitTorrent that cannot be read.
fn topic(urn: &str) -> Option<Option<InfoHash>> {
    let (kind, hash) = urn.split_at_checked("urn:btih:".len())?;
    match kind.to_ascii_lowercase().as_str() {
        "urn:btih:" => Some(info_hash(hash)),
        "urn:btmh:" => Some(
            info_hash(hash)
                .filter(|_| hash.len() == 2 * (SHA2_256_OF_32_BYTES.len() + V2_HASH_BYTES)),
        ),
        _ => None,
    }
}

/// The digest in a multihash; `None` when it is of another kind.
fn v2_digest(text: &str) -> Option<Vec<u8>> {
    let multihash = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    multihash.strip_prefix(&SHA2_256_OF_32_BYTES).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::property;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";
    const BASE32: &str = "aerukz4jvpg66ajdivtytk6n54asgrlh";
    const V2: &str = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e";

    fn hash(hex: &str) -> InfoHash {
        info_hash(hex).unwrap()
    }

    #[test]
    fn a_hash_is_read_however_it_is_written() {
        let shown = |text: &str| info_hash(text).map(|hash| hash.to_string());
        for text in [HEX, &HEX.to_uppercase(), BASE32, &BASE32.to_uppercase()] {
            assert_eq!(shown(text).as_deref(), Some(HEX), "{text}");
        }
        for text in [&V2[..40], V2, &format!("1220{V2}"), &format!("1220{}", V2.to_uppercase())] {
            assert_eq!(shown(text).as_deref(), Some(&V2[..40]), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_is_none() {
        let wrong = [
            "",
            "Demo",
            &HEX[1..],
            &format!("{HEX}0"),
            &HEX.replace('0', "g"),
            &BASE32.replace('a', "1"),
            &format!("1221{V2}"),
            &format!("{HEX} "),
            "ääääääääääääääääääää",
        ];
        for text in wrong {
            assert_eq!(info_hash(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_magnet_link_is_read_for_hashes_and_name() {
        let rows = [
            (format!("magnet:?xt=urn:btih:{HEX}"), &[HEX][..], None),
            (
                format!("MAGNET:?dn=A+b%20%C3%A4&XT=no&xt=URN:BTIH:{BASE32}&tr=udp%3A%2F%2Fx"),
                &[HEX],
                Some("A b ä"),
            ),
            (
                format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btmh:1220{V2}&dn="),
                &[HEX, &V2[..40]],
                None,
            ),
            (format!("magnet:?XT=urn:btih:{HEX}&DN=Loud"), &[HEX], Some("Loud")),
            (format!("magnet:?Xt.1=urn:btih:{HEX}&dn.1=First&dn.2=x"), &[HEX], Some("First")),
            (
                format!("magnet:?xt.1=urn:btmh:1220{V2}&xt.2=urn:btih:{HEX}"),
                &[&V2[..40], HEX],
                None,
            ),
            (
                format!("magnet:?xt=urn:ed2k:31D6&xt=urn:btih:{HEX}&xt=urn:btih:{HEX}&dn=a&dn=b"),
                &[HEX],
                Some("a"),
            ),
        ];
        for (link, hashes, name) in rows {
            let read = magnet(&link).unwrap();
            assert!(is_magnet(&link));
            assert_eq!(
                read.info_hashes.as_slice(),
                hashes.iter().map(|hex| hash(hex)).collect::<Vec<_>>(),
                "{link}"
            );
            assert_eq!(read.name.as_deref(), name, "{link}");
        }
    }

    #[test]
    fn a_magnet_link_that_names_no_torrent_is_refused() {
        let third = "f".repeat(40);
        let rows = [
            ("magnet:?".to_owned(), Fault::MagnetHash),
            ("magnet:?dn=Demo&xt=urn:ed2k:31D6".to_owned(), Fault::MagnetHash),
            ("magnet:?xt=urn:btih:31D6".to_owned(), Fault::MagnetHash),
            (format!("magnet:?xt=urn:btmh:{HEX}"), Fault::MagnetHash),
            (
                format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btmh:1220{V2}&xt=urn:btih:{third}"),
                Fault::MagnetHashes(2),
            ),
        ];
        for (link, fault) in rows {
            assert_eq!(magnet(&link), Err(fault), "{link}");
        }
        assert!(!is_magnet("magnet") && !is_magnet("magnetä?"));
    }

    #[test]
    fn no_text_makes_it_panic() {
        property(2_000, "(magnet:\\?)?[xt=urn:bimh&d.%0-9a-fäé]{0,80}", |text| {
            let _ = (info_hash(&text), magnet(&text), is_magnet(&text));
            Ok(())
        });
        property(200, "[0-9A-Fa-f]{40}", |text| {
            prop_assert_eq!(info_hash(&text).unwrap().to_string(), text.to_lowercase());
            Ok(())
        });
    }
}
