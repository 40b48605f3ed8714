//! From keys to numbers: which series the rows of a batch are of.
//!
//! A sender mostly sends the series of its last batch again, in the same order and with the same shared keys. So the
//! series that followed another is remembered, and compared with first; a key is hashed only when that guess fails.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use rustc_hash::FxHashMap;
use statline_series::point::Row;
use statline_series::{Kind, SeriesKey, SketchRow, Timestamp};

use crate::config::EmbeddedConfig;
use crate::flush::FlushColumns;
use crate::index::Index;
use crate::log::LogSketch;
use crate::{Form, Refused, SeriesId};

/// The most parts that the name of a new series may have; each is a node of the tree of names.
pub(crate) const MOST_PARTS: usize = 64;

/// What is remembered of a series that was appended to.
#[derive(Clone, Debug)]
struct Recent {
    /// As it came last by another way than a right guess; `None` for a series that is gone or was never appended to.
    key: Option<SeriesKey>,
    /// The series that came after it, of the same form.
    next: SeriesId,
    kind: Kind,
}

impl Recent {
    const UNKNOWN: Self = Self { key: None, next: SeriesId::MAX, kind: Kind::Untyped };
}

/// The series that were appended to, by number.
#[derive(Debug, Default)]
pub(crate) struct RecentSeries {
    series: Vec<Recent>,
}

impl RecentSeries {
    /// The series after `previous`, when its key is this one.
    fn guess(&self, previous: SeriesId, key: &SeriesKey) -> Option<(SeriesId, Kind)> {
        let next = self.series.get(previous as usize)?.next;
        let recent = self.series.get(next as usize)?;
        let its_key = recent.key.as_ref()?;
        // Of equal address and length while one of them is held here, they are the same text.
        let is_same = std::ptr::eq(its_key.as_str(), key.as_str()) || its_key == key;
        is_same.then_some((next, recent.kind))
    }

    /// Remembers a series that is in the index, and which one it came after.
    fn learn(&mut self, previous: Option<SeriesId>, id: SeriesId, key: &SeriesKey, kind: Kind) {
        if self.series.len() <= id as usize {
            self.series.resize(id as usize + 1, Recent::UNKNOWN);
        }
        let recent = &mut self.series[id as usize];
        (recent.key, recent.kind) = (Some(key.clone()), kind);
        if let Some(recent) = previous.and_then(|previous| self.series.get_mut(previous as usize)) {
            recent.next = id;
        }
    }

    /// Remembers series that are in the index since now.
    pub(crate) fn learn_births(&mut self, first: SeriesId, births: &[Birth]) {
        let mut previous = [None; 2];
        for (id, birth) in (first..).zip(births) {
            let previous = &mut previous[usize::from(birth.form == Form::Sketches)];
            self.learn(previous.replace(id), id, &birth.key, birth.kind);
        }
    }

    pub(crate) fn set_kind(&mut self, id: SeriesId, kind: Kind) {
        if let Some(recent) = self.series.get_mut(id as usize) {
            recent.kind = kind;
        }
    }

    /// Forgets a series that is no longer in the index.
    pub(crate) fn forget(&mut self, id: SeriesId) {
        if let Some(recent) = self.series.get_mut(id as usize) {
            recent.key = None;
        }
    }
}

/// A series that a batch brings.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    pub(crate) form: Form,
    pub(crate) key: SeriesKey,
    pub(crate) kind: Kind,
}

/// Series that a batch brings or changes.
#[derive(Debug)]
pub(crate) struct Births {
    /// The number of the first new series.
    first: SeriesId,
    /// In the order of their numbers.
    pub(crate) series: Vec<Birth>,
    /// Kinds of series that are in the index.
    pub(crate) kinds: FxHashMap<SeriesId, Kind>,
    points: HashTable<HashedBirth>,
    sketches: HashTable<HashedBirth>,
    hasher: RandomState,
}

/// Where a new series is, by the hash of its key, so that the key is not touched when a table grows.
#[derive(Clone, Copy, Debug)]
struct HashedBirth {
    hash: u64,
    /// In the list of new series.
    place: u32,
}

