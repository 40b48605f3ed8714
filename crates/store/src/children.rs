//! The children of one node of the tree of names, in the order of their texts.
//!
//! Most nodes have a few children and some have a million, so the list is cut into blocks once it is long: to insert moves
//! at most a block, and to find one is a search among blocks and then within one.

use std::cmp::Ordering;

use crate::SeriesId;
use crate::parts::PartId;

const MOST_IN_BLOCK: usize = 512;
/// Two neighbours that hold no more than this together become one.
const FEW_IN_TWO_BLOCKS: usize = MOST_IN_BLOCK / 2;
/// Set in the part of a child that is a leaf. There are fewer parts than 2^31: memory ends before.
const LEAF: u32 = 1 << 31;

/// A child: the part of a name that leads to it, and either a series without anything below, or a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    part: u32,
    target: u32,
}

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Leaf(SeriesId),
    Node(u32),
}

impl Target {
    pub(crate) const fn node(self) -> Option<u32> {
        match self {
            Self::Leaf(_) => None,
            Self::Node(node) => Some(node),
        }
    }
}

impl Child {
    pub(crate) const fn new(part: PartId, target: Target) -> Self {
        match target {
            Target::Leaf(id) => Self { part: part | LEAF, target: id },
            Target::Node(node) => Self { part, target: node },
        }
    }

    pub(crate) const fn part(self) -> PartId {
        self.part & !LEAF
    }

    pub(crate) const fn target(self) -> Target {
        if self.part & LEAF == 0 { Target::Node(self.target) } else { Target::Leaf(self.target) }
    }
}

/// The place of a child in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    block: usize,
    index: usize,
}

/// The list.
#[derive(Debug)]
pub(crate) enum Children {
    Few(Vec<Child>),
    /// Blocks, none of them empty.
    Many(Vec<Vec<Child>>),
}

impl Default for Children {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Children {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks().iter().all(Vec::is_empty)
    }

    fn blocks(&self) -> &[Vec<Child>] {
        match self {
            Self::Few(children) => std::slice::from_ref(children),
            Self::Many(blocks) => blocks,
        }
    }

    fn block_mut(&mut self, block: usize) -> &mut Vec<Child> {
        match self {
            Self::Few(children) => children,
            Self::Many(blocks) => &mut blocks[block],
        }
    }

    /// All of them, when they are few enough to be looked at one by one.
    pub(crate) fn as_short_slice(&self) -> Option<&[Child]> {
        const SHORT: usize = 32;
        match self {
            Self::Few(children) if children.len() <= SHORT => Some(children),
            _ => None,
        }
    }

    pub(crate) fn get(&self, position: Position) -> Option<Child> {
        self.blocks()[position.block].get(position.index).copied()
    }

    /// Puts another child in the place of one of the same part.
    pub(crate) fn set(&mut self, position: Position, child: Child) {
        self.block_mut(position.block)[position.index] = child;
    }

    pub(crate) fn last(&self) -> Option<(Position, Child)> {
        let blocks = self.blocks();
        let last = blocks.last()?;
        let index = last.len().checked_sub(1)?;
        Some((Position { block: blocks.len() - 1, index }, last[index]))
    }

    /// The end of the list.
    pub(crate) fn end(&self) -> Position {
        let blocks = self.blocks();
        Position { block: blocks.len() - 1, index: blocks.last().map_or(0, Vec::len) }
    }

    /// Where the child is that compares equal, or else where it would have to be.
    pub(crate) fn search(&self, mut compare: impl FnMut(PartId) -> Ordering) -> Result<Position, Position> {
        let blocks = self.blocks();
        let after = blocks.partition_point(|block| block.first().is_some_and(|child| compare(child.part()).is_le()));
        let block = after.saturating_sub(1);
        match blocks[block].binary_search_by(|child| compare(child.part())) {
            Ok(index) => Ok(Position { block, index }),
            Err(index) => Err(Position { block, index }),
        }
    }

