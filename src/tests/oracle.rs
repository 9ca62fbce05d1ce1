//! Announce queries of every shape mean what the naive reading says.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::naive::{WHOLE, naive_announce};
use super::property;
use crate::wire::announce::Announce;

/// All keys that mean something, some that do not, and the empty one.
const KEYS: &str = "info_hash K?info_hash peer_id port uploaded downloaded left event numwant \
                    compact no_peer_id ip cryptoport supportcrypto requirecrypto key trackerid \
                    ipv6 Port %70ort ";

/// Values that are right somewhere, nearly right, or at an edge, and the empty one.
const VALUES: &str = "0 1 00 01 -1 +1 %30 %31 %3 % %zz %%30 6881 %36881 65535 65536 006881 \
                      4294967295 4294967296 16384 9223372036854775807 18446744073709551616 \
                      99999999999999999999999999999999999999999999999999 started %53TARTED \
                      Completed stopped stoppedx paused empty none 192.0.2.1 2001%3adb8::1 \
                      ::ffff:192.0.2.1 None 192.0.2.1.5 fe80::1%251 a=b + 6881+ ? ";

/// A value a client may send, or nearly: a number, a word, 20 bytes escaped in one way or another,
/// or anything.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let byte = (any::<u8>(), 0..3_u8).prop_map(|(byte, form)| match form {
        0 if byte != b'%' && byte != b'&' => vec![byte],
        1 => format!("%{byte:02x}").into_bytes(),
        _ => format!("%{byte:02X}").into_bytes(),
    });
    prop_oneof![
        4 => select(VALUES.split(' ').collect::<Vec<_>>())
            .prop_map(|value| value.as_bytes().to_vec()),
        4 => vec(byte.clone(), 20).prop_map(|bytes| bytes.concat()),
        1 => vec(byte, 18..23).prop_map(|bytes| bytes.concat()),
        1 => vec(any::<u8>(), 0..30),
    ]
}

/// Most of the required fields, right, among other pairs in any order, so that many queries pass
/// and many fail late.
fn queries() -> impl Strategy<Value = Vec<u8>> {
    let right: Vec<Vec<u8>> = WHOLE.split('&').map(|pair| pair.as_bytes().to_vec()).collect();
    let right = (0..right.len() * 4).prop_map(move |missing| {
        let kept = right.iter().enumerate().filter(|(at, _)| *at != missing);
        kept.map(|(_, pair)| pair.clone()).collect::<Vec<_>>()
    });
    let other = (select(KEYS.split(' ').collect::<Vec<_>>()), any::<bool>(), values()).prop_map(
        |(key, bare, value)| {
            if bare && value.is_empty() {
                key.as_bytes().to_vec()
            } else {
                [key.as_bytes(), b"=", &value].concat()
            }
        },
    );
    (right, vec(other, 0..8))
        .prop_map(|(right, others)| [right, others].concat())
        .prop_shuffle()
        .prop_map(|pairs| pairs.join(&b'&'))
}

#[test]
fn plausible_queries_mean_what_the_naive_reading_says() {
    property(4096, queries(), |query| {
        prop_assert_eq!(Announce::parse(&query), naive_announce(&query));
        Ok(())
    });
}

#[test]
fn arbitrary_bytes_mean_what_the_naive_reading_says() {
    property(2048, vec(any::<u8>(), 0..400), |query| {
        prop_assert_eq!(Announce::parse(&query), naive_announce(&query));
        Ok(())
    });
}
