//! Many values of one series, compressed together and read a page at a time.
//!
//! Long chunks are smaller, and a read of an hour out of a day needs a page or two of them.

use std::ops::Range;

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, PagingSpec};

use crate::bytes::{Malformed, Reader, put_varint};

/// Values a page; the last one may have fewer.
const PAGE: usize = 360;
const CANNOT_COMPRESS: Malformed = Malformed("its numbers cannot be compressed");
const CANNOT_DECOMPRESS: Malformed = Malformed("its numbers cannot be decompressed");

/// Whether so many values are worth pages.
pub(crate) const fn are_worth_it(count: usize) -> bool {
    count > 3 * PAGE
}

/// Values a page, what pco knows of all of them, the lengths of the pages, the pages.
pub(crate) fn encode<T: Number>(values: &[T], level: usize) -> Result<Vec<u8>, Malformed> {
    let pages: Vec<usize> = values.chunks(PAGE).map(<[T]>::len).collect();
    let count = pages.len();
    let config = ChunkConfig::default().with_compression_level(level).with_paging_spec(PagingSpec::Exact(pages));
    let file = FileCompressor::default();
    let mut compressor = file.chunk_compressor(values, &config).map_err(|_| CANNOT_COMPRESS)?;
    let head = file.write_header(Vec::new()).and_then(|head| compressor.write_meta(head));
    let head = head.map_err(|_| CANNOT_COMPRESS)?;
    let mut lengths = Vec::new();
    let mut body = Vec::new();
    for page in 0..count {
        let before = body.len();
        body = compressor.write_page(page, body).map_err(|_| CANNOT_COMPRESS)?;
        put_varint(&mut lengths, (body.len() - before) as u64);
    }
    let mut out = Vec::new();
    put_varint(&mut out, PAGE as u64);
    put_varint(&mut out, head.len() as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(&lengths);
    out.extend_from_slice(&body);
    Ok(out)
}

/// Adds those of `count` values that are wanted; none when the bytes are not right.
pub(crate) fn decode<T: Number>(
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<T>,
) -> Result<(), Malformed> {
    let before = out.len();
    let added = add(bytes, count, wanted, out);
    if added.is_err() {
        out.truncate(before);
    }
    added
}

fn add<T: Number>(bytes: &[u8], count: usize, wanted: Range<usize>, out: &mut Vec<T>) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    let page = reader.length()?;
    if page == 0 || wanted.end > count {
        return Err(CANNOT_DECOMPRESS);
    }
    let length = reader.length()?;
    let head = reader.take(length)?;
    let pages = count.div_ceil(page);
    let lengths = (0..pages).map(|_| reader.length()).collect::<Result<Vec<_>, _>>()?;
    let body = reader.take(reader.remaining())?;
    let (file, rest) = FileDecompressor::new(head).map_err(|_| CANNOT_DECOMPRESS)?;
    let (mut chunk, _) = file.chunk_decompressor::<T, _>(rest).map_err(|_| CANNOT_DECOMPRESS)?;
    let mut values = Vec::new();
    let mut at = 0_usize;
    for (number, length) in lengths.into_iter().enumerate() {
        let end = at.checked_add(length).ok_or(CANNOT_DECOMPRESS)?;
        let begin = number * page;
        let holds = begin..(begin + page).min(count);
        if holds.start < wanted.end && wanted.start < holds.end {
            let page_bytes = body.get(at..end).ok_or(CANNOT_DECOMPRESS)?;
            values.resize(holds.len(), T::default());
            let mut decompressor = chunk.page_decompressor(page_bytes, holds.len()).map_err(|_| CANNOT_DECOMPRESS)?;
            let progress = decompressor.read(&mut values).map_err(|_| CANNOT_DECOMPRESS)?;
            if progress.n_processed != holds.len() {
                return Err(CANNOT_DECOMPRESS);
            }
            let inside = wanted.start.max(holds.start) - begin..wanted.end.min(holds.end) - begin;
            out.extend_from_slice(&values[inside]);
        }
        at = end;
    }
    if at == body.len() { Ok(()) } else { Err(Malformed("it goes on after its end")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_many_values_reads_back() {
        let values: Vec<f64> =
            (0..8641).map(|number| f64::from(number % 97).sqrt() * f64::from(number / 1000)).collect();
        for count in [1, 359, 360, 361, 720, 8640, 8641] {
            let bytes = encode(&values[..count], 4).unwrap();
            for wanted in [0..count, 0..1, count - 1..count, count / 2..count / 2, count / 3..count / 2] {
                let mut read = vec![7.0];
                decode(&bytes, count, wanted.clone(), &mut read).unwrap();
                assert_eq!(read[1..], values[wanted], "{count}");
            }
            assert!(decode::<f64>(&bytes, count + 360, 0..1, &mut Vec::new()).is_err());
        }
    }
}
