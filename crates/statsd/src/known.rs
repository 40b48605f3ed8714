//! The series of one family that a server knows, each by a number.
//!
//! A series' name is not kept: it is what the key of its first point holds between prefix and ending, so that a million
//! series cost their keys and little more.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use statline_series::SeriesKey;

use crate::mapping::Mapped;
use crate::names::{self, Name};

/// The number of a series in its family.
pub(crate) type Id = u32;

/// Who a series is, by what becomes of it.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// It becomes points under these keys, one for each name.
    Path(Keys),
    /// A mapping rule took it: made something else of it, or dropped it.
    Mapped {
        /// What it is called in statsd.
        series: Box<str>,
        /// What it is in Prometheus.
        metric: Option<Arc<Mapped>>,
    },
}

/// The keys of a series' points, in the order of the names.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    One(SeriesKey),
    Two([SeriesKey; 2]),
    Many(Box<[SeriesKey]>),
}

impl Keys {
    fn new(mut keys: Vec<SeriesKey>) -> Option<Self> {
        match keys.len() {
            0 => None,
            1 => keys.pop().map(Self::One),
            2 => keys.try_into().ok().map(Self::Two),
            _ => Some(Self::Many(keys.into())),
        }
    }

    pub(crate) fn as_slice(&self) -> &[SeriesKey] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Two(keys) => keys,
            Self::Many(keys) => keys,
        }
    }
}

impl Identity {
    /// The identity of a series that becomes points under these names; `None` when no keys can be made of its name.
    pub(crate) fn path<'a>(names: impl Iterator<Item = &'a Name>, series: &str) -> Option<Self> {
        Keys::new(names::keys(names, series)?).map(Self::Path)
    }

    /// The keys, unless a mapping rule took the series.
    pub(crate) fn keys(&self) -> Option<&[SeriesKey]> {
        match self {
            Self::Path(keys) => Some(keys.as_slice()),
            Self::Mapped { .. } => None,
        }
    }

    /// Whether this is the series of that name.
    fn is(&self, first: &Name, series: &str) -> bool {
        match self {
            Self::Path(keys) => keys.as_slice().first().is_some_and(|key| first.is_of(key, series)),
            Self::Mapped { series: known, .. } => **known == *series,
        }
    }

    /// The name of the series.
    pub(crate) fn series(&self, first: &Name) -> String {
        match self {
            Self::Path(keys) => keys.as_slice().first().map(|key| first.strip(key)).unwrap_or_default(),
            Self::Mapped { series, .. } => series.to_string(),
        }
    }
}

/// A series, what happened to it, and for how many flushes nothing has.
#[derive(Clone, Debug)]
pub(crate) struct Entry<V> {
    pub(crate) identity: Identity,
    pub(crate) value: V,
    pub(crate) idle: u32,
    /// How many lines began with it since they were last asked for.
    pub(crate) lines: u32,
}

/// Where an entry is; its hash spares hashing its name again.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    id: Id,
}

/// The series of one family.
#[derive(Debug)]
pub(crate) struct Known<V> {
    places: HashTable<Place>,
    entries: Vec<Option<Entry<V>>>,
    free: Vec<Id>,
    /// Seeded, since names come from strangers.
    hasher: RandomState,
}

impl<V> Default for Known<V> {
    fn default() -> Self {
        Self { places: HashTable::new(), entries: Vec::new(), free: Vec::new(), hasher: RandomState::default() }
    }
}

impl<V> Known<V> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits of a hash are kept")]
    fn hash(&self, series: &str) -> u32 {
        self.hasher.hash_one(series) as u32
    }

    /// The number of a series. `first` is the name that its first key was made with.
    pub(crate) fn find(&self, first: &Name, series: &str) -> Option<Id> {
        let hash = self.hash(series);
        let is_it = |place: &Place| {
            place.hash == hash && self.get(place.id).is_some_and(|entry| entry.identity.is(first, series))
        };
        self.places.find(spread(hash), is_it).map(|place| place.id)
    }

    /// Takes in a series that is not known.
    pub(crate) fn insert(&mut self, series: &str, identity: Identity, value: V) -> Id {
        let entry = Some(Entry { identity, value, idle: 0, lines: 0 });
        let id = if let Some(id) = self.free.pop() {
            self.entries[id as usize] = entry;
            id
        } else {
            self.entries.push(entry);
            // A state holds fewer series than 2^32.
            Id::try_from(self.entries.len() - 1).unwrap_or(Id::MAX)
        };
        let hash = self.hash(series);
        self.places.insert_unique(spread(hash), Place { hash, id }, |place| spread(place.hash));
        id
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Entry<V>> {
        self.entries.get(id as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Entry<V>> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    /// Every series, in the order of numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &Entry<V>)> {
        (0..).zip(&self.entries).filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }

    /// Every series, in the order of numbers.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut Entry<V>)> {
        (0..).zip(&mut self.entries).filter_map(|(id, entry)| Some((id, entry.as_mut()?)))
    }

    /// Forgets a series; its number will be another one's.
    pub(crate) fn remove(&mut self, first: &Name, id: Id) -> Option<Entry<V>> {
        let entry = self.entries.get_mut(id as usize)?.take()?;
        let hash = self.hash(&entry.identity.series(first));
        if let Ok(place) = self.places.find_entry(spread(hash), |place| place.id == id) {
            place.remove();
        }
        self.free.push(id);
        if self.places.is_empty() {
            *self = Self { hasher: self.hasher.clone(), ..Self::default() };
        }
        Some(entry)
    }
}

/// 32 bits of a hash over all 64, as the table wants them.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FlushConfig;
    use crate::names::Names;

    #[test]
    fn a_series_is_found_by_its_name_until_it_is_removed() {
        for legacy_namespace in [true, false] {
            let names = Names::new(&FlushConfig { legacy_namespace, ..FlushConfig::default() });
            let first = &names.counter[0];
            let mut known = Known::default();
            let series = ["a", "a.b", "a.b;t=v", "", "b;t=a;u=v"];
            let ids = series.map(|series| {
                let identity = Identity::path(names.counter.iter(), series).unwrap();
                known.insert(series, identity, series.to_owned())
            });
            for (series, id) in series.iter().zip(ids) {
                assert_eq!(known.find(first, series), Some(id), "{series:?}");
                assert_eq!(known.get(id).unwrap().identity.series(first), *series);
            }
            assert_eq!(known.find(first, "a.c"), None);
            assert_eq!(known.remove(first, ids[1]).unwrap().value, "a.b");
            assert_eq!((known.find(first, "a.b"), known.len()), (None, 4));
            let mapped = known.insert("a.b", Identity::Mapped { series: "a.b".into(), metric: None }, "new".to_owned());
            assert_eq!((known.find(first, "a.b"), mapped), (Some(mapped), ids[1]), "a number is used again");
        }
    }
}
