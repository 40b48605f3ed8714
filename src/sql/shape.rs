//! From columns to a frame: a table as it is, or series over time.
//!
//! For a time series the instant is the column `time`, or else the first that holds instants; every text column tells series
//! apart and becomes a label; every number is a value. Series share one wide frame, which is what panels draw and alerts
//! take.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use grafana_plugin::{Field, Frame, FrameType, Labels, QueryError};

use super::columns::{Column, Values};
use super::fill::{Fill, FillValue};

/// The most values, present or not, that the series of an answer may have together.
const MAX_CELLS: usize = 20_000_000;

/// Rows as they are.
///
/// # Errors
/// When a column cannot be a field.
pub fn table(columns: Vec<Column>) -> Result<Frame, QueryError> {
    let mut frame = Frame::new("", FrameType::Table);
    for column in columns {
        let is_time = column.name.eq_ignore_ascii_case("time");
        let column = if is_time { with_instants(column)? } else { column };
        let name = column.name;
        frame = frame.with_field(match column.values {
            Values::Time(values) => Field::time_ns_nullable(&name, values),
            Values::Integer(values) => Field::int64_nullable(&name, values),
            Values::Float(values) => Field::float64_nullable(&name, values),
            Values::Boolean(values) => Field::boolean_nullable(&name, values),
            Values::Text(values) => Field::string_nullable(&name, values),
            Values::Json(values) => Field::json(&name, values.iter().map(Option::as_ref)),
        });
    }
    Ok(frame)
}

/// A series of values: which column, which labels.
type SeriesId = (usize, Vec<Option<String>>);

/// Series over time.
///
/// # Errors
/// When there is no column of instants or none of numbers, or there are too many series for so many instants.
pub fn time_series(columns: Vec<Column>, fill: Option<&Fill>) -> Result<Frame, QueryError> {
    time_series_within(MAX_CELLS, columns, fill)
}

fn time_series_within(max_cells: usize, mut columns: Vec<Column>, fill: Option<&Fill>) -> Result<Frame, QueryError> {
    let time_at = time_column(&columns)?;
    let time = with_instants(columns.remove(time_at))?;
    let Values::Time(instants) = time.values else {
        return Err(QueryError::internal("the time column holds no instants"));
    };
    let labels: Vec<usize> = of_kind(&columns, |values| matches!(values, Values::Text(_)));
    let numbers: Vec<usize> =
        of_kind(&columns, |values| matches!(values, Values::Integer(_) | Values::Float(_) | Values::Boolean(_)));
    if numbers.is_empty() {
        return Err(QueryError::bad_request(format!(
            "a time series needs a column of numbers, and there is none among {}; choose the format Table to see the rows",
            names(&columns)
        )));
    }

    let times = grid(&instants, fill)?;
    let slot_of: HashMap<i64, usize> = times.iter().enumerate().map(|(slot, at)| (*at, slot)).collect();
    let mut order: Vec<SeriesId> = Vec::new();
    let mut series: HashMap<SeriesId, Vec<Option<f64>>> = HashMap::new();
    let mut has_row: HashMap<SeriesId, Vec<bool>> = HashMap::new();
    for (row, instant) in instants.iter().enumerate() {
        // A row without an instant has no place in a time series.
        let Some(slot) = instant.and_then(|instant| slot_of.get(&instant)) else { continue };
        let label_values: Vec<Option<String>> = labels.iter().map(|index| text(&columns[*index], row)).collect();
        for number in &numbers {
            let id = (*number, label_values.clone());
            let values = match series.entry(id.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    // Every series has a value, or none, at every instant: that is refused before it is made.
                    if (order.len() + 1).saturating_mul(times.len()) > max_cells {
                        return Err(too_many_cells(max_cells, times.len(), order.len(), &columns, &labels));
                    }
                    order.push(id.clone());
                    new.insert(vec![None; times.len()])
                }
            };
            values[*slot] = value(&columns[*number], row);
            if fill.is_some() {
                has_row.entry(id).or_insert_with(|| vec![false; times.len()])[*slot] = true;
            }
        }
    }

    let mut frame = Frame::new("", FrameType::TimeSeriesWide).with_field(Field::time_ns("time", times));
    for id in order {
        let mut values = series.remove(&id).unwrap_or_default();
        if let (Some(fill), Some(has_row)) = (fill, has_row.get(&id)) {
            fill_in(&mut values, has_row, fill.value);
        }
        frame = frame.with_field(field(&columns, &labels, numbers.len(), &id, values));
    }
    Ok(frame)
}

