//! `/metrics/find`: one level of the tree of paths, in the forms that graphite-web 1.1.10 has for it.
//!
//! A path that is a series and goes on below is two nodes there, a branch and then a leaf; in `treejson`, where each name
//! stands once, it is a branch.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::json;
use statline_flight::action::Span;
use statline_store::Node;

use super::Shared;
use super::params::Params;
use super::reply::{Style, uncached};
use crate::clock;
use crate::engine::{Lifetime, QueryError};

/// Handles GET and POST.
pub async fn find(State(shared): State<Shared>, params: Params) -> Response {
    match answer(&shared, &params).await {
        Ok(response) => uncached(response),
        Err(error) => error.into_response(),
    }
}

/// The span of time in which series count, by `from` and `until`; none of them, or -1, is unbounded.
pub(super) fn span(shared: &Shared, params: &Params) -> Result<Span, QueryError> {
    let compat = shared.engine.limits().compat;
    let now = params.instant("now", clock::now(), compat)?.unwrap_or_else(clock::now);
    let instant = |name: &str| match params.get(name) {
        Some("-1") => Ok(None),
        _ => params.instant(name, now, compat),
    };
    // Graphite's `until` is included, a span's is not.
    Ok(Span { from: instant("from")?, until: instant("until")?.map(|until| until.offset(1)) })
}

async fn answer(shared: &Shared, params: &Params) -> Result<Response, QueryError> {
    let asked = Asked::read(params)?;
    let span = span(shared, params)?;
    let mut found = shared.engine.nodes(&asked.pattern(), span.range()).await?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let entries = entries(&found, asked.leaves_only);
    Ok(match asked.format {
        Format::TreeJson => asked.style.json(&tree(&entries, &asked)),
        Format::Completer => asked.style.json(&json!({ "metrics": completions(&entries, asked.wildcards) })),
        Format::NodeList => asked.style.json(&json!({ "nodes": parts(&entries, asked.position)? })),
        Format::Json | Format::Pickle | Format::Msgpack => {
            let leaves: Vec<&str> = entries.iter().filter(|entry| entry.leaf).map(Entry::path).collect();
            let lifetimes = shared.engine.lifetimes(&leaves).await?;
            let mut rows: Vec<Row<'_>> = entries.iter().map(|entry| Row::of(entry, &lifetimes)).collect();
            match asked.format {
                Format::Pickle => {
                    binary("application/pickle", serde_pickle::to_vec(&rows, serde_pickle::SerOptions::new()))?
                }
                Format::Msgpack => binary("application/x-msgpack", rmp_serde::to_vec_named(&rows))?,
                _ => {
                    rows.sort_by(|one, other| one.path.cmp(other.path));
                    let named: Vec<NamedRow<'_>> = rows.iter().map(NamedRow::of).collect();
                    asked.style.json(&named)
                }
            }
        }
    })
}

fn binary<E: std::fmt::Display>(kind: &'static str, bytes: Result<Vec<u8>, E>) -> Result<Response, QueryError> {
    let bytes = bytes.map_err(|error| QueryError::Internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    TreeJson,
    Completer,
    Json,
    NodeList,
    Pickle,
    Msgpack,
}

/// What was asked.
#[derive(Debug)]
struct Asked {
    query: String,
    format: Format,
    /// Whether a node that stands for all of them is added.
    wildcards: bool,
    leaves_only: bool,
    /// Which part of the paths a list of nodes is made of; a negative one counts from the end.
    position: i64,
    /// Whether commas outside braces are choices.
    variants: bool,
    style: Style,
}

impl Asked {
    fn read(params: &Params) -> Result<Self, QueryError> {
        let format = match params.get("format").unwrap_or("treejson") {
            "treejson" => Format::TreeJson,
            "completer" => Format::Completer,
            "json" => Format::Json,
            "nodelist" => Format::NodeList,
            "pickle" => Format::Pickle,
            "msgpack" => Format::Msgpack,
            other => {
                return Err(QueryError::Bad(format!(
                    "format is {other:?}; expected treejson, completer, json, nodelist, pickle or msgpack"
                )));
            }
        };
        let Some(query) = params.get("query") else {
            return Err(QueryError::Bad(
                "the parameter query is missing; expected a path such as stats.gauges.*".to_owned(),
            ));
        };
        Ok(Self {
            query: query.to_owned(),
            format,
            wildcards: params.switch("wildcards")?,
            leaves_only: params.switch("leavesOnly")?,
            position: params.whole("position", -1)?,
            variants: params.switch("automatic_variants")?,
            style: Style::of(params)?,
        })
    }

    /// What is looked for: the query, or for a completer what it may become.
    fn pattern(&self) -> Cow<'_, str> {
        if self.format != Format::Completer {
            return Cow::Borrowed(&self.query);
        }
        let mut pattern = self.query.replace("..", "*.");
        if !pattern.ends_with('*') {
            pattern.push('*');
        }
        if self.variants {
            let choices = |part: &str| {
                if part.contains(',') && !part.contains('{') { format!("{{{part}}}") } else { part.to_owned() }
            };
            pattern = pattern.split('.').map(choices).collect::<Vec<_>>().join(".");
        }
        Cow::Owned(pattern)
    }

    /// The query up to the last dot outside braces, which stands before the name of each node, globs and all.
    fn base(&self) -> &str {
        let mut depth = 0_usize;
        let mut end = 0;
        for (at, byte) in self.query.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                b'.' if depth == 0 => end = at + 1,
                _ => {}
            }
        }
        &self.query[..end]
    }
}

