//! A chunk of sketches: those of one series in one block, compressed together.
//!
//! It begins as a chunk of points does, so that both tell alike how much they hold and of which time. Layout in
//! `docs/format/chunk.md`.

use crate::SeriesId;
use crate::bytes::{Malformed, Reader, put_varint};
use crate::chunk;
use crate::sketch_column::Sketches;

/// A chunk of sketches, version 1: 64 more than the version.
pub(crate) const VERSION: u8 = 65;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const COMPRESSION_LEVEL: i32 = 3;
/// The most that the sketches of a chunk may unpack to.
const MOST_BYTES: usize = 1 << 32;

/// The chunk of a series. The sketches are not none.
pub(crate) fn encode(id: SeriesId, sketches: &Sketches) -> Result<Vec<u8>, Malformed> {
    let mut out = vec![VERSION];
    put_varint(&mut out, sketches.len() as u64);
    let times: Vec<i64> = sketches.keys().copied().collect();
    chunk::encode_times(&mut out, &times)?;
    let mut body = Vec::new();
    sketches.values().for_each(|sketch| put_varint(&mut body, sketch.len() as u64));
    sketches.values().for_each(|sketch| body.extend_from_slice(sketch));
    let compressed = zstd::bulk::compress(&body, COMPRESSION_LEVEL)
        .map_err(|_| Malformed("its sketches cannot be compressed"))
        .map(|bytes| Some(bytes).filter(|bytes| bytes.len() < body.len()))?;
    out.push(if compressed.is_some() { ZSTD } else { PLAIN });
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(compressed.as_ref().unwrap_or(&body));
    out.extend_from_slice(&chunk::checksum(id, &out).to_le_bytes());
    Ok(out)
}

/// Puts in the sketches of a chunk from `from` up to but not including `until`. Nothing is put in unless the whole chunk
/// passes its checks.
pub(crate) fn decode(id: SeriesId, bytes: &[u8], from: i64, until: i64, out: &mut Sketches) -> Result<(), Malformed> {
    let (mut reader, count) = chunk::open(id, bytes, &[VERSION])?;
    let times = chunk::decode_times(&mut reader, count)?;
    let codec = reader.u8()?;
    let length = reader.length().ok().filter(|length| *length <= MOST_BYTES);
    let length = length.ok_or(Malformed("it names an impossible length"))?;
    let stored = reader.take(reader.remaining())?;
    let unpacked;
    let body = match codec {
        PLAIN => stored,
        ZSTD => {
            unpacked =
                zstd::bulk::decompress(stored, length).map_err(|_| Malformed("its sketches cannot be decompressed"))?;
            unpacked.as_slice()
        }
        _ => return Err(Malformed("the codec of its sketches is unknown")),
    };
    if body.len() != length {
        return Err(Malformed("its sketches are of another length than it names"));
    }
    let mut body = Reader::new(body);
    let lengths = (0..count).map(|_| body.length()).collect::<Result<Vec<_>, _>>()?;
    let mut inside = Vec::new();
    for (time, length) in times.iter().zip(lengths) {
        let sketch = body.take(length)?;
        if (from..until).contains(time) {
            inside.push((*time, sketch.to_vec()));
        }
    }
    if !body.is_empty() {
        return Err(Malformed("it goes on after its end"));
    }
    out.extend(inside);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::Points;
    use proptest::prelude::*;
    use statline_series::Sketch;

    fn decode_all(id: SeriesId, bytes: &[u8]) -> Result<Sketches, Malformed> {
        let mut decoded = Sketches::new();
        decode(id, bytes, i64::MIN, i64::MAX, &mut decoded)?;
        Ok(decoded)
    }

    /// A timer of a bot: some tens of samples around 300 ms each 10 s.
    fn timer() -> Sketches {
        let sketch = |tick: i32| {
            let mut sketch = Sketch::new();
            for sample in 0..30 {
                sketch.add(300.0 + f64::from(tick * 31 + sample * 17).sin() * 120.0, 1.0);
            }
            let mut bytes = Vec::new();
            sketch.encode(&mut bytes);
            bytes
        };
        (0..720).map(|tick| (i64::from(tick) * 10_000, sketch(tick))).collect()
    }

    #[test]
    fn every_flipped_bit_a_wrong_series_and_points_are_noticed() {
        let chunk = encode(9, &timer().into_iter().take(3).collect()).unwrap();
        assert_eq!(decode_all(9, &chunk).unwrap().len(), 3);
        assert_eq!(decode_all(10, &chunk), Err(Malformed("its checksum does not match")));
        assert_eq!(chunk::span(9, &chunk), Ok((0, 20_000, 3)));
        let summary = chunk::Summary { form: crate::Form::Sketches, first: 0, last: 20_000, count: 3 };
        assert_eq!(chunk::verify(9, &chunk), Ok(summary));
        assert_eq!(chunk::count(&chunk), 3);
        for bit in 0..chunk.len() * 8 {
            let mut bad = chunk.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_all(9, &bad).is_err(), "bit {bit}");
        }
        let mut points = Points::default();
        assert_eq!(chunk::decode(9, &chunk, 0, 1, &mut points), Err(Malformed("its version is unknown")));
        points.push(5, 1.5);
        assert_eq!(decode_all(9, &chunk::encode(9, &points).unwrap()), Err(Malformed("its version is unknown")));
    }

    #[test]
    fn two_hours_of_a_timer_are_small() {
        let timer = timer();
        let plain: usize = timer.values().map(Vec::len).sum();
        let stored = encode(1, &timer).unwrap().len();
        assert!(stored < plain, "{stored} of {plain} bytes");
        assert!(stored < 720 * 80, "{stored} bytes");
    }

    proptest! {
        #[test]
        fn sketches_come_back_byte_for_byte(
            sketches in prop::collection::btree_map(-500_i64..500, prop::collection::vec(any::<u8>(), 0..30), 1..40),
            from in -600_i64..600,
            length in 0_i64..600,
        ) {
            let chunk = encode(3, &sketches).unwrap();
            prop_assert_eq!(&decode_all(3, &chunk).unwrap(), &sketches);
            let mut some = Sketches::new();
            decode(3, &chunk, from, from + length, &mut some).unwrap();
            prop_assert_eq!(some, sketches.range(from..from + length).map(|(time, bytes)| (*time, bytes.clone())).collect());
        }
    }
}