fn too_many_cells(
    max_cells: usize,
    instants: usize,
    series: usize,
    columns: &[Column],
    labels: &[usize],
) -> QueryError {
    let label_names: Vec<&str> = labels.iter().map(|index| columns[*index].name.as_str()).collect();
    let remedy = if label_names.is_empty() {
        "select fewer columns of numbers, group by a longer interval, or choose the format Table".to_owned()
    } else {
        format!(
            "every value of {} makes a series: leave such columns out, group by a longer interval, or choose the format Table",
            label_names.join(", ")
        )
    };
    QueryError::downstream(
        422,
        format!(
            "the result has more than {series} series over {instants} instants, beyond the limit of {max_cells} values; {remedy}"
        ),
    )
}

fn field(columns: &[Column], labels: &[usize], numbers: usize, id: &SeriesId, values: Vec<Option<f64>>) -> Field {
    let (number, label_values) = id;
    let column = &columns[*number].name;
    let named: Labels = labels
        .iter()
        .zip(label_values)
        .filter_map(|(index, value)| Some((columns[*index].name.clone(), value.clone()?)))
        .collect::<BTreeMap<_, _>>();
    let told: Vec<&str> = label_values.iter().flatten().map(String::as_str).collect();
    let display = match (told.is_empty(), numbers) {
        (true, _) => column.clone(),
        (false, 1) => told.join(" "),
        (false, _) => format!("{} {column}", told.join(" ")),
    };
    Field::float64_nullable(column, values).with_labels(named).with_display_name(&display)
}

/// The instants of the frame, ascending: those of the rows, and those of the groups that are filled in.
fn grid(instants: &[Option<i64>], fill: Option<&Fill>) -> Result<Vec<i64>, QueryError> {
    let mut times: BTreeSet<i64> = instants.iter().flatten().copied().collect();
    if let Some(fill) = fill {
        times.extend(fill.instants()?);
    }
    Ok(times.into_iter().collect())
}

fn fill_in(values: &mut [Option<f64>], has_row: &[bool], fill: FillValue) {
    let mut previous = None;
    for (value, has_row) in values.iter_mut().zip(has_row) {
        if !has_row {
            *value = match fill {
                FillValue::Null => None,
                FillValue::Previous => previous,
                FillValue::Number(number) => Some(number),
            };
        }
        previous = *value;
    }
}

fn time_column(columns: &[Column]) -> Result<usize, QueryError> {
    let named = columns.iter().position(|column| column.name.eq_ignore_ascii_case("time"));
    let typed = || columns.iter().position(|column| matches!(column.values, Values::Time(_)));
    named.or_else(typed).ok_or_else(|| {
        QueryError::bad_request(format!(
            "a time series needs a column named time, and there is none among {}; choose the format Table to see the rows",
            names(columns)
        ))
    })
}

fn of_kind(columns: &[Column], is_kind: impl Fn(&Values) -> bool) -> Vec<usize> {
    columns.iter().enumerate().filter(|(_, column)| is_kind(&column.values)).map(|(index, _)| index).collect()
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    if names.is_empty() { "no columns".to_owned() } else { names.join(", ") }
}