/// A node as a branch or as a leaf.
struct Entry<'a> {
    node: &'a Node,
    leaf: bool,
}

impl<'a> Entry<'a> {
    fn path(&self) -> &'a str {
        &self.node.path
    }
}

fn entries(nodes: &[Node], leaves_only: bool) -> Vec<Entry<'_>> {
    let mut entries = Vec::with_capacity(nodes.len());
    for node in nodes {
        if node.has_children && !leaves_only {
            entries.push(Entry { node, leaf: false });
        }
        if node.is_leaf {
            entries.push(Entry { node, leaf: true });
        }
    }
    entries
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TreeNode {
    text: String,
    id: String,
    allow_children: u8,
    expandable: u8,
    leaf: u8,
}

impl TreeNode {
    fn new(text: String, id: String, leaf: bool) -> Self {
        let branch = u8::from(!leaf);
        Self { text, id, allow_children: branch, expandable: branch, leaf: u8::from(leaf) }
    }
}

/// The node of all, if it is wanted and there are others; branches; leaves.
fn tree(entries: &[Entry<'_>], asked: &Asked) -> Vec<TreeNode> {
    let base = asked.base();
    let mut tree = Vec::new();
    if asked.wildcards && entries.len() > 1 {
        tree.push(TreeNode::new("*".to_owned(), format!("{base}*"), entries.iter().all(|entry| entry.leaf)));
    }
    let mut found = HashSet::new();
    let mut leaves = Vec::new();
    for entry in entries {
        let name = entry.node.name.as_str();
        if !found.insert(name) {
            continue;
        }
        // The key of a tagged series is no path that could be put together.
        let id = if asked.query.contains(';') { entry.path().to_owned() } else { format!("{base}{name}") };
        let node = TreeNode::new(unquoted(name), id, entry.leaf);
        if entry.leaf { leaves.push(node) } else { tree.push(node) }
    }
    tree.append(&mut leaves);
    tree
}

/// A name as it is shown: some clients send names as they are in a URL.
fn unquoted(name: &str) -> String {
    percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Completion<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_leaf: Option<&'static str>,
}

fn completions<'a>(entries: &[Entry<'a>], wildcards: bool) -> Vec<Completion<'a>> {
    let completion = |entry: &Entry<'a>| {
        let dot = if entry.leaf { "" } else { "." };
        let path = Some(format!("{}{dot}", entry.path()));
        Completion { path, name: &entry.node.name, is_leaf: Some(if entry.leaf { "1" } else { "0" }) }
    };
    let mut completions: Vec<_> = entries.iter().map(completion).collect();
    if wildcards && completions.len() > 1 {
        completions.push(Completion { path: None, name: "*", is_leaf: None });
    }
    completions
}

/// One part of each path, each once.
fn parts<'a>(entries: &[Entry<'a>], position: i64) -> Result<BTreeSet<&'a str>, QueryError> {
    let part = |entry: &Entry<'a>| {
        let at = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
        let path = entry.path();
        let part = if position < 0 { path.rsplit('.').nth(at - 1) } else { path.split('.').nth(at) };
        part.ok_or_else(|| QueryError::Bad(format!("position is {position}, and {path} has no such part")))
    };
    entries.iter().map(part).collect()
}

/// A node for another server. The spans are in seconds since the epoch.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row<'a> {
    path: &'a str,
    is_leaf: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<Vec<(i64, i64)>>,
}

impl<'a> Row<'a> {
    fn of(entry: &Entry<'a>, lifetimes: &HashMap<String, Lifetime>) -> Self {
        let path = entry.path();
        let interval = |(from, until): &Lifetime| (from.seconds(), until.seconds());
        let intervals = entry.leaf.then(|| lifetimes.get(path).map(interval).into_iter().collect());
        Self { path, is_leaf: entry.leaf, intervals }
    }
}

/// The same with names for the ends of a span.
#[derive(Debug, Serialize)]
struct NamedRow<'a> {
    path: &'a str,
    is_leaf: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<Vec<Interval>>,
}

#[derive(Debug, Serialize)]
struct Interval {
    start: i64,
    end: i64,
}

impl<'a> NamedRow<'a> {
    fn of(row: &Row<'a>) -> Self {
        let named = |intervals: &Vec<(i64, i64)>| {
            intervals.iter().map(|(start, end)| Interval { start: *start, end: *end }).collect()
        };
        Self { path: row.path, is_leaf: row.is_leaf, intervals: row.intervals.as_ref().map(named) }
    }
}
