//! A set: the distinct members of the open interval.

use std::collections::HashSet;

use foldhash::fast::RandomState;

/// Members, as the bytes that were sent.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// The members.
    pub members: HashSet<Box<[u8]>, RandomState>,
}

impl Set {
    /// How many distinct members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes the members, leaving none.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Adds the members of another thread in the same interval.
    pub fn merge(&mut self, other: Self) {
        if self.members.len() < other.members.len() {
            let smaller = std::mem::replace(&mut self.members, other.members);
            self.members.extend(smaller);
        } else {
            self.members.extend(other.members);
        }
    }
}
