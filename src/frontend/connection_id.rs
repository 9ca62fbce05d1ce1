//! Connection ids without memory (BEP 15): a keyed hash of the client's address and of the minute.
//!
//! Owns: what an id is made of, and for how long it is believed. An id shows that packets to an
//! address reach who asks from it, so nobody is entered into a swarm, or sent a long answer, on a
//! source address that is not his.
//!
//! Never: remembers a client, reads a clock, or makes its key: all workers and the next process
//! have the same one, so an id outlives a restart.
//!
//! The address counts without its port, which a NAT may change between two packets. An id is
//! believed in the slot of 60 s it was made in and in the two that follow, so for two minutes at
//! least and three at most, and in the slot before, for a wall clock that was set back by less.
//!
//! The two low bits of an id are those of its slot's number. They tell the four slots apart, so
//! that one hash is computed for a check, not one for each slot. The other 62 bits are SipHash-2-4
//! (some 230 instructions; keyed BLAKE3 takes 600).

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::secrets::{KEY_BYTES, Secret};
use crate::wire::udp::ConnectionId;

/// What the key is derived for.
const KEY_LABEL: &[u8] = b"connection ids of UDP";
/// How long all ids of an address are the same.
const SLOT_S: u64 = 60;
/// Slots before the present one whose ids are believed.
const PAST_SLOTS: u64 = 2;
/// The bits of an id that its slot has.
const SLOT_BITS: u64 = 0b11;

/// Makes and checks ids with one key.
#[derive(Clone)]
pub struct ConnectionIds {
    hasher: SipHasher24,
}

impl ConnectionIds {
    /// Ids by the key that follows from `secret`.
    pub fn of(secret: &Secret) -> ConnectionIds {
        ConnectionIds::new(&secret.key(KEY_LABEL))
    }

    /// Ids of this key, which must be random, secret, and the same for all workers.
    fn new(key: &[u8; KEY_BYTES]) -> ConnectionIds {
        ConnectionIds { hasher: SipHasher24::new_with_key(key) }
    }

    /// The id of a client at `ip`, at `unix_s` seconds by the wall clock.
    pub fn make(&self, ip: IpAddr, unix_s: u64) -> ConnectionId {
        self.of_slot(ip, unix_s / SLOT_S)
    }

    /// Whether an id was made for this client's address, and not too long ago.
    pub fn accepts(&self, id: ConnectionId, ip: IpAddr, unix_s: u64) -> bool {
        let oldest = (unix_s / SLOT_S).wrapping_sub(PAST_SLOTS);
        // Of the four slots from the oldest on, the one whose number ends as the id does.
        let age = id.0.wrapping_sub(oldest) & SLOT_BITS;
        // The whole id at once: how long this takes says nothing of where two ids differ.
        self.of_slot(ip, oldest.wrapping_add(age)) == id
    }

    fn of_slot(&self, ip: IpAddr, slot: u64) -> ConnectionId {
        let address = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut message = [0; 24];
        message[..16].copy_from_slice(&address.octets());
        message[16..].copy_from_slice(&slot.to_le_bytes());
        ConnectionId(self.hasher.hash(&message) & !SLOT_BITS | slot & SLOT_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; KEY_BYTES] = *b"sixteen bytes ok";
    /// The first second of a slot.
    const BORDER_S: u64 = 1_700_000_040;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn accepts_after(made_s: u64, asked_s: u64) -> bool {
        let (ids, client) = (ConnectionIds::new(&KEY), ip("192.0.2.7"));
        ids.accepts(ids.make(client, made_s), client, asked_s)
    }

    #[test]
    fn an_id_lives_for_two_minutes_and_never_for_more_than_three() {
        assert_eq!(BORDER_S % SLOT_S, 0, "the first second of a slot");
        for (made_s, asked_s, expected, name) in [
            (BORDER_S, BORDER_S, true, "at once"),
            (BORDER_S, BORDER_S + 59, true, "in the same slot"),
            (BORDER_S + 59, BORDER_S + 60, true, "across a border"),
            (BORDER_S, BORDER_S + 120, true, "two minutes after the slot's first second"),
            (BORDER_S + 59, BORDER_S + 179, true, "two minutes after the slot's last second"),
            (BORDER_S, BORDER_S + 179, true, "in the last second of the second slot after"),
            (BORDER_S, BORDER_S + 180, false, "three minutes after"),
            (BORDER_S + 59, BORDER_S + 180, false, "in the third slot after"),
            (BORDER_S, BORDER_S + 240, false, "four slots after, with the same low bits"),
            (BORDER_S, BORDER_S + 86_400, false, "a day after"),
            (BORDER_S + 10, BORDER_S - 30, true, "the clock was set back by less than a slot"),
            (BORDER_S, BORDER_S - 1, true, "the clock was set back across a border"),
            (BORDER_S, BORDER_S - 61, false, "the clock was set back by more than a slot"),
        ] {
            assert_eq!(accepts_after(made_s, asked_s), expected, "{name}");
        }
    }

    #[test]
    fn a_clock_that_stands_at_its_beginning_does_no_harm() {
        for now_s in [0, 59, 60, 119, u64::MAX] {
            assert!(accepts_after(now_s, now_s), "at second {now_s}");
        }
    }

    #[test]
    fn an_id_is_for_one_address_whatever_its_port_and_form() {
        let ids = ConnectionIds::new(&KEY);
        for (made_for, asked_by, expected) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.7", "::192.0.2.7", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let id = ids.make(ip(made_for), BORDER_S);
            let accepted = ids.accepts(id, ip(asked_by), BORDER_S);
            assert_eq!(accepted, expected, "made for {made_for}, asked by {asked_by}");
        }
    }

    #[test]
    fn an_id_of_another_key_is_refused() {
        let (ids, client) = (ConnectionIds::new(&KEY), ip("192.0.2.7"));
        for bit in 0..8 * KEY_BYTES {
            let mut guessed = KEY;
            guessed[bit / 8] ^= 1 << (bit % 8);
            let id = ConnectionIds::new(&guessed).make(client, BORDER_S);
            assert!(!ids.accepts(id, client, BORDER_S), "a key that differs in bit {bit}");
        }
    }

    #[test]
    fn an_id_with_any_bit_turned_is_refused() {
        let (ids, client) = (ConnectionIds::new(&KEY), ip("192.0.2.7"));
        let ConnectionId(id) = ids.make(client, BORDER_S);
        for bit in 0..u64::BITS {
            let turned = ConnectionId(id ^ 1 << bit);
            assert!(!ids.accepts(turned, client, BORDER_S), "bit {bit} turned");
        }
    }

    #[test]
    fn an_id_is_that_of_the_same_key_in_another_process() {
        let (before, after) = (ConnectionIds::new(&KEY), ConnectionIds::new(&KEY));
        let id = before.make(ip("2001:db8::1"), BORDER_S);
        assert!(after.accepts(id, ip("2001:db8::1"), BORDER_S + 90));
        let known = before.make(ip("192.0.2.7"), BORDER_S);
        assert_eq!(
            known,
            ConnectionId(0xdf75_9a31_7708_8e32),
            "an update of the tracker would refuse every client"
        );
    }
}
