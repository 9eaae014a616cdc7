//! The key space: room ids under the XOR metric.
//!
//! The metric is that of Kademlia (2002, section 2.1): `d(a, b) = a XOR b`, read as a big-endian number. It is symmetric,
//! satisfies the triangle inequality, and is unidirectional: for a key and a distance there is exactly one id. Bucket `i`
//! of a location holds the ids that share exactly `i` leading bits with it, so the relation "is in bucket `i` of" is
//! symmetric too, and one link fills a bucket at both of its ends.

use core::cmp::Ordering;

use crate::crypto::sha256;
use crate::id::head;
use crate::{PeerId, RoomId};

/// Bits of a key.
pub const KEY_BITS: u16 = 256;

/// The XOR of two ids, ordered as a big-endian number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance(pub [u8; 32]);

/// The distance between two ids.
#[must_use]
pub fn distance(a: &RoomId, b: &RoomId) -> Distance {
    let mut out = a.0;
    for (byte, other) in out.iter_mut().zip(b.0) {
        *byte ^= other;
    }
    Distance(out)
}

/// The first eight bytes of an id as a number: decides nearly every comparison of distances.
pub(crate) fn prefix(id: &RoomId) -> u64 {
    head(&id.0)
}

/// Leading bits that two ids share: 0 to [`KEY_BITS`].
pub(crate) fn common_bits(a: &RoomId, b: &RoomId) -> u16 {
    let mut bits = 0;
    for (x, y) in a.0.iter().zip(b.0) {
        let zeros = (x ^ y).leading_zeros();
        bits += u16::try_from(zeros).unwrap_or(8);
        if zeros < 8 {
            break;
        }
    }
    bits
}

/// Bit `index` of an id, counted from the most significant; `false` beyond the last.
pub(crate) fn bit(id: &RoomId, index: u16) -> bool {
    id.0.get(usize::from(index / 8)).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
}

/// The bucket of `location` that `other` belongs to: the number of leading bits they share. `None` if they are equal.
#[must_use]
pub fn bucket_index(location: &RoomId, other: &RoomId) -> Option<u8> {
    u8::try_from(common_bits(location, other)).ok()
}

/// Which of `a` and `b` is nearer to `key`: `Less` if `a` is.
#[must_use]
pub fn closer(key: &RoomId, a: &RoomId, b: &RoomId) -> Ordering {
    let near = prefix(key);
    (prefix(a) ^ near).cmp(&(prefix(b) ^ near)).then_with(|| distance(key, a).cmp(&distance(key, b)))
}

/// The location of a service node: the id of its home room, whose room key is the node's identity key.
#[must_use]
pub fn home_id(peer: PeerId) -> RoomId {
    RoomId(sha256(&[&peer.0]))
}

/// The key under which the claims of `room` with this replica index are kept: the room id itself for index 0, else
/// SHA-256(room id ‖ `"replica"` ‖ index).
#[must_use]
pub fn replica_key(room: &RoomId, index: u8) -> RoomId {
    if index == 0 { *room } else { RoomId(sha256(&[&room.0, b"replica", &[index]])) }
}

/// A key in bucket `index` of `location`: its first `index` bits, the next one flipped, the rest from `random`.
#[must_use]
pub fn random_in_bucket(location: &RoomId, index: u8, random: [u8; 32]) -> RoomId {
    let mut out = random;
    let whole = usize::from(index / 8);
    for (position, (byte, own)) in out.iter_mut().zip(location.0).enumerate() {
        match position.cmp(&whole) {
            Ordering::Less => *byte = own,
            Ordering::Equal => {
                let flip = 0x80_u8 >> (index % 8);
                // The bits above the flipped one, and the flipped one itself, come from the location.
                let fixed = !(flip - 1);
                *byte = ((own ^ flip) & fixed) | (*byte & !fixed);
            }
            Ordering::Greater => {}
        }
    }
    RoomId(out)
}

/// The least and the greatest id in bucket `index` of `location`.
pub(crate) fn bucket_range(location: &RoomId, index: u8) -> (RoomId, RoomId) {
    (random_in_bucket(location, index, [0; 32]), random_in_bucket(location, index, [0xff; 32]))
}

/// Something with a place in the key space.
pub(crate) trait Located {
    /// Its place.
    fn id(&self) -> &RoomId;
}

/// Visits the items of `sorted` (ascending by id, without duplicates) in the order of their distance to `key`, until
/// `visit` returns `false`.
///
/// Descends the implied prefix tree, the key's side first, so the `n` nearest of `N` cost O(n + log N) comparisons.
pub(crate) fn walk_nearest<'a, T: Located>(
    sorted: &'a [T],
    key: &RoomId,
    visit: &mut impl FnMut(&'a T) -> bool,
) -> bool {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return true };
    let depth = common_bits(first.id(), last.id());
    if depth >= KEY_BITS {
        return sorted.iter().all(visit);
    }
    let (zeros, ones) = sorted.split_at(sorted.partition_point(|item| !bit(item.id(), depth)));
    let (near, far) = if bit(key, depth) { (ones, zeros) } else { (zeros, ones) };
    walk_nearest(near, key, visit) && walk_nearest(far, key, visit)
}

