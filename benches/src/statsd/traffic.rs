//! Packets that are made before anything is measured.

use std::fmt::Write as _;

/// What is sent: how many series, how they are packed, and of which types they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Different series, each of which comes equally often.
    pub series: usize,
    /// Lines of about 40 bytes in a packet.
    pub lines: usize,
    /// The types of the series.
    pub mix: Mix,
}

/// The types of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// Counters only.
    Counters,
    /// 70 % counters, 15 % timers, 10 % gauges, 5 % sets.
    Mixed,
}

impl Mix {
    /// As a table shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Mixed => "mixed",
        }
    }
}

/// The fewest lines that are made, so that few series do not come in an order that is learnt by heart.
const FEWEST_LINES: usize = 30_000;

/// Packets, one after the other.
pub struct Traffic {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    shape: Shape,
}

impl Traffic {
    /// Makes every series come equally often, in an order that is shuffled anew each time. The same every time.
    pub fn new(shape: Shape) -> Self {
        let mut random = fastrand::Rng::with_seed(8125);
        let mut order: Vec<usize> = (0..shape.series).collect();
        let (mut bytes, mut ends, mut line) = (Vec::new(), Vec::new(), String::new());
        let mut lines = 0;
        while lines < FEWEST_LINES || !lines.is_multiple_of(shape.lines) {
            random.shuffle(&mut order);
            for &series in &order {
                line.clear();
                write_line(&mut line, series, shape.mix, &mut random);
                bytes.extend_from_slice(line.as_bytes());
                lines += 1;
                if lines % shape.lines == 0 {
                    ends.push(bytes.len());
                } else {
                    bytes.push(b'\n');
                }
            }
        }
        Self { bytes, ends, shape }
    }

    /// How many packets there are before they repeat.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// What they are.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// A packet; they repeat.
    pub fn packet(&self, index: usize) -> &[u8] {
        let index = index % self.ends.len();
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// How many lines there are before they repeat.
    pub fn lines(&self) -> usize {
        self.ends.len() * self.shape.lines
    }

    /// So many packets in a row, wherever they begin, hold every series.
    pub fn packets_for_every_series(&self) -> usize {
        // Less than two permutations always hold a whole one.
        (2 * self.shape.series).div_ceil(self.shape.lines).min(self.len()) + 1
    }
}

/// A line of 40 bytes for the first thousand series, and a few more for higher ones.
fn write_line(line: &mut String, series: usize, mix: Mix, random: &mut fastrand::Rng) {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    let (first, second) = (letter(series), letter(series / 26));
    // Writing to a string never fails.
    let _ = write!(line, "service.api.endpoint_{series}.requests_{first}{second}");
    let _ = match (mix, series % 20) {
        (Mix::Counters, _) | (Mix::Mixed, 0..14) => write!(line, ":1|c"),
        (Mix::Mixed, 14..17) => write!(line, ":{}|ms", random.u32(1..1000)),
        (Mix::Mixed, 17..19) => write!(line, ":{}|g", random.u32(1..1000)),
        (Mix::Mixed, _) => write!(line, ":user{}|s", random.u32(1..1000)),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn every_series_comes_equally_often_and_packets_are_whole() {
        for (series, lines) in [(1000, 1), (1000, 30), (4001, 30)] {
            let traffic = Traffic::new(Shape { series, lines, mix: Mix::Counters });
            let mut seen: HashMap<String, usize> = HashMap::new();
            for index in 0..traffic.len() {
                let packet = std::str::from_utf8(traffic.packet(index)).unwrap();
                assert_eq!(packet.lines().count(), lines);
                for line in packet.lines() {
                    *seen.entry(line.to_owned()).or_default() += 1;
                }
            }
            assert_eq!(seen.len(), series);
            let often = seen.values().next().unwrap();
            assert!(seen.values().all(|times| times == often));
        }
    }

    #[test]
    fn a_mixed_shape_holds_each_type_in_its_share() {
        let traffic = Traffic::new(Shape { series: 1000, lines: 1, mix: Mix::Mixed });
        let mut by_type: HashMap<&str, usize> = HashMap::new();
        for index in 0..1000 {
            let packet = std::str::from_utf8(traffic.packet(index)).unwrap();
            *by_type.entry(packet.rsplit('|').next().unwrap()).or_default() += 1;
        }
        assert_eq!(by_type, HashMap::from([("c", 700), ("ms", 150), ("g", 100), ("s", 50)]));
    }
}
