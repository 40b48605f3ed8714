//! Lines out of a byte stream, wherever the reads cut it.
//!
//! What a read brought is handed on up to its last newline, in place where it can be; the rest waits for the next read.
//! Of a line that is too long nothing is kept: it is told once, and skipped up to its newline. So a connection holds one
//! line at most, whatever its client sends.

use memchr::{memchr, memchr_iter, memrchr};

/// A buffer that grew beyond it for one long line is given back.
const KEPT_BYTES: usize = 4096;

/// The lines of one stream.
#[derive(Debug)]
pub struct Framing {
    /// The beginning of the line that has no end yet.
    open: Vec<u8>,
    /// Whether the line that has no end yet was told as too long.
    skips: bool,
    max_line_bytes: usize,
    /// Where in the stream `open` begins, in bytes.
    position: u64,
}

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Lines, each within the limit. The last one has no newline when the stream ended without one.
    Lines(&'a [u8]),
    /// The beginning of a line that is too long.
    TooLong(&'a [u8]),
}

impl Framing {
    /// The beginning of a stream whose lines are at most so long, without their newlines.
    pub const fn new(max_line_bytes: usize) -> Self {
        Self { open: Vec::new(), skips: false, max_line_bytes, position: 0 }
    }

    /// Takes what a read brought. `each` is told where in the stream a piece begins.
    pub fn push(&mut self, mut chunk: &[u8], mut each: impl FnMut(u64, Piece<'_>)) {
        if self.skips {
            let skipped = memchr(b'\n', chunk).map_or(chunk.len(), |newline| newline + 1);
            self.skips = skipped == chunk.len() && chunk.last() != Some(&b'\n');
            self.position += skipped as u64;
            chunk = &chunk[skipped..];
        }
        let (lines, rest) = chunk.split_at(memrchr(b'\n', chunk).map_or(0, |newline| newline + 1));
        if !lines.is_empty() {
            if self.open.is_empty() {
                whole_lines(lines, self.position, self.max_line_bytes, &mut each);
            } else {
                self.open.extend_from_slice(lines);
                whole_lines(&self.open, self.position, self.max_line_bytes, &mut each);
                self.position += (self.open.len() - lines.len()) as u64;
                self.open.clear();
                self.open.shrink_to(KEPT_BYTES);
            }
            self.position += lines.len() as u64;
        }
        if self.open.len() + rest.len() <= self.max_line_bytes {
            self.open.extend_from_slice(rest);
            return;
        }
        each(self.position, Piece::TooLong(if self.open.is_empty() { rest } else { &self.open }));
        self.position += (self.open.len() + rest.len()) as u64;
        self.open = Vec::new();
        self.skips = true;
    }

    /// The line that has no newline, at the end of the stream.
    pub fn open_line(&self) -> (u64, &[u8]) {
        (self.position, &self.open)
    }
}

/// Hands on lines that each end with a newline, but for those that are too long.
fn whole_lines(lines: &[u8], position: u64, max_line_bytes: usize, each: &mut impl FnMut(u64, Piece<'_>)) {
    if lines.len() <= max_line_bytes {
        return each(position, Piece::Lines(lines));
    }
    let (mut line_start, mut run_start) = (0, 0);
    for newline in memchr_iter(b'\n', lines) {
        if newline - line_start > max_line_bytes {
            if line_start > run_start {
                each(position + run_start as u64, Piece::Lines(&lines[run_start..line_start]));
            }
            each(position + line_start as u64, Piece::TooLong(&lines[line_start..newline]));
            run_start = newline + 1;
        }
        line_start = newline + 1;
    }
    if run_start < lines.len() {
        each(position + run_start as u64, Piece::Lines(&lines[run_start..]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of a stream with their places, and the places of those that are too long.
    fn read(chunks: &[&[u8]], max_line_bytes: usize) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        let (mut lines, mut too_long) = (Vec::new(), Vec::new());
        let mut framing = Framing::new(max_line_bytes);
        let mut each = |position: u64, piece: Piece<'_>| match piece {
            Piece::Lines(piece) => {
                let mut at = position;
                for line in piece.split_inclusive(|byte| *byte == b'\n') {
                    lines.push((at, line.to_vec()));
                    at += line.len() as u64;
                }
            }
            Piece::TooLong(begin) => {
                assert!(!begin.is_empty());
                too_long.push(position);
            }
        };
        for chunk in chunks {
            framing.push(chunk, &mut each);
        }
        let (position, open) = framing.open_line();
        if !open.is_empty() {
            each(position, Piece::Lines(open));
        }
        (lines, too_long)
    }

    #[test]
    fn a_line_split_over_reads_is_one_line() {
        let whole = read(&[b"a:1|c\nb:2|c\nc:3|c"], 8);
        assert_eq!(whole.0, [(0, b"a:1|c\n".to_vec()), (6, b"b:2|c\n".to_vec()), (12, b"c:3|c".to_vec())]);
        for cut in 0..=17 {
            let stream = b"a:1|c\nb:2|c\nc:3|c";
            assert_eq!(read(&[&stream[..cut], &stream[cut..]], 8), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_too_long_is_told_once_and_skipped() {
        for (chunks, lines, too_long) in [
            (&[&b"123456\nab\n"[..]][..], &[(7, "ab\n")][..], &[0][..]),
            (&[b"12345\n"], &[(0, "12345\n")], &[]),
            (&[b"12345", b"6\nab\n"], &[(7, "ab\n")], &[0]),
            (&[b"1234567", b"89", b"\n", b"ab\n"], &[(10, "ab\n")], &[0]),
            (&[b"1234567", b"\nab"], &[(8, "ab")], &[0]),
            (&[b"x\n123456\ny\n123456789\nz"], &[(0, "x\n"), (9, "y\n"), (21, "z")], &[2, 11]),
            (&[b"123456"], &[], &[0]),
        ] {
            let lines: Vec<(u64, Vec<u8>)> = lines.iter().map(|(at, line)| (*at, line.as_bytes().to_vec())).collect();
            assert_eq!(read(chunks, 5), (lines, too_long.to_vec()), "{chunks:?}");
        }
    }

    #[test]
    fn no_more_than_one_line_is_ever_held() {
        let mut framing = Framing::new(100);
        for _ in 0..1000 {
            framing.push(&[b'x'; 70], |_, _| {});
            assert!(framing.open.capacity() <= 200, "{}", framing.open.capacity());
        }
    }

    proptest! {
        #[test]
        fn the_cuts_of_a_stream_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(b'\n'), 9 => any::<u8>()], 0..200),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
            max_line_bytes in 1_usize..40,
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&chunks, max_line_bytes), read(&[&bytes], max_line_bytes));
        }
    }
}