/// The items of `sorted` (ascending by id) between two ids, both included.
pub(crate) fn between<'a, T: Located>(sorted: &'a [T], (least, greatest): &(RoomId, RoomId)) -> &'a [T] {
    let start = sorted.partition_point(|item| item.id() < least);
    let end = sorted.partition_point(|item| item.id() <= greatest);
    sorted.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::hex;

    impl Located for RoomId {
        fn id(&self) -> &RoomId {
            self
        }
    }

    fn id() -> impl Strategy<Value = RoomId> {
        any::<[u8; 32]>().prop_map(RoomId)
    }

    /// An id that shares some leading bits with `near`, so that deep buckets and long common prefixes occur.
    fn id_near(near: RoomId) -> impl Strategy<Value = RoomId> {
        (any::<u8>(), any::<[u8; 32]>())
            .prop_map(move |(index, random)| random_in_bucket(&near, index, random))
    }

    fn pair() -> impl Strategy<Value = (RoomId, RoomId)> {
        id().prop_flat_map(|a| (Just(a), prop_oneof![id(), id_near(a), Just(a)]))
    }

    fn triple() -> impl Strategy<Value = (RoomId, RoomId, RoomId)> {
        pair().prop_flat_map(|(a, b)| (Just(a), Just(b), prop_oneof![id(), id_near(a), id_near(b), Just(a)]))
    }

    /// The distance as a number of 257 bits: high half, low half; sums of halves carry into the high one.
    fn add(a: Distance, b: Distance) -> (u64, [u8; 32]) {
        let mut sum = [0; 32];
        let mut carry = 0_u16;
        for i in (0..32).rev() {
            let digit = u16::from(a.0[i]) + u16::from(b.0[i]) + carry;
            sum[i] = digit.to_be_bytes()[1];
            carry = digit >> 8;
        }
        (u64::from(carry), sum)
    }

    proptest! {
        #[test]
        fn the_metric_is_symmetric_and_zero_only_for_equals((a, b) in pair()) {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == Distance([0; 32]), a == b);
            prop_assert_eq!(distance(&a, &a), Distance([0; 32]));
        }

        #[test]
        fn the_triangle_inequality_holds((a, b, c) in triple()) {
            prop_assert!((0, distance(&a, &c).0) <= add(distance(&a, &b), distance(&b, &c)));
            let joined = distance(&RoomId(distance(&a, &b).0), &RoomId(distance(&b, &c).0));
            prop_assert_eq!(joined, distance(&a, &c));
        }

        #[test]
        fn the_metric_is_unidirectional((key, a, b) in triple()) {
            prop_assert_eq!(closer(&key, &a, &b) == Ordering::Equal, a == b);
            prop_assert_eq!(RoomId(distance(&key, &RoomId(distance(&key, &a).0)).0), a);
        }

        #[test]
        fn closer_compares_distances((key, a, b) in triple()) {
            prop_assert_eq!(closer(&key, &a, &b), distance(&key, &a).cmp(&distance(&key, &b)));
            prop_assert_eq!(closer(&key, &a, &b), closer(&key, &b, &a).reverse());
        }

        #[test]
        fn the_bucket_relation_is_symmetric_and_ordered((location, a, b) in triple()) {
            prop_assert_eq!(bucket_index(&location, &a), bucket_index(&a, &location));
            prop_assert_eq!(bucket_index(&location, &a).is_none(), a == location);
            if let (Some(i), Some(j)) = (bucket_index(&location, &a), bucket_index(&location, &b)) {
                // A deeper bucket is nearer, and two of one bucket are nearer to each other than to the location.
                if i > j {
                    prop_assert_eq!(closer(&location, &a, &b), Ordering::Less);
                }
                if i == j {
                    prop_assert!(bucket_index(&a, &b).is_none_or(|common| common > i));
                }
            }
        }

        #[test]
        fn a_random_key_falls_into_its_bucket(location in id(), index: u8, random: [u8; 32]) {
            let key = random_in_bucket(&location, index, random);
            prop_assert_eq!(bucket_index(&location, &key), Some(index));
            let (least, greatest) = bucket_range(&location, index);
            prop_assert!(least <= key && key <= greatest);
            prop_assert_eq!(bucket_index(&location, &least), Some(index));
            prop_assert_eq!(bucket_index(&location, &greatest), Some(index));
        }

        #[test]
        fn walking_visits_by_distance(key in id(), mut ids in proptest::collection::vec(id(), 0..40), n in 0_usize..50) {
            ids.extend(ids.first().map(|first| random_in_bucket(first, 200, [7; 32])));
            ids.sort_unstable();
            ids.dedup();
            let mut expected = ids.clone();
            expected.sort_unstable_by_key(|id| distance(&key, id));
            expected.truncate(n);
            let mut visited = Vec::new();
            walk_nearest(&ids, &key, &mut |id| {
                if visited.len() < n {
                    visited.push(*id);
                }
                visited.len() < n
            });
            prop_assert_eq!(visited, expected);
        }
    }

    #[test]
    fn buckets_at_the_edges() {
        let zero = RoomId([0; 32]);
        let mut last = RoomId([0; 32]);
        last.0[31] = 1;
        assert_eq!(bucket_index(&zero, &zero), None);
        assert_eq!(bucket_index(&zero, &last), Some(255));
        assert_eq!(bucket_index(&zero, &RoomId([0xff; 32])), Some(0));
        assert_eq!(random_in_bucket(&zero, 255, [0xff; 32]), last);
    }

    #[test]
    fn replica_keys_and_home_ids_are_fixed() {
        let room = RoomId([1; 32]);
        assert_eq!(replica_key(&room, 0), room);
        assert_eq!(replica_key(&room, 1).0, sha256(&[&[1; 32], b"replica", &[1]]));
        assert_ne!(replica_key(&room, 1), replica_key(&room, 2));
        // SHA-256 of 32 zero bytes.
        assert_eq!(
            hex(&home_id(PeerId([0; 32])).0),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
    }
}
