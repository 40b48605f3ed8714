//! What an evaluation asks of a store, and what it is given.
//!
//! A request says what (points, sketches or events), of which series, and which range; the range is half-open, in milliseconds, and already widened or shifted for
//! the functions above it. Answers are kept under the request, and are laid onto the full grid of its range when they are
//! used, so that every series of one step begins and ends together, missing values at its ends included.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::mem::discriminant;
use std::sync::Arc;

use statline_series::{Kind, Matcher, PathPattern, SeriesKey, Sketch, Step, TimeRange, Timestamp, Values};

use crate::context::{Context, Limits};
use crate::error::EvalError;
use crate::series::Series;

/// Which series are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those whose path matches.
    Path(PathPattern),
    /// Those that pass every matcher.
    Matchers(Vec<Matcher>),
}

/// What of the store is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The points of series.
    Points(Selection),
    /// The sketches of series: those in each slot of a step merged into one, under the instant at which the slot starts.
    Sketches(Selection, Step),
    /// The instants of the events that have all of these tags; of all events when there are none.
    Events(Vec<String>),
}

/// Something that has to be fetched. Equal requests have equal answers.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The path or `seriesByTag(…)` as written: the path expression of the series fetched.
    pub expression: String,
    /// What is asked for.
    pub wanted: Wanted,
    /// From when to when.
    pub range: TimeRange,
}

impl PartialEq for FetchRequest {
    fn eq(&self, other: &Self) -> bool {
        // What is selected follows from the expression, and a step from the range.
        self.range == other.range
            && self.expression == other.expression
            && discriminant(&self.wanted) == discriminant(&other.wanted)
    }
}

impl Eq for FetchRequest {}

impl Hash for FetchRequest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expression.hash(state);
        self.range.hash(state);
        discriminant(&self.wanted).hash(state);
    }
}

/// What came of a request, of the kind that it wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Wanted::Points`].
    Points(Vec<FetchedSeries>),
    /// To [`Wanted::Sketches`].
    Sketches(Vec<FetchedSketches>),
    /// To [`Wanted::Events`]: an instant for each event.
    Events(Vec<Timestamp>),
}

impl From<Vec<FetchedSeries>> for Answer {
    fn from(series: Vec<FetchedSeries>) -> Self {
        Self::Points(series)
    }
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedSeries {
    /// Its identity.
    pub key: SeriesKey,
    /// What its values mean.
    pub kind: Kind,
    /// Its values in the range asked for; there may be fewer, or more.
    pub values: Values,
}

/// One series of sketches of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedSketches {
    /// Its identity.
    pub key: SeriesKey,
    /// The spacing of its slots: the step asked for, or a coarser one.
    pub step: Step,
    /// The sketches with the starts of their slots, ascending; none where nothing is known.
    pub slots: Vec<(Timestamp, Sketch)>,
}

/// A column as it was fetched.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    tags: BTreeMap<String, String>,
    kind: Kind,
    start: Timestamp,
    step: Step,
    values: Arc<Vec<f64>>,
}

/// Answers of one kind, by the expressions and ranges that they answer.
type Answers<T> = HashMap<String, Vec<(TimeRange, T)>>;

/// All answers so far.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    points: Answers<Vec<Column>>,
    sketches: Answers<Arc<Vec<FetchedSketches>>>,
    events: Answers<Arc<Vec<Timestamp>>>,
}

fn keep<T>(answers: &mut Answers<T>, request: &FetchRequest, answer: T) {
    let ranges = answers.entry(request.expression.clone()).or_default();
    ranges.retain(|(range, _)| *range != request.range);
    ranges.push((request.range, answer));
}

fn find<'a, T>(answers: &'a Answers<T>, expression: &str, range: TimeRange) -> Option<&'a T> {
    answers.get(expression)?.iter().find(|(known, _)| *known == range).map(|(_, answer)| answer)
}

