//! The names of untagged series as a tree of their dotted parts, which is how Graphite's users see them.
//!
//! A pattern is walked level by level: a literal part goes straight to its child, a glob looks at the children of one
//! node, and a name that cannot match is never seen.

use std::collections::BTreeMap;

use statline_series::pattern::Part;

use crate::SeriesId;

const ROOT: u32 = 0;

#[derive(Debug, Default)]
struct TrieNode {
    children: BTreeMap<Box<str>, u32>,
    series: Option<SeriesId>,
}

/// A node that a pattern led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: String,
    node: u32,
}

/// The tree. Nodes live in one vector and name each other by their places in it.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<TrieNode>,
    free: Vec<u32>,
}

impl Default for Trie {
    /// The root alone.
    fn default() -> Self {
        Self { nodes: vec![TrieNode::default()], free: Vec::new() }
    }
}

impl Trie {
    pub(crate) fn insert(&mut self, path: &str, id: SeriesId) {
        let mut node = ROOT;
        for part in path.split('.') {
            node = match self.nodes[node as usize].children.get(part) {
                Some(child) => *child,
                None => self.add_child(node, part),
            };
        }
        self.nodes[node as usize].series = Some(id);
    }

    fn add_child(&mut self, parent: u32, part: &str) -> u32 {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(TrieNode::default());
            // There are fewer nodes than 2^32: a series has at most 64, and memory ends long before.
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
        });
        self.nodes[parent as usize].children.insert(part.into(), child);
        child
    }

    /// Takes a series out, and the branches that led to it alone.
    pub(crate) fn remove(&mut self, path: &str) {
        let mut way = Vec::new();
        let mut node = ROOT;
        for part in path.split('.') {
            let Some(child) = self.nodes[node as usize].children.get(part) else { return };
            way.push((node, part));
            node = *child;
        }
        self.nodes[node as usize].series = None;
        while let Some((parent, part)) = way.pop() {
            let emptied = &self.nodes[node as usize];
            if emptied.series.is_some() || !emptied.children.is_empty() {
                return;
            }
            self.free.push(node);
            self.nodes[parent as usize].children.remove(part);
            node = parent;
        }
    }

    /// The nodes that a pattern leads to, with their paths.
    pub(crate) fn find(&self, parts: &[Part]) -> Vec<Found> {
        let mut level = vec![Found { path: String::new(), node: ROOT }];
        for part in parts {
            let mut next = Vec::new();
            for found in level {
                self.for_each_child(found.node, part, |name, node| {
                    let path = if found.node == ROOT { name.to_owned() } else { format!("{}.{name}", found.path) };
                    next.push(Found { path, node });
                });
            }
            level = next;
        }
        level
    }

    /// The series that a pattern names.
    pub(crate) fn series(&self, parts: &[Part]) -> Vec<SeriesId> {
        let mut level = vec![ROOT];
        for part in parts {
            let mut next = Vec::new();
            for node in level {
                self.for_each_child(node, part, |_, child| next.push(child));
            }
            level = next;
        }
        level.into_iter().filter_map(|node| self.nodes[node as usize].series).collect()
    }

    fn for_each_child(&self, node: u32, part: &Part, mut visit: impl FnMut(&str, u32)) {
        let children = &self.nodes[node as usize].children;
        match part {
            Part::Literal(literal) => {
                if let Some(child) = children.get(literal.as_str()) {
                    visit(literal, *child);
                }
            }
            Part::Glob(_) => {
                for (name, child) in children {
                    if part.matches(name) {
                        visit(name, *child);
                    }
                }
            }
        }
    }

    /// The series that ends at a node.
    pub(crate) fn series_at(&self, found: &Found) -> Option<SeriesId> {
        self.nodes[found.node as usize].series
    }

    /// Whether some series below a node passes.
    pub(crate) fn any_below(&self, found: &Found, passes: impl Fn(SeriesId) -> bool) -> bool {
        let mut waiting: Vec<u32> = self.nodes[found.node as usize].children.values().copied().collect();
        while let Some(node) = waiting.pop() {
            let node = &self.nodes[node as usize];
            if node.series.is_some_and(&passes) {
                return true;
            }
            waiting.extend(node.children.values());
        }
        false
    }
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
        assert_eq!(trie.nodes.len(), 6, "freed nodes are used again");
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_comparing_every_name_finds(
            paths in prop::collection::btree_set("[ab]{1,2}(\\.[ab]{1,2}){0,2}", 0..12),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            pattern in "([ab*?]{1,2}|\\{a,b\\}|\\[a\\]b)(\\.[ab*]{1,2}){0,2}",
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
            let mut found: Vec<&str> = trie.series(pattern.parts()).into_iter().map(|id| all[id as usize].as_str()).collect();
            found.sort_unstable();
            prop_assert_eq!(found, left.iter().map(String::as_str).filter(|path| pattern.matches(path)).collect::<Vec<_>>());
        }
    }
}
