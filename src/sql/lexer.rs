//! Just as much of PostgreSQL's lexical structure as is needed to find macros and nothing else: quotes, dollar quotes,
//! comments and parentheses.
//!
//! See chapter 4.1 of PostgreSQL's manual. Pieces come back as slices, so that everything that is not a macro is passed on
//! to the letter.

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Anything that is passed on as it is: code, quoted names, comments.
    Text(&'a str),
    /// A string constant with its quotes, in which variables are replaced but no macro is called.
    Quoted(&'a str),
    /// `$__name`, without the `$__`, and what stands in the parentheses behind it, if there are any.
    Macro {
        /// The name.
        name: &'a str,
        /// The text between its parentheses.
        arguments: Option<&'a str>,
    },
}

/// A parenthesis or a quote that is never closed, and where it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclosed {
    /// What is missing its end.
    pub what: &'static str,
    /// The byte at which it begins.
    pub offset: usize,
}

/// Splits a statement into its pieces. A quote that is never closed is left for PostgreSQL to complain of.
///
/// # Errors
/// When the parentheses of a macro are never closed.
pub fn pieces(sql: &str) -> Result<Vec<Piece<'_>>, Unclosed> {
    let mut pieces = Vec::new();
    let mut plain_from = 0;
    let mut at = 0;
    while at < sql.len() {
        if let Some(rest) = sql[at..].strip_prefix("$__") {
            if plain_from < at {
                pieces.push(Piece::Text(&sql[plain_from..at]));
            }
            let name_length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            let name = &rest[..name_length];
            at += 3 + name_length;
            let mut arguments = None;
            if sql[at..].starts_with('(') {
                let end =
                    closing_parenthesis(sql, at).ok_or(Unclosed { what: "the parenthesis of a macro", offset: at })?;
                arguments = Some(&sql[at + 1..end]);
                at = end + 1;
            }
            pieces.push(Piece::Macro { name, arguments });
            plain_from = at;
            continue;
        }
        let length = opaque_length(sql, at);
        if length > 1 && is_string(&sql[at..]) {
            if plain_from < at {
                pieces.push(Piece::Text(&sql[plain_from..at]));
            }
            pieces.push(Piece::Quoted(&sql[at..at + length]));
            plain_from = at + length;
        }
        at += length;
    }
    if plain_from < sql.len() {
        pieces.push(Piece::Text(&sql[plain_from..]));
    }
    Ok(pieces)
}

/// The arguments of a macro, at the commas that no quote and no parenthesis encloses.
pub fn arguments(text: &str) -> Vec<&str> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut arguments = Vec::new();
    let (mut from, mut at, mut depth) = (0, 0, 0_usize);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                arguments.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
        at += opaque_length(text, at);
    }
    arguments.push(text[from..].trim());
    arguments
}

