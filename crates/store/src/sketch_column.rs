//! The sketches of one series: in the head as they came, and gathered from the places that hold some of them.
//!
//! Sketches are kept as bytes until somebody asks for them, in some tens of bytes each.

use std::collections::BTreeMap;

/// Sketches as bytes, by their instants in milliseconds. What is put in later takes the place of what was there.
pub(crate) type Sketches = BTreeMap<i64, Vec<u8>>;

/// Sketches of one series in the head, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct SketchColumn {
    /// Milliseconds from the start of the window.
    offsets: Vec<u32>,
    /// Where each ends in `bytes`.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl SketchColumn {
    /// Memory beyond the column itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.offsets.capacity() * size_of::<u32>() + self.ends.capacity() * size_of::<usize>() + self.bytes.capacity()
    }

    pub(crate) fn push(&mut self, offset: u32, sketch: &[u8]) {
        self.offsets.push(offset);
        self.bytes.extend_from_slice(sketch);
        self.ends.push(self.bytes.len());
    }

    /// Puts in the sketches from `begin` up to but not including `end`, in milliseconds from `start`, the start of the
    /// window.
    pub(crate) fn read(&self, start: i64, begin: u32, end: u32, out: &mut Sketches) {
        let mut from = 0;
        for (offset, until) in self.offsets.iter().zip(&self.ends) {
            if (begin..end).contains(offset) {
                out.insert(start.saturating_add(i64::from(*offset)), self.bytes[from..*until].to_vec());
            }
            from = *until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sketch_of_an_instant_stays() {
        let mut column = SketchColumn::default();
        for (offset, bytes) in [(30, "late"), (10, "first"), (20, ""), (10, "second"), (40, "outside")] {
            column.push(offset, bytes.as_bytes());
        }
        let mut read = Sketches::new();
        column.read(1000, 10, 40, &mut read);
        let expected = [(1010, b"second".to_vec()), (1020, Vec::new()), (1030, b"late".to_vec())];
        assert_eq!(read.into_iter().collect::<Vec<_>>(), expected);
        assert!(column.heap_bytes() >= 5 * 12 + 22);
    }
}
