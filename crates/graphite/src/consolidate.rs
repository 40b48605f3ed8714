//! Fewer points for a panel that is narrower than its series.
//!
//! Buckets begin at multiples of their width, so that they hold the same points from one refresh to the next and nothing
//! jitters as the window moves. A bucket cut off by the start of the window is left out for the same reason; the
//! newest one is shown as far as it goes.

use statline_series::{Step, TimeRange, Timestamp};

use crate::align::Bucketer;
use crate::context::Context;
use crate::parallel;
use crate::series::Series;

/// Brings each series to at most `context.max_data_points` points: as `consolidateBy` says, else as the series' kind has
/// it. Series with few enough points are left alone.
///
/// As graphite-web has it, all series of an answer count together: give it those of all targets.
#[must_use]
pub fn consolidate(mut series: Vec<Series>, context: &Context) -> Vec<Series> {
    let most = context.max_data_points.filter(|most| *most > 0);
    if context.as_graphite_web() {
        return consolidate_by_place(series, most.unwrap_or(usize::MAX), context);
    }
    if let Some(most) = most {
        parallel::change(&mut series, |one| consolidate_one(one, most, context));
    }
    series
}

fn consolidate_one(series: &mut Series, most: usize, context: &Context) {
    if series.len() <= most {
        return;
    }
    // The window's length decides, since it stays the same while the window moves; a series may be longer than it.
    let in_window = usize::try_from(context.range().millis() / series.step.millis()).unwrap_or(usize::MAX);
    let points = series.len().max(in_window.min(series.len() + 1));
    let values_per_point = i64::try_from(points.div_ceil(most)).unwrap_or(i64::MAX);
    let Some(width) = Step::from_millis(series.step.millis().saturating_mul(values_per_point)) else { return };
    let end = series.end();
    let first_whole = series.start.align_up(width);
    // Everything in one bucket, and not at its start: the bucket is all there is to show.
    let start = if first_whole >= end { series.start.align_down(width) } else { first_whole };
    let buckets = TimeRange::new(start, end).slots(width);
    let bucketer = Bucketer::new(series, context);
    let mut values = Vec::with_capacity(buckets);
    let mut time = start;
    for _ in 0..buckets {
        let next = time.offset(width.millis());
        values.push(bucketer.value(time, next));
        time = next;
    }
    series.start = start;
    series.step = width;
    series.set_values(values);
}

/// As graphite-web has it: buckets are counted from a start that is moved on, by more than the values that go for it, so that
/// each is labelled one step late.
fn consolidate_by_place(mut series: Vec<Series>, most: usize, context: &Context) -> Vec<Series> {
    if series.iter().all(Series::is_empty) {
        // It takes series without places for none.
        return Vec::new();
    }
    let start = series.iter().map(|one| one.start.millis()).min().unwrap_or_default();
    let end = series.iter().map(|one| one.end().millis()).max().unwrap_or_default();
    let range = end.saturating_sub(start);
    for one in &mut series {
        let end = one.end().millis();
        narrow_by_place(one, range, most, context);
        // What lies beyond the end is not labelled, and so not shown.
        let shown = end.saturating_sub(one.start.millis()).div_euclid(one.step.millis()).saturating_add(1);
        one.keep_first(usize::try_from(shown).unwrap_or(0));
    }
    series
}

fn narrow_by_place(one: &mut Series, range: i64, most: usize, context: &Context) {
    let step = one.step.millis();
    let values_per_point = if most == 1 {
        one.len()
    } else {
        let wanted = i64::try_from(most).unwrap_or(i64::MAX).saturating_mul(step);
        if range <= wanted {
            return;
        }
        usize::try_from(range.saturating_add(wanted - 1) / wanted).unwrap_or(usize::MAX)
    };
    let width = step.saturating_mul(i64::try_from(values_per_point).unwrap_or(i64::MAX));
    let Some(width) = Step::from_millis(width) else { return };
    if most > 1 {
        let at = one.start.millis();
        let nudge = width.millis() + at.rem_euclid(step) - at.rem_euclid(width.millis());
        one.drop_first(usize::try_from(nudge / step - 1).unwrap_or(0));
        one.start = Timestamp::from_millis(at.saturating_add(nudge));
    }
    let values = Bucketer::new(one, context).by_place(values_per_point);
    one.step = width;
    one.set_values(values);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, context, series};
    use proptest::prelude::*;
    use statline_series::{Consolidation, Kind};

    fn narrow(one: Series, from: i64, until: i64, most: usize) -> Series {
        let context = Context { from: at(from), until: at(until), max_data_points: Some(most), ..context() };
        consolidate(vec![one], &context).remove(0)
    }

    #[test]
    fn buckets_are_multiples_of_their_width() {
        let drawn = narrow(series("a", 60, 10, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 50, 110, 3);
        assert_eq!((drawn.start, drawn.step.millis()), (at(60), 20_000));
        assert_eq!(drawn.values(), [1.5, 3.5, 5.5]);
        // One step later the same points share a bucket, and the one cut off by the start is gone.
        let drawn = narrow(series("a", 70, 10, &[2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), 60, 120, 3);
        assert_eq!((drawn.start, drawn.values()), (at(80), &[3.5, 5.5, 7.0][..]));
    }

    #[test]
    fn the_target_decides_how_else_the_kind() {
        let values = [1.0, 2.0, f64::NAN, 4.0];
        let one = |kind, said| {
            let mut one = series("a", 0, 10, &values);
            one.kind = kind;
            one.consolidation = said;
            narrow(one, -10, 30, 2).into_values()
        };
        assert_eq!(one(Kind::Gauge, None), [1.5, 4.0]);
        assert_eq!(one(Kind::Count, None), [3.0, 4.0]);
        assert_eq!(one(Kind::Maximum, None), [2.0, 4.0]);
        assert_eq!(one(Kind::Count, Some(Consolidation::Min)), [1.0, 4.0]);
        let mut strict = series("a", 0, 10, &values);
        strict.x_files_factor = Some(0.8);
        assert_eq!(format!("{:?}", narrow(strict, -10, 30, 2).values()), "[1.5, NaN]");
    }

    #[test]
    fn few_points_are_left_alone_and_one_is_possible() {
        let one = series("a", 60, 10, &[1.0, 2.0, 3.0]);
        assert_eq!(narrow(one.clone(), 50, 80, 3), one);
        assert_eq!(narrow(one.clone(), 50, 80, 0), one);
        assert_eq!(narrow(one, 50, 80, 1).len(), 1);
    }

    proptest! {
        #[test]
        fn never_more_than_asked_for(start in -1000_i64..1000, len in 0_usize..300, most in 1_usize..100) {
            let one = series("a", start * 10, 10, &vec![1.0; len]);
            let length = i64::try_from(len).unwrap();
            prop_assert!(narrow(one, start * 10 - 10, (start + length) * 10, most).len() <= most);
        }
    }
}