fn text(column: &Column, row: usize) -> Option<String> {
    match &column.values {
        Values::Text(values) => values[row].clone(),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time series is of floats; a table keeps every digit")]
fn value(column: &Column, row: usize) -> Option<f64> {
    match &column.values {
        Values::Integer(values) => values[row].map(|value| value as f64),
        Values::Float(values) => values[row],
        Values::Boolean(values) => values[row].map(f64::from),
        _ => None,
    }
}

/// A column of numbers as one of instants, by the size of its numbers: seconds, milliseconds, microseconds or nanoseconds.
fn with_instants(column: Column) -> Result<Column, QueryError> {
    let values = match column.values {
        Values::Time(values) => values,
        Values::Integer(values) => values.into_iter().map(|value| value.and_then(epoch_of_integer)).collect(),
        Values::Float(values) => values.into_iter().map(|value| value.and_then(epoch_of_float)).collect(),
        _ => {
            return Err(QueryError::bad_request(format!(
                "column {:?} is to be the time, and holds neither timestamps nor epochs",
                column.name
            )));
        }
    };
    Ok(Column::computed(column.name, Values::Time(values)))
}

/// Nanoseconds in one unit of an epoch of this size. Seconds reach to the year 5138, milliseconds begin in 1973.
fn nanos_a_unit(size: f64) -> i64 {
    match size {
        size if size < 1e11 => 1_000_000_000,
        size if size < 1e14 => 1_000_000,
        size if size < 1e17 => 1000,
        _ => 1,
    }
}

#[expect(clippy::cast_precision_loss, reason = "only the size matters")]
fn epoch_of_integer(epoch: i64) -> Option<i64> {
    epoch.checked_mul(nanos_a_unit((epoch as f64).abs()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bounded before it is cast")]
fn epoch_of_float(epoch: f64) -> Option<i64> {
    let unit = nanos_a_unit(epoch.abs());
    // Whole units first, then the rest in microseconds: a float of this size knows no more, and digits that it makes up
    // would miss the group that a fill expects.
    let whole = epoch.floor();
    let rest_micros = (epoch - whole) * (unit as f64 / 1000.0);
    if whole.abs() >= 9.2e18 || whole.is_nan() {
        return None;
    }
    (whole as i64).checked_mul(unit)?.checked_add(rest_micros.round() as i64 * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn column(name: &str, values: Values) -> Column {
        Column::computed(name.to_owned(), values)
    }

    fn seconds(values: &[i64]) -> Values {
        Values::Integer(values.iter().copied().map(Some).collect())
    }

    fn texts(values: &[&str]) -> Values {
        Values::Text(values.iter().map(|text| Some((*text).to_owned())).collect())
    }

    fn numbers(field: &Field) -> Vec<Option<f64>> {
        (0..field.len()).map(|row| field.number(row)).collect()
    }

    const T: i64 = 1_700_000_000;

    #[test]
    fn text_columns_tell_series_apart() {
        let frame = time_series(
            vec![
                column("time", seconds(&[T + 1, T, T])),
                column("type", texts(&["ban", "ban", "note"])),
                column("count", seconds(&[3, 1, 2])),
            ],
            None,
        )
        .unwrap();
        assert_eq!(frame.fields.len(), 3);
        assert_eq!(frame.fields[0].time_ms_at(0), Some(T * 1000));
        assert_eq!(numbers(&frame.fields[1]), [Some(1.0), Some(3.0)]);
        assert_eq!(numbers(&frame.fields[2]), [Some(2.0), None]);
        assert_eq!(frame.fields[1].labels.as_ref().unwrap()["type"], "ban");
        assert_eq!(frame.fields[1].config.as_ref().unwrap().display_name_from_ds, "ban");
        assert_eq!(frame.meta.frame_type, Some(FrameType::TimeSeriesWide));
    }

    #[test]
    fn gaps_are_filled_for_each_series() {
        let fill = |value| Fill {
            value,
            step: Duration::from_secs(10),
            zone: None,
            from: chrono::DateTime::from_timestamp(T, 0).unwrap(),
            until: chrono::DateTime::from_timestamp(T + 30, 0).unwrap(),
        };
        let rows = || vec![column("time", seconds(&[T, T + 20])), column("n", seconds(&[5, 7]))];
        for (value, expected) in [
            (FillValue::Null, [Some(5.0), None, Some(7.0), None]),
            (FillValue::Previous, [Some(5.0), Some(5.0), Some(7.0), Some(7.0)]),
            (FillValue::Number(0.0), [Some(5.0), Some(0.0), Some(7.0), Some(0.0)]),
        ] {
            let frame = time_series(rows(), Some(&fill(value))).unwrap();
            assert_eq!(numbers(&frame.fields[1]), expected, "{value:?}");
        }
    }

    #[test]
    fn groups_of_a_fraction_of_a_second_are_found_by_their_fill() {
        let epoch = T as f64;
        for step_ms in [100_u32, 300, 500] {
            let step = f64::from(step_ms) / 1000.0;
            // As PostgreSQL answers floor(epoch/step)*step.
            let groups: Vec<f64> = (0..20).map(|group| ((epoch / step).ceil() + f64::from(group)) * step).collect();
            let first = (groups[0] * 1000.0).round() as i64;
            let fill = Fill {
                value: FillValue::Number(-1.0),
                step: Duration::from_millis(step_ms.into()),
                zone: None,
                from: chrono::DateTime::from_timestamp_millis(first).unwrap(),
                until: chrono::DateTime::from_timestamp_millis(first + i64::from(step_ms) * 19).unwrap(),
            };
            let columns = vec![
                column("time", Values::Float(groups.into_iter().map(Some).collect())),
                column("n", seconds(&(0..20).collect::<Vec<_>>())),
            ];
            let frame = time_series(columns, Some(&fill)).unwrap();
            let expected: Vec<_> = (0..20).map(|group| Some(f64::from(group))).collect();
            assert_eq!(numbers(&frame.fields[1]), expected, "groups of {step} s");
        }
    }

    #[test]
    fn more_series_than_fit_are_refused_before_they_are_made() {
        let rows = |labels: Vec<(&str, &[&str])>| {
            let labels = labels.into_iter().map(|(name, values)| column(name, texts(values)));
            labels.chain([column("time", seconds(&[T, T + 1, T + 2])), column("n", seconds(&[1, 2, 3]))]).collect()
        };
        let users = || vec![("user", &["a", "b", "c"][..]), ("kind", &["x", "x", "x"])];
        assert_eq!(time_series_within(9, rows(users()), None).unwrap().fields.len(), 4);
        let error = time_series_within(8, rows(users()), None).unwrap_err();
        assert_eq!(error.status, 422);
        assert_eq!(
            error.message,
            "the result has more than 2 series over 3 instants, beyond the limit of 8 values; every value of user, kind \
             makes a series: leave such columns out, group by a longer interval, or choose the format Table"
        );
        let error = time_series_within(2, rows(Vec::new()), None).unwrap_err();
        assert!(error.message.contains("select fewer columns of numbers"), "{}", error.message);
    }

    #[test]
    fn what_a_time_series_needs_is_said() {
        let error = time_series(vec![column("a", texts(&["x"])), column("b", seconds(&[1]))], None).unwrap_err();
        assert!(error.message.contains("needs a column named time, and there is none among a, b"), "{}", error.message);
        let error = time_series(vec![column("time", seconds(&[T])), column("b", texts(&["x"]))], None).unwrap_err();
        assert!(error.message.contains("needs a column of numbers"), "{}", error.message);
        let error = time_series(vec![column("time", texts(&["x"]))], None).unwrap_err();
        assert!(error.message.contains("neither timestamps nor epochs"), "{}", error.message);
    }

    #[test]
    fn epochs_are_known_by_their_size() {
        for epoch in [T, T * 1000, T * 1_000_000, T * 1_000_000_000] {
            assert_eq!(epoch_of_integer(epoch), Some(T * 1_000_000_000));
        }
        assert_eq!(epoch_of_float(1_700_000_000.25), Some(T * 1_000_000_000 + 250_000_000));
        for epoch in [1_700_000_000.3, 1_700_000_000_300.0, 1_700_000_000_300_000.0] {
            assert_eq!(epoch_of_float(epoch), Some(T * 1_000_000_000 + 300_000_000), "{epoch}");
        }
        assert_eq!(epoch_of_float(-0.1), Some(-100_000_000));
        assert_eq!(epoch_of_float(f64::NAN), None);
        assert_eq!(epoch_of_float(1e300), None);
    }

    #[test]
    fn a_table_keeps_its_rows() {
        let frame = table(vec![column("Time", seconds(&[T])), column("name", texts(&["a"]))]).unwrap();
        assert!(frame.fields[0].is_time());
        assert_eq!(frame.fields[1].text(0), Some("a"));
        assert_eq!(frame.meta.frame_type, Some(FrameType::Table));
    }
}
