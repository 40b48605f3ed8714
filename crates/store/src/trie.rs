//! The names of untagged series as a tree of their dotted parts, which is how Graphite's users see them.
//!
//! A pattern is walked level by level: a literal part goes straight to its child, a glob looks at those children of one
//! node that begin as it does, and a name that cannot match is never seen. Children are in the order of their texts, so
//! that what a walk finds is in the order of names.

use std::cell::Cell;
use std::cmp::Ordering;

use statline_series::pattern::{Glob, Part};

use crate::SeriesId;
use crate::children::{Child, Children, Position, Target};
use crate::parts::{PartId, Parts};

const ROOT: u32 = 0;

#[derive(Debug, Default)]
struct TrieNode {
    children: Children,
    series: Option<SeriesId>,
    /// Whether the children may be in another order once a dot follows each: `a-b` comes after `a`, but `a-b.` before
    /// `a.`.
    dots_reorder: bool,
}

/// A node that a pattern led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: String,
    target: Target,
}

/// What is looked for among the children of each node of a level.
enum Wanted<'a> {
    Literal(PartId, &'a str),
    Any,
    Glob(&'a Glob, Verdicts),
}

/// What a glob said of the parts it saw last. The same few parts are often below thousands of nodes.
struct Verdicts(Box<[Cell<(PartId, bool)>]>);

impl Verdicts {
    const REMEMBERED: usize = 1024;

    fn new() -> Self {
        // No part has this number.
        Self(vec![Cell::new((PartId::MAX, false)); Self::REMEMBERED].into())
    }

    fn of(&self, part: PartId, judge: impl FnOnce() -> bool) -> bool {
        let cell = &self.0[part as usize % Self::REMEMBERED];
        let (known, verdict) = cell.get();
        if known == part {
            return verdict;
        }
        let verdict = judge();
        cell.set((part, verdict));
        verdict
    }
}

/// The tree. Nodes live in one vector and name each other by their places in it; a series with nothing below has no node.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<TrieNode>,
    free: Vec<u32>,
    parts: Parts,
}

impl Default for Trie {
    /// The root alone.
    fn default() -> Self {
        Self { nodes: vec![TrieNode::default()], free: Vec::new(), parts: Parts::default() }
    }
}

impl Trie {
    pub(crate) fn insert(&mut self, path: &str, id: SeriesId) {
        let mut node = ROOT;
        let mut texts = path.split('.').peekable();
        while let Some(text) = texts.next() {
            let is_last = texts.peek().is_none();
            match self.search(node, text) {
                Ok((position, child)) => match child.target() {
                    Target::Node(next) => node = next,
                    Target::Leaf(_) if is_last => {
                        let leaf = Child::new(child.part(), Target::Leaf(id));
                        self.nodes[node as usize].children.set(position, leaf);
                        return;
                    }
                    Target::Leaf(series) => {
                        let next = self.add_node(Some(series));
                        let branch = Child::new(child.part(), Target::Node(next));
                        self.nodes[node as usize].children.set(position, branch);
                        node = next;
                    }
                },
                Err(position) if is_last => {
                    self.add_child(node, position, text, Target::Leaf(id));
                    return;
                }
                Err(position) => {
                    let next = self.add_node(None);
                    self.add_child(node, position, text, Target::Node(next));
                    node = next;
                }
            }
        }
        self.nodes[node as usize].series = Some(id);
    }

    fn add_node(&mut self, series: Option<SeriesId>) -> u32 {
        let node = TrieNode { series, ..TrieNode::default() };
        if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = node;
            return free;
        }
        self.nodes.push(node);
        // There are fewer nodes than 2^32: a series has at most 64, and memory ends long before.
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    fn add_child(&mut self, parent: u32, position: Position, text: &str, target: Target) {
        let part = self.parts.take(text);
        let node = &mut self.nodes[parent as usize];
        let (before, after) = node.children.around(position);
        let bytes = |child: Child| self.parts.bytes(child.part());
        // When two children change places, so do two neighbours.
        node.dots_reorder |= before.is_some_and(|before| compare_dotted(bytes(before), text.as_bytes()).is_gt())
            || after.is_some_and(|after| compare_dotted(text.as_bytes(), bytes(after)).is_gt());
        node.children.insert(position, Child::new(part, target));
    }

    /// Where a child is, and it, or else where it would be.
    fn search(&self, node: u32, text: &str) -> Result<(Position, Child), Position> {
        let children = &self.nodes[node as usize].children;
        let compare = |part| self.parts.bytes(part).cmp(text.as_bytes());
        // What comes in order belongs to the last child or after it.
        let position = match children.last().map(|(position, child)| (position, compare(child.part()))) {
            None | Some((_, Ordering::Less)) => return Err(children.end()),
            Some((position, Ordering::Equal)) => position,
            Some((_, Ordering::Greater)) => children.search(compare)?,
        };
        children.get(position).map(|child| (position, child)).ok_or(position)
    }

