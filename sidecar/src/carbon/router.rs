//! From the name on a point to where the point goes: lists, rewriting, aggregation, rewriting, and the series' key.
//!
//! That is the order in which carbon has it. Most names come again and again, so what was found of a name is remembered, and a
//! known name costs a comparison with the one that followed the last one before, or a hash. When there are as many names as
//! may be, or long ones, all are forgotten and found anew.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use statline_series::{Kind, SeriesKey};

use super::aggregator::Target;
use super::name;
use super::refusal::Refusal;
use super::rules::Rules;

/// What becomes of a name's points.
#[derive(Clone, Debug)]
pub enum Route {
    /// They are left out.
    Refused(Refusal),
    /// They are stored, aggregated, or both.
    Taken {
        /// The series that they are stored as.
        stored: Option<(SeriesKey, Kind)>,
        /// What they are part of.
        aggregates: Box<[Target]>,
        /// How many aggregates they would be part of whose names are none.
        nameless: u32,
    },
}

/// Finds where points go, by rules that do not change.
#[derive(Debug)]
pub struct Router {
    rules: Rules,
    forward_all: bool,
}

impl Router {
    /// A router by these rules. With `forward_all`, points that are aggregated are stored themselves, too.
    pub const fn new(rules: Rules, forward_all: bool) -> Self {
        Self { rules, forward_all }
    }

    /// Finds where the points of a name go.
    pub fn route(&self, name: &str) -> Route {
        self.find(name).unwrap_or_else(Route::Refused)
    }

    fn find(&self, name: &str) -> Result<Route, Refusal> {
        let Rules { whitelist, blacklist, rewrite, aggregation } = &self.rules;
        if blacklist.contains(name) {
            return Err(Refusal::Blacklisted);
        }
        if !whitelist.is_empty() && !whitelist.contains(name) {
            return Err(Refusal::NotWhitelisted);
        }
        let name = rewrite.pre(name)?;
        let mut aggregates = Vec::new();
        let (mut is_its_own_aggregate, mut nameless) = (false, 0);
        for rule in aggregation.iter() {
            let Some(output) = rule.output_of(&name) else { continue };
            is_its_own_aggregate |= output == name;
            match name::key(&output) {
                Ok(key) => aggregates.push(Target { key, method: rule.method, frequency: rule.frequency }),
                Err(_) => nameless += 1,
            }
        }
        // Without aggregation rules there is no aggregator, which is what forwards or does not.
        let is_stored = aggregation.is_empty() || (self.forward_all && !is_its_own_aggregate);
        let stored = if is_stored {
            let key = name::key(&rewrite.post(&name)?)?;
            let kind = Kind::of_path(key.name());
            Some((key, kind))
        } else {
            None
        };
        Ok(Route::Taken { stored, aggregates: aggregates.into(), nameless })
    }
}

/// How long a name is that needs no more room than it is reckoned with.
const USUAL_BYTES: usize = 256;

/// Names with their routes.
#[derive(Debug)]
pub struct KnownNames {
    entries: Vec<Known>,
    /// Places in `entries`, by the hash of the name.
    table: HashTable<u32>,
    hasher: RandomState,
    most: usize,
    /// How long they are together.
    bytes: usize,
}

#[derive(Debug)]
struct Known {
    /// The name as clients write it; `None` when it is the key that it is stored under.
    name: Option<Box<[u8]>>,
    route: Route,
    /// The name that came after it, on some connection.
    next: AtomicU32,
}

impl Known {
    fn name(&self) -> &[u8] {
        match (&self.name, &self.route) {
            (Some(name), _) => name,
            (None, Route::Taken { stored: Some((key, _)), .. }) => key.as_str().as_bytes(),
            (None, _) => &[],
        }
    }
}

/// Where a client is in the order of its names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor(u32);

impl KnownNames {
    /// No names, and at most so many.
    pub fn new(most: usize) -> Self {
        Self { entries: Vec::new(), table: HashTable::new(), hasher: RandomState::default(), most, bytes: 0 }
    }

    /// The route of a name that is known.
    pub fn get(&self, name: &[u8], cursor: &mut Cursor) -> Option<&Route> {
        let last = self.entries.get(cursor.0 as usize);
        if let Some(last) = last {
            let next = last.next.load(Ordering::Relaxed);
            if let Some(known) = self.entries.get(next as usize).filter(|known| known.name() == name) {
                cursor.0 = next;
                return Some(&known.route);
            }
        }
        let hash = self.hasher.hash_one(name);
        let found = *self.table.find(hash, |place| self.entries[*place as usize].name() == name)?;
        if let Some(last) = last {
            last.next.store(found, Ordering::Relaxed);
        }
        cursor.0 = found;
        Some(&self.entries[found as usize].route)
    }