impl Fetched {
    /// Keeps the answer to a request; one without anything in it is an answer too.
    pub fn insert(&mut self, request: &FetchRequest, answer: impl Into<Answer>) {
        match answer.into() {
            Answer::Points(series) => {
                let mut columns: Vec<Column> = series.into_iter().map(Column::new).collect();
                columns.sort_by(|left, right| left.name.cmp(&right.name));
                keep(&mut self.points, request, columns);
            }
            Answer::Sketches(mut series) => {
                series.sort_by(|left, right| left.key.as_str().cmp(right.key.as_str()));
                keep(&mut self.sketches, request, Arc::new(series));
            }
            Answer::Events(instants) => keep(&mut self.events, request, Arc::new(instants)),
        }
    }

    /// Whether a request has been answered.
    #[must_use]
    pub fn contains(&self, request: &FetchRequest) -> bool {
        let FetchRequest { expression, range, .. } = request;
        match request.wanted {
            Wanted::Points(_) => find(&self.points, expression, *range).is_some(),
            Wanted::Sketches(..) => self.sketches(expression, *range).is_some(),
            Wanted::Events(_) => self.events(expression, *range).is_some(),
        }
    }

    /// The sketches of an answer; `None` when there is none yet.
    pub(crate) fn sketches(&self, expression: &str, range: TimeRange) -> Option<Arc<Vec<FetchedSketches>>> {
        find(&self.sketches, expression, range).cloned()
    }

    /// The instants of events of an answer; `None` when there is none yet.
    pub(crate) fn events(&self, expression: &str, range: TimeRange) -> Option<Arc<Vec<Timestamp>>> {
        find(&self.events, expression, range).cloned()
    }

    /// The answer to a request, on the grids of its range; `None` when there is none yet.
    pub(crate) fn series(
        &self,
        expression: &str,
        range: TimeRange,
        context: &Context,
    ) -> Option<Result<Vec<Series>, EvalError>> {
        let columns = find(&self.points, expression, range)?;
        // Whisper answers with one point at least.
        let least = usize::from(context.as_graphite_web());
        Some(
            check_size(columns, range, &context.limits)
                .map(|()| columns.iter().map(|column| column.series(expression, range, least)).collect()),
        )
    }
}

/// Refuses what would not fit, before anything is laid out.
fn check_size(columns: &[Column], range: TimeRange, limits: &Limits) -> Result<(), EvalError> {
    if columns.len() > limits.max_series {
        return Err(EvalError::TooManySeries { got: columns.len(), limit: limits.max_series });
    }
    let points = columns.iter().fold(0_usize, |sum, column| sum.saturating_add(range.slots(column.step)));
    if points > limits.max_points {
        return Err(EvalError::TooManyPoints { got: points, limit: limits.max_points });
    }
    Ok(())
}

impl Column {
    fn new(fetched: FetchedSeries) -> Self {
        let name = fetched.key.as_str().to_owned();
        let mut tags: BTreeMap<String, String> =
            fetched.key.tags().map(|(tag, value)| (tag.to_owned(), value.into_owned())).collect();
        tags.entry("name".to_owned()).or_insert_with(|| fetched.key.name().to_owned());
        let (start, step, values) = match fetched.values {
            Values::Regular { start, step, values } => (start, step, values),
            Values::Irregular { timestamps, values } => regular(&timestamps, &values),
        };
        Self { name, tags, kind: fetched.kind, start, step, values: Arc::new(values) }
    }

    fn series(&self, expression: &str, range: TimeRange, least: usize) -> Series {
        let mut series = Series::new(self.name.clone(), range.from.align_up(self.step), self.step, Vec::new());
        series.tags.clone_from(&self.tags);
        expression.clone_into(&mut series.path_expression);
        series.kind = self.kind;
        let slots = range.slots(self.step).max(least);
        if series.start == self.start && slots == self.values.len() {
            series.share_values(Arc::clone(&self.values));
            return series;
        }
        let mut values = vec![f64::NAN; slots];
        let offset = self.start.millis().saturating_sub(series.start.millis()).div_euclid(self.step.millis());
        let skipped = usize::try_from(offset.saturating_neg()).unwrap_or(0).min(self.values.len());
        let place = usize::try_from(offset).unwrap_or(0).min(slots);
        for (slot, value) in values[place..].iter_mut().zip(&self.values[skipped..]) {
            *slot = *value;
        }
        series.set_values(values);
        series
    }
}

