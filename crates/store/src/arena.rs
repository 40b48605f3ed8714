//! Texts packed into a few large pieces of memory instead of an allocation each.
//!
//! A text belongs to a number, its owner, and stays where it is until it is removed or its *chunk* is more than half dead.
//! Then what lives in the chunk moves to the newest one, owners are told, and the chunk's memory is free again; so texts
//! that come and go take at most some twice what the living ones need.

/// Texts begin at multiples of this, which lets a place fit into 32 bits.
const UNIT: usize = 8;
const CHUNK_BITS: u32 = 20;
const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
/// The bits of a place that say where in its chunk a text begins.
const WITHIN_BITS: u32 = CHUNK_BITS - UNIT.trailing_zeros();
/// Before each text: its owner, its length and whether it is dead.
const HEADER_BYTES: usize = 4 + 2;
const DEAD: u16 = 1 << 15;

/// Where a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    fn new(chunk: usize, offset: usize) -> Self {
        // 2^15 chunks are 32 GiB of names; memory ends before.
        Self((chunk as u32) << WITHIN_BITS | (offset / UNIT) as u32)
    }

    const fn chunk(self) -> usize {
        (self.0 >> WITHIN_BITS) as usize
    }

    const fn offset(self) -> usize {
        (self.0 & ((1 << WITHIN_BITS) - 1)) as usize * UNIT
    }
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    dead_bytes: usize,
}

impl Chunk {
    const fn is_mostly_dead(&self) -> bool {
        self.dead_bytes * 2 > CHUNK_BYTES
    }
}

/// A text that was moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved<'a> {
    pub(crate) owner: u32,
    pub(crate) text: &'a [u8],
    pub(crate) from: Place,
    pub(crate) to: Place,
}

/// The texts.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    /// The chunk that is being filled.
    newest: usize,
    free: Vec<usize>,
    /// Chunks that were mostly dead when they were full.
    overdue: Vec<usize>,
}

impl Arena {
    /// Adds a text of less than 32 KiB.
    pub(crate) fn push(&mut self, owner: u32, text: &[u8]) -> Place {
        debug_assert!(text.len() < DEAD as usize);
        let size = size_of(text.len());
        if self.chunks.get(self.newest).is_none_or(|chunk| chunk.bytes.len() + size > CHUNK_BYTES) {
            self.begin_chunk();
        }
        let chunk = &mut self.chunks[self.newest];
        let offset = chunk.bytes.len();
        chunk.bytes.extend_from_slice(&owner.to_le_bytes());
        chunk.bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
        chunk.bytes.extend_from_slice(text);
        chunk.bytes.resize(offset + size, 0);
        Place::new(self.newest, offset)
    }

    fn begin_chunk(&mut self) {
        if self.chunks.get(self.newest).is_some_and(Chunk::is_mostly_dead) {
            self.overdue.push(self.newest);
        }
        self.newest = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            self.chunks.len() - 1
        });
        // A small store does with less than a chunk.
        if self.newest > 0 {
            self.chunks[self.newest].bytes.reserve_exact(CHUNK_BYTES);
        }
    }

    pub(crate) fn text(&self, place: Place) -> &[u8] {
        let from_header = &self.chunks[place.chunk()].bytes[place.offset()..];
        let length = u16::from_le_bytes([from_header[4], from_header[5]]) & !DEAD;
        &from_header[HEADER_BYTES..HEADER_BYTES + length as usize]
    }

    pub(crate) fn owner(&self, place: Place) -> u32 {
        owner_at(&self.chunks[place.chunk()].bytes[place.offset()..])
    }

    /// Removes a text, and tells which others had to move for that.
    pub(crate) fn remove(&mut self, place: Place, mut moved: impl FnMut(Moved)) {
        let size = size_of(self.text(place).len());
        let chunk = &mut self.chunks[place.chunk()];
        chunk.bytes[place.offset() + 5] |= DEAD.to_le_bytes()[1];
        chunk.dead_bytes += size;
        if chunk.dead_bytes == chunk.bytes.len() && place.chunk() == self.newest {
            chunk.bytes.clear();
            chunk.dead_bytes = 0;
        } else if chunk.is_mostly_dead() && place.chunk() != self.newest {
            self.clear_out(place.chunk(), &mut moved);
        }
        while let Some(chunk) = self.overdue.pop() {
            // It may have been cleared out, and even be in use again.
            if self.chunks[chunk].is_mostly_dead() && chunk != self.newest {
                self.clear_out(chunk, &mut moved);
            }
        }
    }

    fn clear_out(&mut self, chunk: usize, moved: &mut impl FnMut(Moved)) {
        let bytes = std::mem::take(&mut self.chunks[chunk]).bytes;
        let mut offset = 0;
        while let Some(record) = bytes.get(offset..).filter(|record| !record.is_empty()) {
            let length = u16::from_le_bytes([record[4], record[5]]);
            if length & DEAD == 0 {
                let text = &record[HEADER_BYTES..HEADER_BYTES + length as usize];
                let owner = owner_at(record);
                let to = self.push(owner, text);
                moved(Moved { owner, text, from: Place::new(chunk, offset), to });
            }
            offset += size_of((length & !DEAD) as usize);
        }
        self.free.push(chunk);
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum()
    }
}

fn owner_at(record: &[u8]) -> u32 {
    u32::from_le_bytes([record[0], record[1], record[2], record[3]])
}

/// What a text takes with its header, up to where the next may begin.
const fn size_of(length: usize) -> usize {
    (HEADER_BYTES + length).next_multiple_of(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_findable_while_most_others_go() {
        let mut arena = Arena::default();
        let text_of = |owner: u32| format!("text.number.{owner:0width$}", width = (owner % 90) as usize);
        let mut places: Vec<Place> = (0..50_000).map(|owner| arena.push(owner, text_of(owner).as_bytes())).collect();
        let before = arena.allocated();
        for owner in (0..50_000).filter(|owner| owner % 10 != 0) {
            let mut moves = Vec::new();
            arena.remove(places[owner as usize], |moved| {
                assert_eq!(moved.text, text_of(moved.owner).as_bytes());
                moves.push((moved.owner, moved.from, moved.to));
            });
            for (owner, from, to) in moves {
                assert_eq!(places[owner as usize], from);
                places[owner as usize] = to;
            }
        }
        for owner in (0..50_000).step_by(10) {
            assert_eq!(arena.text(places[owner as usize]), text_of(owner).as_bytes());
            assert_eq!(arena.owner(places[owner as usize]), owner);
        }
        assert!(arena.allocated() * 3 < before, "{} of {before}", arena.allocated());
    }

    #[test]
    fn texts_that_come_and_go_take_no_more_memory_with_time() {
        let mut arena = Arena::default();
        let mut alive = std::collections::VecDeque::new();
        for owner in 0..200_000_u32 {
            alive.push_back((owner, arena.push(owner, &[b'x'; 100])));
            if alive.len() > 1000 {
                let (_, place) = alive.pop_front().unwrap();
                arena.remove(place, |moved| {
                    alive
                        .iter_mut()
                        .filter(|(owner, _)| *owner == moved.owner)
                        .for_each(|(_, place)| *place = moved.to);
                });
            }
        }
        assert!(arena.allocated() <= 3 * CHUNK_BYTES, "{}", arena.allocated());
    }
}
