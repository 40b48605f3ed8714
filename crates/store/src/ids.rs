//! Sets of the numbers of series, small in memory whether they hold one or a million.

use roaring::{MultiOps, RoaringBitmap};

use crate::SeriesId;

/// The most numbers in a plain list. A bitmap takes 72 bytes and more for each 65,536 numbers that it reaches over.
const MOST_LISTED: usize = 1024;
/// A union of fewer numbers than this is sorted rather than counted out.
const FEW: usize = 4096;

/// A set that is not empty.
#[derive(Debug)]
pub(crate) enum Ids {
    One(SeriesId),
    /// Ascending.
    Listed(Vec<SeriesId>),
    Many(Box<RoaringBitmap>),
}

impl Ids {
    pub(crate) fn insert(&mut self, id: SeriesId) {
        match self {
            Self::One(only) if *only == id => {}
            Self::One(only) => *self = Self::Listed(vec![id.min(*only), id.max(*only)]),
            Self::Listed(list) => {
                // Numbers are given in order, so that this is nearly always the end.
                let place = if list.last().is_some_and(|last| *last < id) {
                    list.len()
                } else {
                    let Err(place) = list.binary_search(&id) else { return };
                    place
                };
                list.insert(place, id);
                if list.len() > MOST_LISTED {
                    *self = Self::Many(Box::new(list.iter().copied().collect()));
                }
            }
            Self::Many(bitmap) => _ = bitmap.insert(id),
        }
    }

    /// Takes a number out; whether none is left.
    pub(crate) fn remove(&mut self, id: SeriesId) -> bool {
        match self {
            Self::One(only) => *only == id,
            Self::Listed(list) => {
                if let Ok(place) = list.binary_search(&id) {
                    list.remove(place);
                }
                if let [only] = list[..] {
                    *self = Self::One(only);
                }
                false
            }
            Self::Many(bitmap) => {
                bitmap.remove(id);
                if bitmap.len() <= MOST_LISTED as u64 / 2 {
                    *self = Self::Listed(bitmap.iter().collect());
                }
                false
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Listed(list) => list.len(),
            Self::Many(bitmap) => bitmap.len() as usize,
        }
    }

    pub(crate) fn any(&self, mut passes: impl FnMut(SeriesId) -> bool) -> bool {
        match self {
            Self::One(only) => passes(*only),
            Self::Listed(list) => list.iter().copied().any(passes),
            Self::Many(bitmap) => bitmap.iter().any(passes),
        }
    }

    pub(crate) fn overlaps(&self, bitmap: &RoaringBitmap) -> bool {
        match self {
            Self::Many(own) => !own.is_disjoint(bitmap),
            _ => self.any(|id| bitmap.contains(id)),
        }
    }

    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        match self {
            Self::One(only) => RoaringBitmap::from_iter([*only]),
            Self::Listed(list) => list.iter().copied().collect(),
            Self::Many(bitmap) => (**bitmap).clone(),
        }
    }

    /// Leaves in a bitmap what is in this set too.
    pub(crate) fn restrict(&self, bitmap: &mut RoaringBitmap) {
        match self {
            Self::Many(own) => *bitmap &= &**own,
            Self::One(only) => *bitmap = [*only].into_iter().filter(|id| bitmap.contains(*id)).collect(),
            Self::Listed(list) => *bitmap = list.iter().copied().filter(|id| bitmap.contains(*id)).collect(),
        }
    }
}

/// All that are in one of the sets.
pub(crate) fn union<'a>(sets: impl Iterator<Item = &'a Ids>) -> RoaringBitmap {
    let (mut large, mut small) = (Vec::new(), Vec::new());
    for set in sets {
        match set {
            Ids::One(only) => small.push(*only),
            Ids::Listed(list) => small.extend_from_slice(list),
            Ids::Many(bitmap) => large.push(&**bitmap),
        }
    }
    let all_large = large.union();
    if small.is_empty() {
        return all_large;
    }
    all_large | of_unordered(small)
}

fn of_unordered(mut ids: Vec<SeriesId>) -> RoaringBitmap {
    let least = ids.iter().copied().min().unwrap_or(0) / u64::BITS * u64::BITS;
    let most = ids.iter().copied().max().unwrap_or(0);
    let reach = (most - least) as usize + 1;
    if ids.len() < FEW || reach / u64::BITS as usize > ids.len() {
        ids.sort_unstable();
        return ids.into_iter().collect();
    }
    let mut bits = vec![0_u8; reach.div_ceil(8)];
    for id in ids {
        let place = (id - least) as usize;
        bits[place / 8] |= 1 << (place % 8);
    }
    RoaringBitmap::from_lsb0_bytes(least, &bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_is_small() {
        assert_eq!(size_of::<Ids>(), 24);
    }

    #[test]
    fn a_set_grows_into_a_bitmap_and_back() {
        let mut ids = Ids::One(7);
        (0..3000).for_each(|id| ids.insert(id * 50));
        assert!(matches!(ids, Ids::Many(_)));
        assert_eq!(ids.len(), 3001);
        assert!((0..2990).all(|id| !ids.remove(id * 50)));
        assert!(matches!(ids, Ids::Listed(_)));
        assert_eq!(ids.to_bitmap().iter().take(2).collect::<Vec<_>>(), [7, 2990 * 50]);
        assert!((2990..3000).all(|id| !ids.remove(id * 50)));
        assert!(ids.remove(7));
    }

    #[test]
    fn a_union_of_many_is_whole() {
        let lists: Vec<Ids> =
            (0..40).map(|list| Ids::Listed((0..200).map(|id| 1_000_000 + id * 40 + list).collect())).collect();
        assert_eq!(union(lists.iter()), (1_000_000..1_008_000).collect());
    }

    proptest! {
        #[test]
        fn sets_are_sets(
            first in prop::collection::btree_set(0_u32..200, 1..60),
            second in prop::collection::btree_set(0_u32..200, 1..60),
            gone in prop::collection::vec(0_u32..200, 0..30),
        ) {
            let of = |set: &BTreeSet<u32>| {
                let mut numbers = set.iter().rev();
                let mut ids = Ids::One(*numbers.next().unwrap());
                numbers.for_each(|id| ids.insert(*id));
                ids
            };
            prop_assert_eq!(union([of(&first), of(&second)].iter()), first.union(&second).copied().collect());
            let mut both = of(&first).to_bitmap();
            of(&second).restrict(&mut both);
            prop_assert_eq!(both, first.intersection(&second).copied().collect());
            prop_assert_eq!(of(&first).overlaps(&of(&second).to_bitmap()), !first.is_disjoint(&second));
            let (mut ids, mut left) = (of(&first), first);
            for id in gone {
                left.remove(&id);
                if ids.remove(id) {
                    prop_assert!(left.is_empty());
                    return Ok(());
                }
                prop_assert_eq!(ids.to_bitmap(), left.iter().copied().collect());
            }
        }
    }
}
