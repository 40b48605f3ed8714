//! The file of a block: chunks in the order of their series' numbers, and an index of them.
//!
//! It is written once, from front to back, and never changed. Only the first number of each page of the index is kept in
//! memory; a read takes one page of it, and the chunk. Layout in `docs/format/block.md`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::SeriesId;
use crate::bytes::{Malformed, Reader};

const MAGIC: &[u8; 8] = b"STATBLCK";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 8 + 2 + 2;
/// Entries a page of the index.
const PAGE_ENTRIES: usize = 64;
/// A number, where its chunk begins and how long it is.
const ENTRY_BYTES: usize = 4 + 8 + 4;
const PAGE_BYTES: usize = PAGE_ENTRIES * ENTRY_BYTES + 4;
/// Where the index begins, how many entries it has, the checksums of the first numbers of its pages and of all before.
const FOOTER_BYTES: usize = 8 + 8 + 4 + 4;
/// Bytes that are written at a time.
const BUFFER: usize = 256 << 10;
/// Chunks that are no further apart than this are read at once.
const MOST_GAP: u64 = 4096;

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum BlockError {
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for BlockError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".to_owned()),
            _ => Self::Io(error),
        }
    }
}

impl From<Malformed> for BlockError {
    fn from(error: Malformed) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    offset: u64,
    pub(crate) length: u32,
}

impl Extent {
    const fn end(self) -> u64 {
        self.offset.saturating_add(self.length as u64)
    }
}

/// Chunks that were read together, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    bytes: Vec<u8>,
    places: Vec<Option<Range<usize>>>,
}

impl Chunks {
    /// The chunk of a place, if there is one.
    pub(crate) fn get(&self, place: usize) -> Option<&[u8]> {
        self.places.get(place)?.clone().map(|range| &self.bytes[range])
    }
}

/// A file that is being written.
pub(crate) struct BlockWriter {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
    index: Vec<u8>,
    last: Option<SeriesId>,
    count: u64,
}