    /// Those from a position on.
    pub(crate) fn iter_from(&self, position: Position) -> impl Iterator<Item = Child> {
        let blocks = &self.blocks()[position.block..];
        blocks.iter().flatten().skip(position.index).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Child> {
        self.blocks().iter().flatten().copied()
    }

    /// The neighbours of a position where nothing is: the child before it and the one at it.
    pub(crate) fn around(&self, position: Position) -> (Option<Child>, Option<Child>) {
        let blocks = self.blocks();
        let before = match position.index.checked_sub(1) {
            Some(index) => blocks[position.block].get(index),
            None => position.block.checked_sub(1).and_then(|block| blocks[block].last()),
        };
        let after = match blocks[position.block].get(position.index) {
            Some(child) => Some(child),
            None => blocks.get(position.block + 1).and_then(|block| block.first()),
        };
        (before.copied(), after.copied())
    }

    /// Puts a child where it belongs, by what [`Children::search`] said.
    pub(crate) fn insert(&mut self, position: Position, child: Child) {
        let block = self.block_mut(position.block);
        if block.len() < MOST_IN_BLOCK {
            block.insert(position.index, child);
            return;
        }
        if let Self::Few(children) = self {
            *self = Self::Many(vec![std::mem::take(children)]);
        }
        let Self::Many(blocks) = self else { return };
        let is_end = position.block + 1 == blocks.len() && position.index == MOST_IN_BLOCK;
        // What comes in order fills its blocks.
        let half = if is_end { MOST_IN_BLOCK } else { MOST_IN_BLOCK / 2 };
        let mut upper = blocks[position.block].split_off(half);
        if position.index > half || is_end {
            upper.insert(position.index - half, child);
        } else {
            blocks[position.block].insert(position.index, child);
        }
        blocks.insert(position.block + 1, upper);
    }

    /// Takes a child out.
    pub(crate) fn remove(&mut self, position: Position) {
        let block = self.block_mut(position.block);
        block.remove(position.index);
        if block.len() * 4 < block.capacity() {
            block.shrink_to(block.len() * 2);
        }
        if let Self::Many(blocks) = self {
            let first = position.block.min(blocks.len() - 2);
            if blocks[first].len() + blocks[first + 1].len() <= FEW_IN_TWO_BLOCKS {
                let mut upper = blocks.remove(first + 1);
                blocks[first].append(&mut upper);
            } else if blocks[position.block].is_empty() {
                blocks.remove(position.block);
            }
            if blocks.len() == 1 {
                *self = Self::Few(blocks.pop().unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn insert(children: &mut Children, part: u32) {
        if let Err(position) = children.search(|other| other.cmp(&part)) {
            let (before, after) = children.around(position);
            assert!(before.is_none_or(|child| child.part() < part) && after.is_none_or(|child| child.part() > part));
            children.insert(position, Child::new(part, Target::Leaf(part)));
        }
    }

    fn parts(children: &Children) -> Vec<u32> {
        children.iter().map(Child::part).collect()
    }

    #[test]
    fn a_child_is_small() {
        assert_eq!(size_of::<Child>(), 8);
        assert_eq!(Child::new(3, Target::Leaf(u32::MAX)).target(), Target::Leaf(u32::MAX));
        assert_eq!(Child::new(3, Target::Node(1)).part(), 3);
    }

    #[test]
    fn children_that_come_in_order_fill_their_blocks() {
        let mut children = Children::default();
        (0..5000).for_each(|part| insert(&mut children, part));
        assert_eq!(children.blocks().len(), 10);
        assert_eq!(children.last().map(|(_, child)| child.part()), Some(4999));
        let from = children.search(|other| other.cmp(&4000)).unwrap();
        assert_eq!(children.iter_from(from).map(Child::part).collect::<Vec<_>>(), (4000..5000).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn children_are_in_order_whatever_comes_and_goes(
            steps in prop::collection::vec((0_u32..10_000, 0_u32..2000), 1..12),
            gone in prop::collection::vec((0_u32..10_000, 0_u32..4000), 0..12),
        ) {
            let (mut children, mut model) = (Children::default(), BTreeSet::new());
            // Scattered runs of numbers, so that blocks are split everywhere.
            for (first, count) in steps {
                for part in (first..first + count).map(|part| part.wrapping_mul(7919) % 20_000) {
                    insert(&mut children, part);
                    model.insert(part);
                }
            }
            prop_assert_eq!(parts(&children), model.iter().copied().collect::<Vec<_>>());
            for (first, count) in gone {
                for part in first..first + count {
                    let found = children.search(|other| other.cmp(&part));
                    prop_assert_eq!(found.is_ok(), model.remove(&part));
                    if let Ok(position) = found {
                        children.remove(position);
                    }
                }
            }
            prop_assert_eq!(parts(&children), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(children.is_empty(), model.is_empty());
        }
    }
}