/// Where the parenthesis that opens at `open` closes.
fn closing_parenthesis(sql: &str, open: usize) -> Option<usize> {
    let (mut at, mut depth) = (open, 0_usize);
    while at < sql.len() {
        match sql.as_bytes()[at] {
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += opaque_length(sql, at);
    }
    None
}

/// Whether a string constant begins here, rather than a quoted name or a comment.
fn is_string(sql: &str) -> bool {
    sql.starts_with('\'') || sql.starts_with('$')
}

/// How far the quote or comment that begins at `at` reaches; a plain character reaches as far as itself.
fn opaque_length(sql: &str, at: usize) -> usize {
    let rest = &sql[at..];
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'\'' => quoted_length(rest, b'\'', is_escape_string(sql, at)),
        b'"' => quoted_length(rest, b'"', false),
        b'-' if bytes.get(1) == Some(&b'-') => rest.find('\n').unwrap_or(rest.len()),
        b'/' if bytes.get(1) == Some(&b'*') => comment_length(rest),
        b'$' if !precedes_identifier(sql, at) => dollar_quoted_length(rest),
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// A quote within is doubled or, in an escape string, has a backslash before it.
fn quoted_length(rest: &str, quote: u8, escapes: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Whether the quote at `at` belongs to `E'…'`.
fn is_escape_string(sql: &str, at: usize) -> bool {
    let before = &sql.as_bytes()[..at];
    matches!(before.last(), Some(b'e' | b'E'))
        && !before[..before.len() - 1].last().is_some_and(|byte| is_identifier(*byte))
}

/// Comments nest.
fn comment_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// `$tag$ … $tag$`, or just the dollar when none is opened.
fn dollar_quoted_length(rest: &str) -> usize {
    let Some(tag_length) = rest[1..].find('$') else {
        return 1;
    };
    let tag = &rest[1..=tag_length];
    let is_tag = tag.bytes().all(is_identifier) && !tag.starts_with(|first: char| first.is_ascii_digit());
    if !is_tag || tag.starts_with("__") {
        return 1;
    }
    let delimiter = &rest[..tag_length + 2];
    rest[delimiter.len()..].find(delimiter).map_or(rest.len(), |end| end + 2 * delimiter.len())
}

/// Whether the dollar at `at` is inside a name, such as `a$b$c`.
fn precedes_identifier(sql: &str, at: usize) -> bool {
    sql.as_bytes()[..at].last().is_some_and(|byte| is_identifier(*byte))
}

const fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn macros(sql: &str) -> Vec<(String, Option<String>)> {
        pieces(sql)
            .unwrap()
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Macro { name, arguments } => Some((name.to_owned(), arguments.map(ToOwned::to_owned))),
                Piece::Text(_) | Piece::Quoted(_) => None,
            })
            .collect()
    }

    #[test]
    fn macros_are_found_in_code_and_nowhere_else() {
        for (sql, found) in [
            ("$__timeFilter(a)", &[("timeFilter", Some("a"))][..]),
            ("$__timeFilter(coalesce(a, (b)))", &[("timeFilter", Some("coalesce(a, (b))"))]),
            ("$__timeGroup(a, ')')", &[("timeGroup", Some("a, ')'"))]),
            ("x = $__interval_ms", &[("interval_ms", None)]),
            ("-- $__a(b)\n$__c()", &[("c", Some(""))]),
            ("/* $__a /* $__b */ $__c */ $__d", &[("d", None)]),
            ("'$__a' \"$__b\" $$ $__c $$ $t$ $__d $$ $t$ $__e", &[("e", None)]),
            ("'it''s $__a' E'\\'$__b' $__c", &[("c", None)]),
            ("note'$__a'", &[]),
            ("a$b$ $__c", &[("c", None)]),
            ("$1 $__a", &[("a", None)]),
            ("'never closed $__a", &[]),
        ] {
            let found: Vec<_> =
                found.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.map(ToOwned::to_owned))).collect();
            assert_eq!(macros(sql), found, "{sql}");
        }
        assert_eq!(pieces("a $__b(c").unwrap_err().offset, 6);
    }

    #[test]
    fn pieces_put_together_are_the_statement() {
        for sql in ["", "select 'a' || $$b$$ -- c\n, \"d\" /* e */ from f", "é'é'é$é$", "'", "/*", "$", "$$", "$a$b"]
        {
            let joined: String = pieces(sql)
                .unwrap()
                .into_iter()
                .map(|piece| match piece {
                    Piece::Text(text) | Piece::Quoted(text) => text,
                    Piece::Macro { .. } => unreachable!("there is none"),
                })
                .collect();
            assert_eq!(joined, sql);
        }
    }

    #[test]
    fn arguments_part_at_their_own_commas() {
        for (text, parts) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a , '5m'", &["a", "'5m'"]),
            ("f(a, b), '1,5', NULL", &["f(a, b)", "'1,5'", "NULL"]),
            ("a[1,2], b", &["a[1,2]", "b"]),
            ("a,", &["a", ""]),
        ] {
            assert_eq!(arguments(text), parts, "{text}");
        }
    }
}