impl BlockWriter {
    /// Begins a file, in the place of any of that name.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(BUFFER, File::create(path)?);
        file.write_all(&header())?;
        let length = HEADER_BYTES as u64;
        Ok(Self { path: path.to_owned(), file, length, index: Vec::new(), last: None, count: 0 })
    }

    /// Adds a chunk of a series of a higher number than the last one.
    pub(crate) fn write(&mut self, id: SeriesId, chunk: &[u8]) -> io::Result<()> {
        debug_assert!(self.last.is_none_or(|last| last < id), "chunks come in the order of their series");
        let length = u32::try_from(chunk.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.file.write_all(chunk)?;
        self.index.extend_from_slice(&id.to_le_bytes());
        self.index.extend_from_slice(&self.length.to_le_bytes());
        self.index.extend_from_slice(&length.to_le_bytes());
        self.length += u64::from(length);
        self.last = Some(id);
        self.count += 1;
        Ok(())
    }

    /// Ends the file, which is then durable, as is its name.
    pub(crate) fn finish(mut self) -> io::Result<BlockFile> {
        let mut firsts = Vec::new();
        for page in self.index.chunks(PAGE_ENTRIES * ENTRY_BYTES) {
            firsts.extend_from_slice(&page[..4]);
            self.file.write_all(page)?;
            self.file.write_all(&crc32fast::hash(page).to_le_bytes())?;
        }
        let mut footer = self.length.to_le_bytes().to_vec();
        footer.extend_from_slice(&self.count.to_le_bytes());
        footer.extend_from_slice(&crc32fast::hash(&firsts).to_le_bytes());
        footer.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
        self.file.write_all(&firsts)?;
        self.file.write_all(&footer)?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        BlockFile::open(&self.path).map_err(|error| match error {
            BlockError::Io(error) => error,
            BlockError::Damaged(reason) => io::Error::other(reason),
        })
    }
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// A whole file.
#[derive(Debug)]
pub(crate) struct BlockFile {
    path: PathBuf,
    file: File,
    /// Where the index begins.
    index: u64,
    count: usize,
    /// The first number of each page.
    firsts: Vec<SeriesId>,
}

impl BlockFile {
    /// Opens a file, and checks all but its chunks and the pages of its index.
    pub(crate) fn open(path: &Path) -> Result<Self, BlockError> {
        let damaged = |reason: &str| BlockError::Damaged(reason.to_owned());
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0)?;
        if head[..8] != *MAGIC {
            return Err(damaged("it does not begin with its magic bytes"));
        }
        if head != header() {
            return Err(damaged("its version is unknown"));
        }
        let mut footer = [0; FOOTER_BYTES];
        let at = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("it ends too early"))?;
        file.read_exact_at(&mut footer, at)?;
        let mut reader = Reader::new(&footer);
        let (index, count, of_firsts, of_footer) = (reader.u64()?, reader.u64()?, reader.u32()?, reader.u32()?);
        if crc32fast::hash(&footer[..FOOTER_BYTES - 4]) != of_footer {
            return Err(damaged("the checksum of its footer does not match"));
        }
        let count = usize::try_from(count).map_err(|_| damaged("it names an impossible number of series"))?;
        let pages = count.div_ceil(PAGE_ENTRIES);
        let of_pages = count.saturating_mul(ENTRY_BYTES).saturating_add(pages * 8 + FOOTER_BYTES);
        let expected = index.saturating_add(of_pages as u64);
        if expected != length {
            return Err(damaged("its length is not the one it names"));
        }
        let mut firsts = vec![0; pages * 4];
        let begin = at - firsts.len() as u64;
        file.read_exact_at(&mut firsts, begin)?;
        if crc32fast::hash(&firsts) != of_firsts {
            return Err(damaged("the checksum of its index does not match"));
        }
        let (firsts, _) = firsts.as_chunks::<4>();
        let firsts = firsts.iter().map(|first| SeriesId::from_le_bytes(*first)).collect();
        Ok(Self { path: path.to_owned(), file, index, count, firsts })
    }

    /// The chunk of a series as it is stored.
    pub(crate) fn chunk(&self, id: SeriesId) -> Result<Option<Vec<u8>>, BlockError> {
        let chunks = self.chunks(&self.extents([id])?)?;
        Ok(chunks.get(0).is_some().then_some(chunks.bytes))
    }

    /// Where the chunks of series are. Asked for in the order of their numbers, each page of the index is read once.
    pub(crate) fn extents(&self, ids: impl IntoIterator<Item = SeriesId>) -> Result<Vec<Option<Extent>>, BlockError> {
        let mut buffer = [0; PAGE_BYTES];
        let mut held: Option<(usize, usize)> = None;
        let extent_of = |id| {
            let Some(page) = self.firsts.partition_point(|first| *first <= id).checked_sub(1) else { return Ok(None) };
            let length = match held {
                Some((known, length)) if known == page => length,
                _ => self.page(page, &mut buffer)?.len(),
            };
            held = Some((page, length));
            let (entries, _) = buffer[..length].as_chunks::<ENTRY_BYTES>();
            let found = entries.binary_search_by_key(&id, |entry| entry_of(entry).0);
            let extent = found.ok().map(|place| entry_of(&entries[place]).1);
            if extent.is_some_and(|extent| extent.end() > self.index) {
                return Err(BlockError::Damaged("a chunk reaches into the index".to_owned()));
            }
            Ok(extent)
        };
        ids.into_iter().map(extent_of).collect()
    }

    /// Reads chunks. Those that follow each other closely in the file, in the order in which they are asked for, are read
    /// at once.
    pub(crate) fn chunks(&self, extents: &[Option<Extent>]) -> Result<Chunks, BlockError> {
        let mut chunks = Chunks { bytes: Vec::new(), places: Vec::with_capacity(extents.len()) };
        let mut run = 0..0_u64;
        for extent in extents {
            let Some(extent) = extent else {
                chunks.places.push(None);
                continue;
            };
            if run.is_empty() || !(run.end..=run.end.saturating_add(MOST_GAP)).contains(&extent.offset) {
                self.read(&run, &mut chunks.bytes)?;
                run = extent.offset..extent.offset;
            }
            run.end = extent.end();
            let begin = chunks.bytes.len() + (extent.offset - run.start) as usize;
            chunks.places.push(Some(begin..begin + extent.length as usize));
        }
        self.read(&run, &mut chunks.bytes)?;
        Ok(chunks)
    }

    /// Adds a part of the file to what is in memory.
    fn read(&self, part: &Range<u64>, bytes: &mut Vec<u8>) -> Result<(), BlockError> {
        let before = bytes.len();
        bytes.resize(before + (part.end - part.start) as usize, 0);
        Ok(self.file.read_exact_at(&mut bytes[before..], part.start)?)
    }

    /// The numbers of all series, ascending.
    pub(crate) fn series(&self) -> Result<Vec<SeriesId>, BlockError> {
        let mut series = Vec::with_capacity(self.count);
        let mut buffer = [0; PAGE_BYTES];
        for page in 0..self.firsts.len() {
            let (entries, _) = self.page(page, &mut buffer)?.as_chunks::<ENTRY_BYTES>();
            series.extend(entries.iter().map(|entry| entry_of(entry).0));
        }
        Ok(series)
    }

    /// The entries of a page of the index.
    fn page<'a>(&self, page: usize, buffer: &'a mut [u8; PAGE_BYTES]) -> Result<&'a [u8], BlockError> {
        let entries = PAGE_ENTRIES.min(self.count - page * PAGE_ENTRIES) * ENTRY_BYTES;
        let whole = &mut buffer[..entries + 4];
        self.file.read_exact_at(whole, self.index + (page * PAGE_BYTES) as u64)?;
        let (entries, checksum) = whole.split_at(entries);
        if crc32fast::hash(entries).to_le_bytes() != *checksum {
            return Err(BlockError::Damaged(format!("the checksum of page {page} of its index does not match")));
        }
        Ok(entries)
    }

    /// Removes the file. Whoever reads it now reads on undisturbed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn entry_of(entry: &[u8; ENTRY_BYTES]) -> (SeriesId, Extent) {
    let mut reader = Reader::new(entry);
    // An entry has as many bytes as these take.
    let id = reader.u32().unwrap_or(0);
    (id, Extent { offset: reader.u64().unwrap_or(0), length: reader.u32().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, series: &[SeriesId]) -> BlockFile {
        let mut writer = BlockWriter::create(path).unwrap();
        for id in series {
            writer.write(*id, &vec![u8::try_from(id % 251).unwrap(); *id as usize % 40]).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn every_chunk_is_found_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        for count in [1, 63, 64, 65, 1000] {
            let series: Vec<SeriesId> = (0..count).map(|number| number * 3 + 1).collect();
            let file = write(&directory.path().join(format!("{count}")), &series);
            assert_eq!(file.series().unwrap(), series);
            for id in 0..count * 3 + 5 {
                let chunk = file.chunk(id).unwrap();
                let expected = series.contains(&id).then(|| vec![u8::try_from(id % 251).unwrap(); id as usize % 40]);
                assert_eq!(chunk, expected, "{id} of {count}");
            }
            for every in [1, 2, 7, 90] {
                let ids: Vec<SeriesId> = (0..count * 3 + 5).step_by(every).collect();
                let chunks = file.chunks(&file.extents(ids.iter().copied()).unwrap()).unwrap();
                for (place, id) in ids.iter().enumerate() {
                    assert_eq!(
                        chunks.get(place).map(<[u8]>::to_vec),
                        file.chunk(*id).unwrap(),
                        "{id} of every {every}"
                    );
                }
                assert_eq!(chunks.get(ids.len()), None);
            }
        }
        let empty = BlockWriter::create(&directory.path().join("empty")).unwrap().finish().unwrap();
        assert_eq!((empty.chunk(0).unwrap(), empty.series().unwrap()), (None, Vec::new()));
    }

    #[test]
    fn a_flipped_bit_outside_of_the_chunks_is_noticed_or_finds_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("block");
        let series: Vec<SeriesId> = (0..70).collect();
        write(&path, &series);
        let good = fs::read(&path).unwrap();
        let chunks: usize = series.iter().map(|id| *id as usize % 40).sum();
        for byte in (0..HEADER_BYTES).chain(HEADER_BYTES + chunks..good.len()) {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[byte] ^= 1 << bit;
                fs::write(&path, &bad).unwrap();
                let noticed = BlockFile::open(&path).and_then(|file| {
                    series.iter().try_for_each(|id| file.chunk(*id).map(|_| ()))?;
                    file.series()
                });
                assert!(noticed.is_err(), "bit {bit} of byte {byte}");
            }
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(BlockFile::open(&path).is_err(), "cut at {length}");
        }
    }
}
