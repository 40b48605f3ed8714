//! The middle of windows that slide over a column, in time that does not grow with the window.
//!
//! The values are sorted once, which gives each a rank, and a window is the set of its ranks. As it moves on, one rank comes
//! and one goes, and the middle moves by one member at most for either.

/// For each value, the middle of the values present among the last `window` of them, or the mean of the two in the middle.
pub(crate) fn medians(values: &[f64], window: usize) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).filter(|place| !values[*place].is_nan()).collect();
    order.sort_unstable_by(|left, right| values[*left].total_cmp(&values[*right]));
    let mut rank_of = vec![usize::MAX; values.len()];
    for (rank, place) in order.iter().enumerate() {
        rank_of[*place] = rank;
    }
    let value_of = |rank: usize| values[order[rank]];
    let mut middle = Middle::new(order.len());
    let mut result = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        if let Some(left) = place.checked_sub(window).filter(|left| !values[*left].is_nan()) {
            middle.remove(rank_of[left]);
        }
        if !value.is_nan() {
            middle.insert(rank_of[place]);
        }
        result.push(match middle.get() {
            None => f64::NAN,
            Some((lower, upper)) if lower == upper => value_of(lower),
            Some((lower, upper)) => (value_of(lower) + value_of(upper)) / 2.0,
        });
    }
    result
}

/// A set of ranks that knows its middle.
struct Middle {
    ranks: Ranks,
    len: usize,
    /// The member in the middle, the lower one of two; any number while there is none.
    lower: usize,
    /// How many members are below it.
    below: usize,
}

impl Middle {
    fn new(ranks: usize) -> Self {
        Self { ranks: Ranks::below(ranks), len: 0, lower: 0, below: 0 }
    }

    /// The members in the middle, which are the same when their number is odd.
    fn get(&self) -> Option<(usize, usize)> {
        match self.len {
            0 => None,
            len if len.is_multiple_of(2) => Some((self.lower, self.ranks.after(self.lower)?)),
            _ => Some((self.lower, self.lower)),
        }
    }

    /// Puts in a rank that is not in.
    fn insert(&mut self, rank: usize) {
        self.ranks.insert(rank);
        self.len += 1;
        if self.len == 1 {
            (self.lower, self.below) = (rank, 0);
            return;
        }
        self.below += usize::from(rank < self.lower);
        self.settle();
    }

    /// Takes out a rank that is in.
    fn remove(&mut self, rank: usize) {
        self.ranks.remove(rank);
        self.len -= 1;
        if rank < self.lower {
            self.below -= 1;
        } else if rank == self.lower {
            match (self.ranks.after(rank), self.ranks.before(rank)) {
                (Some(next), _) => self.lower = next,
                (None, Some(previous)) => {
                    self.lower = previous;
                    self.below -= 1;
                }
                (None, None) => {}
            }
        }
        self.settle();
    }

    /// Moves to the middle.
    fn settle(&mut self) {
        let wanted = self.len.saturating_sub(1) / 2;
        while self.below < wanted
            && let Some(next) = self.ranks.after(self.lower)
        {
            self.lower = next;
            self.below += 1;
        }
        while self.below > wanted
            && let Some(previous) = self.ranks.before(self.lower)
        {
            self.lower = previous;
            self.below -= 1;
        }
    }
}

/// A set of numbers below a bound: a bit each, and above them levels in which each bit says whether a word of the level below
/// has any, so that the neighbour of a number is found in a few steps however far away it is.
struct Ranks {
    levels: Vec<Vec<u64>>,
}

impl Ranks {
    fn below(bound: usize) -> Self {
        let mut levels = Vec::new();
        let mut len = bound;
        loop {
            len = len.div_ceil(64).max(1);
            levels.push(vec![0; len]);
            if len == 1 {
                return Self { levels };
            }
        }
    }

    fn insert(&mut self, mut number: usize) {
        for level in &mut self.levels {
            level[number / 64] |= 1 << (number % 64);
            number /= 64;
        }
    }

    fn remove(&mut self, mut number: usize) {
        for level in &mut self.levels {
            level[number / 64] &= !(1 << (number % 64));
            if level[number / 64] != 0 {
                return;
            }
            number /= 64;
        }
    }

    /// The least member above a number.
    fn after(&self, number: usize) -> Option<usize> {
        let mut word = number / 64;
        // What is above the bit itself; shifted in two steps, since there may be nothing.
        let mut bits = self.levels[0][word] & (!1 << (number % 64));
        let mut height = 0;
        while bits == 0 {
            height += 1;
            let place = word;
            word = place / 64;
            bits = self.levels.get(height)?[word] & (!1 << (place % 64));
        }
        loop {
            let member = word * 64 + bits.trailing_zeros() as usize;
            let Some(lower) = height.checked_sub(1) else { return Some(member) };
            (height, word, bits) = (lower, member, self.levels[lower][member]);
        }
    }

    /// The greatest member below a number.
    fn before(&self, number: usize) -> Option<usize> {
        let mut word = number / 64;
        let mut bits = self.levels[0][word] & ((1 << (number % 64)) - 1);
        let mut height = 0;
        while bits == 0 {
            height += 1;
            let place = word;
            word = place / 64;
            bits = self.levels.get(height)?[word] & ((1 << (place % 64)) - 1);
        }
        loop {
            let member = word * 64 + 63 - bits.leading_zeros() as usize;
            let Some(lower) = height.checked_sub(1) else { return Some(member) };
            (height, word, bits) = (lower, member, self.levels[lower][member]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn neighbours_are_those_of_a_set(
            bound in prop_oneof![1_usize..200, 4000_usize..5000, 262_000_usize..263_000],
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..60),
            asked in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
        ) {
            let mut ranks = Ranks::below(bound);
            let mut model = BTreeSet::new();
            for (number, comes) in changes {
                let number = number.index(bound);
                if comes {
                    ranks.insert(number);
                    model.insert(number);
                } else {
                    ranks.remove(number);
                    model.remove(&number);
                }
            }
            for number in asked {
                let number = number.index(bound);
                prop_assert_eq!(ranks.after(number), model.range(number + 1..).next().copied());
                prop_assert_eq!(ranks.before(number), model.range(..number).next_back().copied());
            }
        }

        #[test]
        fn every_window_has_its_middle(
            values in prop::collection::vec(prop_oneof![
                4 => (-5..5_i32).prop_map(f64::from),
                2 => -9.0..9.0_f64,
                2 => Just(f64::NAN),
                1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
            ], 0..300),
            window in prop_oneof![1_usize..20, 1_usize..400],
        ) {
            for (place, median) in medians(&values, window).into_iter().enumerate() {
                let mut present: Vec<f64> = values[(place + 1).saturating_sub(window)..=place].to_vec();
                present.retain(|value| !value.is_nan());
                present.sort_by(f64::total_cmp);
                let expected = match (present.len(), present.len() / 2) {
                    (0, _) => f64::NAN,
                    (len, middle) if len.is_multiple_of(2) => (present[middle - 1] + present[middle]) / 2.0,
                    (_, middle) => present[middle],
                };
                prop_assert_eq!(median.to_bits(), expected.to_bits(), "at {}", place);
            }
        }
    }
}