impl Births {
    /// No series so far; the first will have this number.
    pub(crate) fn from(first: SeriesId) -> Self {
        Self {
            first,
            series: Vec::new(),
            kinds: FxHashMap::default(),
            points: HashTable::new(),
            sketches: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    const fn table(&self, form: Form) -> &HashTable<HashedBirth> {
        match form {
            Form::Points => &self.points,
            Form::Sketches => &self.sketches,
        }
    }

    fn len(&self, form: Form) -> usize {
        self.table(form).len()
    }

    fn hash(&self, key: &SeriesKey) -> u64 {
        self.hasher.hash_one(key.as_str())
    }

    /// The place of a new series in the list.
    fn find(&self, form: Form, hash: u64, key: &SeriesKey) -> Option<u32> {
        let is_it = |birth: &HashedBirth| birth.hash == hash && self.series[birth.place as usize].key == *key;
        self.table(form).find(hash, is_it).map(|birth| birth.place)
    }

    /// Adds a new series, and tells its number; `None` when there are no numbers left.
    fn add(&mut self, form: Form, hash: u64, key: &SeriesKey, kind: Kind) -> Option<SeriesId> {
        let place = u32::try_from(self.series.len()).ok()?;
        let id = self.first.checked_add(place)?;
        let table = match form {
            Form::Points => &mut self.points,
            Form::Sketches => &mut self.sketches,
        };
        table.insert_unique(hash, HashedBirth { hash, place }, |birth| birth.hash);
        self.series.push(Birth { form, key: key.clone(), kind });
        Some(id)
    }
}

/// Finds the numbers of series, and gives new ones.
pub(crate) struct Resolver<'a> {
    pub(crate) index: &'a Index,
    pub(crate) recent: &'a mut RecentSeries,
    pub(crate) births: &'a mut Births,
    pub(crate) config: &'a EmbeddedConfig,
    pub(crate) now: Timestamp,
    /// From here on any series takes points.
    pub(crate) oldest: Timestamp,
    pub(crate) newest: Timestamp,
    pub(crate) max_series: usize,
    pub(crate) max_sketch_series: usize,
}

impl Resolver<'_> {
    /// The number of the series of a point or a sketch that came after one of `previous`; `None`, and counted, when it
    /// cannot be taken.
    fn resolve(
        &mut self,
        form: Form,
        previous: Option<SeriesId>,
        key: &SeriesKey,
        kind: Kind,
        timestamp: Timestamp,
        refused: &mut Refused,
    ) -> Option<SeriesId> {
        if timestamp < self.oldest && self.is_too_old(form, key, timestamp) {
            refused.too_old += 1;
            return None;
        }
        if timestamp > self.newest {
            refused.too_new += 1;
            return None;
        }
        let guess = previous.and_then(|previous| self.recent.guess(previous, key));
        if let Some((id, known_kind)) = guess.or_else(|| self.look_up(form, previous, key)) {
            if kind != Kind::Untyped && self.births.kinds.get(&id).copied().unwrap_or(known_kind) != kind {
                self.births.kinds.insert(id, kind);
            }
            return Some(id);
        }
        let hash = self.births.hash(key);
        if let Some(place) = self.births.find(form, hash, key) {
            if kind != Kind::Untyped {
                self.births.series[place as usize].kind = kind;
            }
            return Some(self.births.first + place);
        }
        self.bear(form, hash, key, kind, refused)
    }

    /// A series that is in the index, which is remembered from then on.
    fn look_up(&mut self, form: Form, previous: Option<SeriesId>, key: &SeriesKey) -> Option<(SeriesId, Kind)> {
        let id = self.index.id(form, key)?;
        let kind = self.index.get(id)?.kind;
        self.recent.learn(previous.filter(|previous| *previous < self.births.first), id, key, kind);
        Some((id, kind))
    }

    fn bear(&mut self, form: Form, hash: u64, key: &SeriesKey, kind: Kind, refused: &mut Refused) -> Option<SeriesId> {
        if key.name().split('.').nth(MOST_PARTS).is_some() {
            refused.too_deep += 1;
            return None;
        }
        let most = match form {
            Form::Points => self.max_series,
            Form::Sketches => self.max_sketch_series,
        };
        let is_room = self.index.len(form) + self.births.len(form) < most;
        let born = if is_room { self.births.add(form, hash, key, kind) } else { None };
        refused.series_limit += u64::from(born.is_none());
        born
    }