    /// Remembers the route of a name.
    pub fn insert(&mut self, name: Box<[u8]>, route: Route) {
        if self.entries.len() >= self.most || self.bytes >= self.most.saturating_mul(USUAL_BYTES) {
            self.entries.clear();
            self.table.clear();
            self.bytes = 0;
        }
        let Ok(place) = u32::try_from(self.entries.len()) else { return };
        let is_key = matches!(&route, Route::Taken { stored: Some((key, _)), .. } if key.as_str().as_bytes() == &*name);
        let hash = self.hasher.hash_one(&*name);
        let Self { entries, table, hasher, bytes, .. } = self;
        if table.find(hash, |known| entries[*known as usize].name() == &*name).is_some() {
            return;
        }
        *bytes += name.len();
        entries.push(Known { name: (!is_key).then_some(name), route, next: AtomicU32::new(place + 1) });
        table.insert_unique(hash, place, |place| hasher.hash_one(entries[*place as usize].name()));
    }

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carbon::rules::aggregation;
    use crate::carbon::rules::list::NameList;
    use crate::carbon::rules::rewrite::RewriteRules;
    use std::sync::Arc;

    fn rules(whitelist: &str, blacklist: &str, rewrite: &str, aggregation: &str) -> Rules {
        Rules {
            whitelist: Arc::new(NameList::parse(whitelist).unwrap()),
            blacklist: Arc::new(NameList::parse(blacklist).unwrap()),
            rewrite: Arc::new(RewriteRules::parse(rewrite).unwrap()),
            aggregation: Arc::new(aggregation::parse(aggregation).unwrap()),
        }
    }

    /// The series that is stored, and the aggregates.
    fn taken(router: &Router, name: &str) -> Result<(Option<String>, Vec<String>), Refusal> {
        match router.route(name) {
            Route::Refused(refusal) => Err(refusal),
            Route::Taken { stored, aggregates, .. } => Ok((
                stored.map(|(key, _)| key.as_str().to_owned()),
                aggregates.iter().map(|target| target.key.as_str().to_owned()).collect(),
            )),
        }
    }

    #[test]
    fn a_name_passes_lists_rewriting_aggregation_and_rewriting() {
        let rules = rules(
            "^app\n^raw",
            "secret",
            "[pre]\n^raw\\. = app.\n[post]\n_x$ =\n",
            "all.<m> (10) = sum app.*.<m>\n<m>_max (10) = max app.*.<m>\napp.self.y (10) = sum app.self.y",
        );
        let router = Router::new(rules.clone(), true);
        let (some, all) =
            (|name: &str| Some(name.to_owned()), |names: &[&str]| names.iter().map(|n| (*n).into()).collect());
        for (name, expected) in [
            ("app.1.m", Ok((some("app.1.m"), all(&["all.m", "m_max"])))),
            // Lists see the name that came, aggregation the one that was made of it, and only the last rewriting its result.
            ("raw.1.m_x", Ok((some("app.1.m"), all(&["all.m_x", "m_x_max"])))),
            ("app.self.y", Ok((None, all(&["all.y", "y_max", "app.self.y"])))),
            ("app.other", Ok((some("app.other"), all(&[])))),
            ("app.secret", Err(Refusal::Blacklisted)),
            ("other", Err(Refusal::NotWhitelisted)),
        ] {
            assert_eq!(taken(&router, name), expected, "{name}");
        }
        let only = Router::new(rules, false);
        assert_eq!(taken(&only, "app.1.m"), Ok((None, all(&["all.m", "m_max"]))));
        assert_eq!(taken(&only, "app.other"), Ok((None, all(&[]))));
        let plain = Router::new(Rules::default(), false);
        assert_eq!(taken(&plain, "a;z=1;b=2"), Ok((some("a;b=2;z=1"), all(&[]))));
    }

    #[test]
    fn names_are_remembered_in_bounded_number() {
        let router = Router::new(rules("", "^no", "", ""), true);
        let mut known = KnownNames::new(4);
        let mut cursor = Cursor::default();
        for round in 0..3 {
            for name in ["a", "b;z=1;b=2", "no", "c"] {
                if round == 0 {
                    assert!(known.get(name.as_bytes(), &mut cursor).is_none(), "{name}");
                    known.insert(name.as_bytes().into(), router.route(name));
                }
                let route = known.get(name.as_bytes(), &mut cursor);
                assert_eq!(matches!(route, Some(Route::Refused(_))), name == "no", "{name}");
            }
        }
        assert_eq!(known.len(), 4);
        known.insert(b"d".as_slice().into(), router.route("d"));
        assert_eq!(known.len(), 1);
        assert!(known.get(b"a", &mut cursor).is_none() && known.get(b"d", &mut cursor).is_some());
        // Long ones are fewer.
        for name in [b'e', b'f'].map(|letter| vec![letter; 4 * USUAL_BYTES]) {
            known.insert(name.into(), Route::Refused(Refusal::Blacklisted));
        }
        assert_eq!(known.len(), 1);
    }
}