/// The most slots that values at instants of their own are spread over, for each value there is.
const MOST_SLOTS_A_VALUE: usize = 64;

/// Lays values at instants of their own onto a grid as fine as their closest two, and at least a second.
fn regular(timestamps: &[Timestamp], values: &[f64]) -> (Timestamp, Step, Vec<f64>) {
    let gap = timestamps.windows(2).map(|pair| pair[1].millis().saturating_sub(pair[0].millis())).min();
    let (Some(first), Some(last)) = (timestamps.first(), timestamps.last()) else {
        return (Timestamp::default(), Step::SECOND, Vec::new());
    };
    let span = last.millis().saturating_sub(first.millis());
    let most = i64::try_from(timestamps.len().saturating_mul(MOST_SLOTS_A_VALUE)).unwrap_or(i64::MAX);
    let wanted = gap.unwrap_or(1000).max(span / most);
    let step = Step::from_millis(wanted - wanted % 1000).unwrap_or(Step::SECOND);
    let start = first.align_down(step);
    let mut slots = vec![f64::NAN; TimeRange::new(start, last.offset(1)).slots(step)];
    for (timestamp, value) in timestamps.iter().zip(values) {
        let slot = timestamp.millis().saturating_sub(start.millis()).div_euclid(step.millis());
        if let Some(slot) = usize::try_from(slot).ok().and_then(|slot| slots.get_mut(slot)) {
            *slot = *value;
        }
    }
    (start, step, slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, column, context};

    fn request(from: i64, until: i64) -> FetchRequest {
        FetchRequest {
            expression: "a".to_owned(),
            wanted: Wanted::Points(Selection::Path(PathPattern::parse("a").unwrap())),
            range: TimeRange::new(at(from).offset(1), at(until).offset(1)),
        }
    }

    #[test]
    fn an_answer_is_laid_onto_the_whole_range() {
        for (from, until, start, expected) in [
            (100, 140, 110, vec![f64::NAN, 1.0, 2.0, 3.0]),
            (119, 140, 120, vec![1.0, 2.0, 3.0]),
            (120, 160, 130, vec![2.0, 3.0, f64::NAN, f64::NAN]),
            (200, 220, 210, vec![f64::NAN, f64::NAN]),
            (100, 110, 110, vec![f64::NAN]),
            (120, 120, 120, vec![]),
        ] {
            let mut fetched = Fetched::default();
            let request = request(from, until);
            fetched.insert(&request, vec![column("a", 120, 10, &[1.0, 2.0, 3.0])]);
            let series = fetched.series("a", request.range, &context()).unwrap().unwrap();
            assert_eq!(format!("{:?}", series[0].values()), format!("{expected:?}"), "({from}, {until}]");
            if !expected.is_empty() {
                assert_eq!(series[0].start, at(start), "({from}, {until}]");
            }
        }
    }

    #[test]
    fn an_answer_too_large_is_refused_before_it_is_laid_out() {
        let mut fetched = Fetched::default();
        let endless = FetchRequest { range: TimeRange::ALL, ..request(0, 0) };
        fetched.insert(&endless, vec![column("a", 120, 10, &[1.0])]);
        let answer = fetched.series("a", endless.range, &context()).unwrap();
        assert!(matches!(answer, Err(EvalError::TooManyPoints { .. })), "{answer:?}");
    }

    #[test]
    fn values_at_instants_of_their_own_find_a_grid() {
        let times = [at(100), at(115), at(131), at(190)];
        let (start, step, values) = regular(&times, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((start, step), (at(90), Step::from_seconds(15).unwrap()));
        let present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        assert_eq!(present, [1.0, 2.0, 3.0, 4.0]);
        let far = [Timestamp::MIN, at(0), at(1), Timestamp::MAX];
        assert!(regular(&far, &[1.0; 4]).2.len() <= 4 * MOST_SLOTS_A_VALUE + 2);
        assert!(regular(&[], &[]).2.is_empty());
    }
}