    fn is_too_old(&self, form: Form, key: &SeriesKey, timestamp: Timestamp) -> bool {
        let schemas = &self.config.schemas;
        let known = self.index.id(form, key).and_then(|id| self.index.get(id)).map(|entry| entry.rule);
        let rule = schemas.rule(known.unwrap_or_else(|| schemas.rule_of(key)));
        timestamp < self.config.horizon_of(rule, self.now)
    }

    /// The points of a batch that can be taken.
    pub(crate) fn points(&mut self, rows: &[Row], refused: &mut Refused) -> FlushColumns {
        let mut points = FlushColumns::with_capacity(rows.len());
        let mut previous = None;
        for Row { key, kind, point } in rows {
            if point.value.is_nan() {
                refused.not_a_number += 1;
            } else if let Some(id) = self.resolve(Form::Points, previous, key, *kind, point.timestamp, refused) {
                points.push(id, point.timestamp, point.value);
                previous = Some(id);
            }
        }
        points
    }

    /// The sketches of a batch that can be taken.
    pub(crate) fn sketches(&mut self, rows: &[SketchRow], refused: &mut Refused) -> Vec<LogSketch> {
        let mut sketches = Vec::with_capacity(rows.len());
        let mut previous = None;
        for SketchRow { key, timestamp, sketch } in rows {
            if sketch.is_empty() {
                refused.not_a_number += 1;
            } else if let Some(id) = self.resolve(Form::Sketches, previous, key, Kind::Untyped, *timestamp, refused) {
                let mut bytes = Vec::new();
                sketch.encode(&mut bytes);
                sketches.push(LogSketch { id, timestamp: *timestamp, bytes });
                previous = Some(id);
            }
        }
        sketches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resolves points of these names, and bears what is new.
    fn resolve(index: &mut Index, recent: &mut RecentSeries, next: &mut SeriesId, names: &[&str]) -> Vec<SeriesId> {
        let at = Timestamp::from_millis(5);
        let mut batch = statline_series::Batch::default();
        names.iter().for_each(|name| batch.push(name.parse().unwrap(), Kind::Gauge, at, 1.0));
        let mut births = Births::from(*next);
        let mut resolver = Resolver {
            index,
            recent,
            births: &mut births,
            config: &EmbeddedConfig::at("unused"),
            now: at,
            oldest: at,
            newest: at,
            max_series: 100,
            max_sketch_series: 100,
        };
        let ids = resolver.points(&batch.rows, &mut Refused::default()).ids().to_vec();
        for (id, birth) in (*next..).zip(&births.series) {
            index.insert(id, birth.form, &birth.key, birth.kind, 0);
        }
        recent.learn_births(*next, &births.series);
        *next += births.series.len() as SeriesId;
        ids
    }

    #[test]
    fn the_numbers_do_not_depend_on_what_is_remembered() {
        let (mut index, mut recent, mut next) = (Index::default(), RecentSeries::default(), 0);
        let mut resolve =
            |index: &mut Index, recent: &mut RecentSeries, names: &[&str]| resolve(index, recent, &mut next, names);
        assert_eq!(resolve(&mut index, &mut recent, &["a", "b", "a", "c"]), [0, 1, 0, 2]);
        for _ in 0..3 {
            assert_eq!(resolve(&mut index, &mut recent, &["c", "b", "a"]), [2, 1, 0]);
            assert_eq!(resolve(&mut index, &mut recent, &["a", "b", "d", "c"]), [0, 1, 3, 2]);
        }
        let mut fresh = RecentSeries::default();
        assert_eq!(resolve(&mut index, &mut fresh, &["d", "c", "c"]), [3, 2, 2]);
    }

    #[test]
    fn a_series_that_is_gone_is_not_guessed() {
        let (mut index, mut recent, mut next) = (Index::default(), RecentSeries::default(), 0);
        resolve(&mut index, &mut recent, &mut next, &["a", "b"]);
        index.remove(1);
        recent.forget(1);
        assert_eq!(resolve(&mut index, &mut recent, &mut next, &["a", "b"]), [0, 2]);
        assert_eq!(resolve(&mut index, &mut recent, &mut next, &["a", "b"]), [0, 2]);
    }
}