    /// Takes a series out, and the branches that led to it alone.
    pub(crate) fn remove(&mut self, path: &str) {
        let mut way = Vec::new();
        let mut node = ROOT;
        let mut texts = path.split('.').peekable();
        while let Some(text) = texts.next() {
            let Ok((position, child)) = self.search(node, text) else { return };
            way.push((node, position, child));
            match child.target() {
                Target::Node(next) => node = next,
                Target::Leaf(_) if texts.peek().is_none() => break,
                Target::Leaf(_) => return,
            }
        }
        if let Some(Target::Node(end)) = way.last().map(|(_, _, child)| child.target()) {
            self.nodes[end as usize].series = None;
        }
        while let Some((parent, position, child)) = way.pop() {
            let series = match child.target() {
                Target::Leaf(_) => None,
                Target::Node(node) if self.nodes[node as usize].children.is_empty() => {
                    self.free.push(node);
                    std::mem::take(&mut self.nodes[node as usize]).series
                }
                Target::Node(_) => return,
            };
            let children = &mut self.nodes[parent as usize].children;
            if let Some(series) = series {
                children.set(position, Child::new(child.part(), Target::Leaf(series)));
                return;
            }
            children.remove(position);
            self.parts.release(child.part());
        }
    }

    /// The nodes that a pattern leads to, with their paths.
    pub(crate) fn find(&self, parts: &[Part]) -> Vec<Found> {
        let mut level = vec![Found { path: String::new(), target: Target::Node(ROOT) }];
        for part in parts {
            let Some(wanted) = self.wanted(part) else { return Vec::new() };
            let mut next = Vec::new();
            for found in level {
                let Target::Node(node) = found.target else { continue };
                self.for_each_child(node, &wanted, |child| {
                    let name = self.parts.text(child.part());
                    let path = if node == ROOT { name.to_owned() } else { format!("{}.{name}", found.path) };
                    next.push(Found { path, target: child.target() });
                });
            }
            level = next;
        }
        level
    }

    /// The series that a pattern names, in the order of their names.
    pub(crate) fn series(&self, parts: &[Part]) -> Vec<SeriesId> {
        let Some((last, inner)) = parts.split_last() else { return Vec::new() };
        let mut level = vec![ROOT];
        for part in inner {
            let Some(wanted) = self.wanted(part) else { return Vec::new() };
            level = self.nodes_below(&level, &wanted);
        }
        let Some(wanted) = self.wanted(last) else { return Vec::new() };
        let mut series = Vec::new();
        for node in level {
            self.for_each_child(node, &wanted, |child| series.extend(self.series_of(child.target())));
        }
        series
    }

    fn nodes_below(&self, level: &[u32], wanted: &Wanted) -> Vec<u32> {
        let mut next = Vec::new();
        for node in level {
            if self.nodes[*node as usize].dots_reorder {
                let mut children = Vec::new();
                self.for_each_child(*node, wanted, |child| children.push(child));
                let bytes = |child: &Child| self.parts.bytes(child.part());
                children.sort_by(|left, right| compare_dotted(bytes(left), bytes(right)));
                next.extend(children.into_iter().filter_map(|child| child.target().node()));
            } else {
                self.for_each_child(*node, wanted, |child| next.extend(child.target().node()));
            }
        }
        next
    }

