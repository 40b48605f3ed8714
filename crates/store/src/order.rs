//! Sorting series by their keys.
//!
//! Keys share long beginnings, and each comparison of two would read both again from far-away memory. So each text is
//! fetched once, what all share is skipped, and the eight bytes after that are compared as one number; only where these are
//! equal is the rest looked at, in the same way.

/// Groups smaller than this are compared text by text.
const SMALL: usize = 8;

struct Row<'a, T> {
    head: u64,
    text: &'a [u8],
    value: T,
}

/// Values in the order of the texts that they come with.
pub(crate) fn sorted<'a, T>(pairs: impl Iterator<Item = (T, &'a [u8])>) -> impl Iterator<Item = T> {
    let mut rows: Vec<Row<T>> = pairs.map(|(value, text)| Row { head: 0, text, value }).collect();
    sort(&mut rows, 0);
    rows.into_iter().map(|row| row.value)
}

/// Sorts rows whose texts are alike up to `from`.
fn sort<T>(rows: &mut [Row<T>], from: usize) {
    if rows.len() < SMALL {
        rows.sort_unstable_by(|left, right| left.text.cmp(right.text));
        return;
    }
    let first = rest(rows[0].text, from);
    let common = rows.iter().fold(first.len(), |common, row| {
        let text = rest(row.text, from);
        first[..common].iter().zip(text).take_while(|(left, right)| left == right).count()
    });
    let from = from + common;
    rows.iter_mut().for_each(|row| row.head = head(rest(row.text, from)));
    rows.sort_unstable_by_key(|row| row.head);
    let whole = rows.len();
    for group in rows.chunk_by_mut(|left, right| left.head == right.head) {
        if group.len() == whole {
            // Texts that differ in nothing but zero bytes at their ends.
            group.sort_unstable_by(|left, right| left.text.cmp(right.text));
        } else if group.len() > 1 {
            sort(group, from + size_of::<u64>());
        }
    }
}

fn rest(text: &[u8], from: usize) -> &[u8] {
    text.get(from..).unwrap_or_default()
}

/// The first eight bytes as a number that compares as they do; zeros where there are fewer.
fn head(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => text.iter().rev().fold(0, |head, byte| head >> 8 | u64::from(*byte) << 56),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_in_order(texts in prop::collection::vec("(abc){0,6}[\u{0}a-c]{0,12}", 0..60)) {
            let sorted: Vec<&str> = sorted(texts.iter().map(|text| (text.as_str(), text.as_bytes()))).collect();
            let mut expected: Vec<&str> = texts.iter().map(String::as_str).collect();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
    }
}
