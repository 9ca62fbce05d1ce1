//! How much room to keep for what is not there yet.
//!
//! Owns: the capacities of the runs of peers and of the growing arrays. A `Vec` doubles, which
//! leaves a quarter of its bytes empty on average; a tracker is mostly such arrays, so these grow
//! by an eighth, and by what the allocator would round up to anyway.
//!
//! Never: allocates for an element that fits, or gives room back before a fair part of it is empty,
//! so that a peer that comes and goes does not move the others each time.

/// The chunks of glibc's malloc are multiples of this many bytes ...
const CHUNK_BYTES: usize = 16;
/// ... of which it keeps this many; other allocators lose little by the same sizes.
const CHUNK_HEAD_BYTES: usize = 8;

/// Slots to allocate so that `peers` peers of `peer_bytes` bytes fit, with an eighth to spare.
pub(super) fn slots_for(peers: usize, peer_bytes: usize) -> usize {
    let wanted_bytes = (peers + peers / 8) * peer_bytes;
    let chunk_bytes =
        (wanted_bytes + CHUNK_HEAD_BYTES).next_multiple_of(CHUNK_BYTES).max(2 * CHUNK_BYTES);
    (chunk_bytes - CHUNK_HEAD_BYTES) / peer_bytes
}

/// Whether so many of `slots` slots are empty that `peers` peers should move to a smaller
/// allocation.
pub(super) fn is_roomy(slots: usize, peers: usize, peer_bytes: usize) -> bool {
    slots > slots_for(peers + peers / 4 + 2, peer_bytes)
}

/// Appends to an array that grows by an eighth.
pub(super) fn push<T>(array: &mut Vec<T>, value: T) {
    if array.len() == array.capacity() {
        array.reserve_exact((array.len() / 8).max(2));
    }
    array.push(value);
}

/// Gives back what an array has to spare once that is a quarter of it.
pub(super) fn shrink<T>(array: &mut Vec<T>) {
    if array.capacity() - array.len() > array.capacity() / 4 + 2 {
        array.shrink_to(array.len() + array.len() / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_room_for_what_was_asked_and_an_eighth() {
        for peer_bytes in [8, 20, 28, 40] {
            for peers in 0..=300 {
                let slots = slots_for(peers, peer_bytes);
                assert!(slots >= peers + peers / 8, "{peers} peers of {peer_bytes} bytes");
                assert!(
                    slots * peer_bytes <= (peers + peers / 8) * peer_bytes + 3 * CHUNK_BYTES,
                    "{peers} of {peer_bytes}"
                );
                assert!(
                    !is_roomy(slots, peers, peer_bytes),
                    "{peers} peers of {peer_bytes} bytes, just moved, would move again"
                );
            }
        }
    }

    #[test]
    fn an_array_is_never_much_larger_than_its_content() {
        let mut array = Vec::new();
        (0..10_000).for_each(|value| {
            push(&mut array, value);
            assert!(array.capacity() <= array.len() + (array.len() / 8).max(2));
        });
        while array.pop().is_some() {
            shrink(&mut array);
            assert!(
                array.capacity() <= array.len() * 4 / 3 + 4,
                "{} of {}",
                array.len(),
                array.capacity()
            );
        }
    }
}