    /// `None` when no name has such a part.
    fn wanted<'a>(&self, part: &'a Part) -> Option<Wanted<'a>> {
        match part {
            Part::Literal(literal) => self.parts.find(literal).map(|part| Wanted::Literal(part, literal)),
            Part::Glob(glob) if glob.is_any() => Some(Wanted::Any),
            Part::Glob(glob) => Some(Wanted::Glob(glob, Verdicts::new())),
        }
    }

    /// Visits the children that are wanted, in the order of their texts.
    fn for_each_child(&self, node: u32, wanted: &Wanted, visit: impl FnMut(Child)) {
        let children = &self.nodes[node as usize].children;
        match wanted {
            Wanted::Literal(part, literal) => {
                let found = match children.as_short_slice() {
                    Some(children) => children.iter().copied().find(|child| child.part() == *part),
                    None => self.search(node, literal).ok().map(|(_, child)| child),
                };
                found.into_iter().for_each(visit);
            }
            Wanted::Any => children.iter().for_each(visit),
            Wanted::Glob(glob, verdicts) => {
                let passes = |part| verdicts.of(part, || glob.matches(self.parts.text(part)));
                let prefix = glob.prefix().as_bytes();
                if prefix.is_empty() || children.as_short_slice().is_some() {
                    children.iter().filter(|child| passes(child.part())).for_each(visit);
                    return;
                }
                let (Ok(first) | Err(first)) = children.search(|part| self.parts.bytes(part).cmp(prefix));
                let beginning =
                    children.iter_from(first).take_while(|child| self.parts.bytes(child.part()).starts_with(prefix));
                beginning.filter(|child| passes(child.part())).for_each(visit);
            }
        }
    }

    /// The series that ends at a node.
    pub(crate) fn series_at(&self, found: &Found) -> Option<SeriesId> {
        self.series_of(found.target)
    }

    fn series_of(&self, target: Target) -> Option<SeriesId> {
        match target {
            Target::Leaf(id) => Some(id),
            Target::Node(node) => self.nodes[node as usize].series,
        }
    }

    /// Whether some series below a node passes.
    pub(crate) fn any_below(&self, found: &Found, passes: impl Fn(SeriesId) -> bool) -> bool {
        found.target.node().is_some_and(|node| self.any_below_node(node, &passes))
    }

    /// As deep as the tree, which is no deeper than half the longest key.
    fn any_below_node(&self, node: u32, passes: &impl Fn(SeriesId) -> bool) -> bool {
        self.nodes[node as usize].children.iter().any(|child| {
            let target = child.target();
            self.series_of(target).is_some_and(passes)
                || target.node().is_some_and(|node| self.any_below_node(node, passes))
        })
    }
}

/// How two parts compare when a dot follows each.
fn compare_dotted(left: &[u8], right: &[u8]) -> Ordering {
    let common = left.len().min(right.len());
    let next = |text: &[u8]| text.get(common).copied().unwrap_or(b'.');
    left[..common].cmp(&right[..common]).then_with(|| next(left).cmp(&next(right)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statline_series::PathPattern;
    use std::collections::BTreeSet;

    fn trie(paths: &[&str]) -> Trie {
        let mut trie = Trie::default();
        for (id, path) in (0..).zip(paths) {
            trie.insert(path, id);
        }
        trie
    }

    fn find(trie: &Trie, pattern: &str) -> Vec<(String, bool, bool)> {
        let found = trie.find(PathPattern::parse(pattern).unwrap().parts());
        found
            .iter()
            .map(|node| (node.path.clone(), trie.series_at(node).is_some(), trie.any_below(node, |_| true)))
            .collect()
    }

    #[test]
    fn a_node_may_be_a_series_and_a_branch() {
        let trie = trie(&["a.b", "a.b.c", "a.d.e", "x"]);
        assert_eq!(find(&trie, "a.*"), [("a.b".into(), true, true), ("a.d".into(), false, true)]);
        assert_eq!(find(&trie, "*"), [("a".into(), false, true), ("x".into(), true, false)]);
        assert_eq!(find(&trie, "a.b.c"), [("a.b.c".into(), true, false)]);
        assert_eq!(find(&trie, "a.b.c.d"), []);
    }

    #[test]
    fn removal_leaves_no_empty_branch() {
        let mut trie = trie(&["a.b", "a.b.c", "a.d.e"]);
        trie.remove("a.d.e");
        trie.remove("a.nothing.here");
        assert_eq!(find(&trie, "a.*"), [("a.b".into(), true, true)]);
        trie.remove("a.b");
        assert_eq!(find(&trie, "a.*"), [("a.b".into(), false, true)]);
        trie.remove("a.b.c");
        assert_eq!(find(&trie, "*"), []);
        trie.insert("z.y", 9);
        assert_eq!((trie.nodes.len(), trie.parts.len()), (4, 2), "freed nodes are used again");
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_comparing_every_name_finds(
            paths in prop::collection::btree_set("[ab-]{1,2}(\\.[ab-]{1,2}){0,2}", 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            pattern in "([ab*?-]{1,2}|\\{a,b\\}|\\[a\\]b)(\\.[ab*-]{1,2}){0,2}",
        ) {
            let mut left: BTreeSet<String> = paths;
            let all: Vec<String> = left.iter().cloned().collect();
            let mut trie = trie(&all.iter().map(String::as_str).collect::<Vec<_>>());
            for index in removed.iter().filter(|_| !all.is_empty()) {
                let path = &all[index.index(all.len())];
                trie.remove(path);
                left.remove(path);
            }
            let pattern = PathPattern::parse(&pattern).unwrap();
            let found: Vec<&str> = trie.series(pattern.parts()).into_iter().map(|id| all[id as usize].as_str()).collect();
            prop_assert_eq!(found, left.iter().map(String::as_str).filter(|path| pattern.matches(path)).collect::<Vec<_>>());
        }
    }
}
