//! Series one after the other, which most forms of an answer are.

use statline_graphite::Series;

use super::super::json::push_repr;
use super::super::stream::Job;

/// How many points are written in one piece, unless one series has more.
const POINTS_AT_ONCE: usize = 8192;

/// A form in which each series is written by itself.
pub trait Form: Copy + Send + 'static {
    /// What stands before the first series.
    const BEFORE: &'static str = "";
    /// What stands between two.
    const BETWEEN: &'static str = "";
    /// What stands after the last one.
    const AFTER: &'static str = "";

    /// Writes a series.
    fn write(self, out: &mut Vec<u8>, series: &Series);
}

/// Series in a form, a job for each piece. A series is let go once it is written.
pub fn pieces<F: Form>(form: F, series: Vec<Series>) -> impl Iterator<Item = Job> + Send {
    let mut waiting = series.into_iter();
    let mut is_first = true;
    let mut is_done = false;
    std::iter::from_fn(move || {
        if std::mem::replace(&mut is_done, waiting.len() == 0) {
            return None;
        }
        let mut points = 0;
        let fits = |series: &&Series| {
            points += series.len();
            points <= POINTS_AT_ONCE
        };
        let count = waiting.as_slice().iter().take_while(fits).count().max(1);
        let part: Vec<Series> = waiting.by_ref().take(count).collect();
        is_done = waiting.len() == 0;
        let before = if std::mem::take(&mut is_first) { F::BEFORE } else { F::BETWEEN };
        let after = if is_done { F::AFTER } else { "" };
        Some(Box::new(move || write(form, &part, before, after)) as Job)
    })
}

fn write<F: Form>(form: F, series: &[Series], before: &str, after: &str) -> Vec<u8> {
    let mut out = before.as_bytes().to_vec();
    for (index, one) in series.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(F::BETWEEN.as_bytes());
        }
        form.write(&mut out, one);
    }
    out.extend_from_slice(after.as_bytes());
    out
}

/// A value that is present, as Python writes it.
pub fn push_python(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        push_repr(out, value);
    } else {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    }
}

/// All of an answer at once.
#[cfg(test)]
pub fn written(pieces: impl Iterator<Item = Job>) -> Vec<u8> {
    pieces.flat_map(|piece| piece()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::series;
    use super::*;

    #[derive(Clone, Copy)]
    struct Names;

    impl Form for Names {
        const BEFORE: &'static str = "<";
        const BETWEEN: &'static str = "|";
        const AFTER: &'static str = ">";

        fn write(self, out: &mut Vec<u8>, series: &Series) {
            out.extend_from_slice(series.name.as_bytes());
        }
    }

    #[test]
    fn pieces_make_a_whole() {
        let half = vec![1.0; POINTS_AT_ONCE / 2];
        for (lengths, count, expected) in [
            (&[][..], 1, "<>"),
            (&[1], 1, "<s0>"),
            (&[1, 0, 5], 1, "<s0|s1|s2>"),
            (&[half.len(), half.len(), half.len(), 3 * half.len(), 0], 4, "<s0|s1|s2|s3|s4>"),
        ] {
            let list = || {
                let one = |(index, length): (usize, &usize)| series(&format!("s{index}"), 0, 60, &vec![1.0; *length]);
                lengths.iter().enumerate().map(one).collect()
            };
            assert_eq!(String::from_utf8(written(pieces(Names, list()))).unwrap(), expected);
            assert_eq!(pieces(Names, list()).count(), count, "{expected}");
        }
    }
}
