//! Values from before the window, fetched so that functions which look back have something to look at.

use crate::context::Context;
use crate::series::Series;

/// Leaves out the values that were only there to be looked back at, of a series fetched from `millis` before the window:
/// those up to its beginning. graphite-web leaves out so many `points`, counts its time from the first value fetched and
/// shows nothing after the end, which is the same when `millis` is a multiple of the step.
pub(super) fn drop_preview(one: &mut Series, points: usize, millis: i64, context: &Context) {
    if context.as_graphite_web() {
        let (start, end) = (one.start.offset(millis), one.end());
        one.drop_first(points);
        one.start = start;
        one.said_end = Some(end);
        return;
    }
    let step = one.step.millis();
    let begins_with_preview = one.start <= context.looking_back(millis).from.offset(step);
    let count = if begins_with_preview {
        millis / step
    } else {
        context.from.millis().saturating_sub(one.start.millis()).div_euclid(step).saturating_add(1)
    };
    one.drop_first(usize::try_from(count).unwrap_or(0));
}
