//! When each series was first and last seen, in a file written before each new block is.
//!
//! It is never older than the blocks, and what is newer than it is still in the log. When it is lost, it is made again
//! from the blocks. Layout in `docs/format/manifest.md`.

use std::path::Path;

use statline_series::Timestamp;

use crate::bytes::{Malformed, Reader, put_signed, put_varint};
use crate::index::Index;
use crate::sealed::Seal;
use crate::{SeriesId, StoreError};

pub(crate) const FILE_NAME: &str = "SEEN";
const SEAL: Seal = Seal { magic: *b"STATSEEN", version: 1 };
const COMPRESSION_LEVEL: i32 = 1;
/// The most that the columns may unpack to.
const MOST_BYTES: usize = 1 << 32;

/// The columns of the file, taken from the index at one moment.
pub(crate) fn snapshot(index: &Index) -> Vec<u8> {
    let mut columns = Vec::new();
    let mut previous_id = 0;
    let mut previous_last = 0_i64;
    for (id, entry) in index.iter().filter(|(_, entry)| entry.first_seen <= entry.last_seen) {
        let last = entry.last_seen.millis();
        put_varint(&mut columns, u64::from(id - previous_id));
        put_signed(&mut columns, last.wrapping_sub(previous_last));
        put_varint(&mut columns, last.abs_diff(entry.first_seen.millis()));
        (previous_id, previous_last) = (id, last);
    }
    columns
}

/// Writes a snapshot.
pub(crate) fn write(directory: &Path, snapshot: &[u8]) -> Result<(), StoreError> {
    let path = directory.join(FILE_NAME);
    let mut contents = (snapshot.len() as u64).to_le_bytes().to_vec();
    let compressed = zstd::bulk::compress(snapshot, COMPRESSION_LEVEL);
    contents.extend(compressed.map_err(|source| StoreError::io("compress", &path, source))?);
    SEAL.write(&path, &contents)
}

/// Tells the life of each series: number, first and last instant. `false` when there is no file.
pub(crate) fn read(directory: &Path, mut saw: impl FnMut(SeriesId, Timestamp, Timestamp)) -> Result<bool, StoreError> {
    let path = directory.join(FILE_NAME);
    let Some(contents) = SEAL.read(&path)? else { return Ok(false) };
    let columns = unpack(&contents).map_err(|error| StoreError::damaged_file(&path, error.to_string()))?;
    let mut reader = Reader::new(&columns);
    let mut id = 0_u32;
    let mut last = 0_i64;
    while !reader.is_empty() {
        let row = (|| Ok((reader.varint_u32()?, reader.signed()?, reader.varint()?)))();
        let (distance, step, life) =
            row.map_err(|error: Malformed| StoreError::damaged_file(&path, error.to_string()))?;
        id = id.saturating_add(distance);
        last = last.wrapping_add(step);
        saw(id, Timestamp::from_millis(last.saturating_sub_unsigned(life)), Timestamp::from_millis(last));
    }
    Ok(true)
}

fn unpack(contents: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(contents);
    let length = usize::try_from(reader.u64()?).ok().filter(|length| *length <= MOST_BYTES);
    let length = length.ok_or(Malformed("it names an impossible length"))?;
    zstd::bulk::decompress(reader.take(reader.remaining())?, length)
        .map_err(|_| Malformed("its columns cannot be decompressed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Form;
    use statline_series::Kind;

    #[test]
    fn lives_read_back() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!read(directory.path(), |_, _, _| unreachable!()).unwrap());
        let mut index = Index::default();
        let ms = Timestamp::from_millis;
        let lives = [(0, ms(5), ms(5)), (3, ms(-7), ms(1 << 40)), (4, ms(9), ms(10))];
        for (id, first, last) in lives {
            index.insert(id, Form::Points, &format!("s{id}").parse().unwrap(), Kind::Gauge, 0);
            index.saw(id, first, last);
        }
        index.insert(9, Form::Points, &"unborn".parse().unwrap(), Kind::Gauge, 0);
        write(directory.path(), &snapshot(&index)).unwrap();
        let mut told = Vec::new();
        assert!(read(directory.path(), |id, first, last| told.push((id, first, last))).unwrap());
        assert_eq!(told, lives);
    }
}
