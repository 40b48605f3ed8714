//! Series as record batches, one row a series.
//!
//! `name: utf8, labels: map<utf8, utf8>, path_expression: utf8, start: timestamp(ms), step: int64 (ms),
//! values: list<float64>, times: list<timestamp(ms)>`. A regular series has `start` and `step`, an irregular one has `times`
//! in their place. A missing value is null. Columns are read by name, so that later versions may add some.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use statline_series::{Step, Timestamp, Values};
use thiserror::Error;

/// The most values in one batch, so that a message stays within a few MiB. A longer series has a batch to itself.
const VALUES_PER_BATCH: usize = 1 << 18;

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRow {
    /// What to call it, in a legend.
    pub name: String,
    /// Its tags, or those that a function left.
    pub labels: BTreeMap<String, String>,
    /// The path or expression that it came of.
    pub path_expression: String,
    /// Its values; NaN when missing.
    pub values: Values,
}

/// Why a record batch holds no rows of series.
#[derive(Debug, Error)]
pub enum RowError {
    /// Arrow refused.
    #[error("the record batch could not be made: {0}")]
    Arrow(#[from] ArrowError),
    /// A column is absent or of another type.
    #[error("the record batch has no column {name:?} of type {expected}")]
    MissingColumn {
        /// Its name.
        name: &'static str,
        /// Its type.
        expected: &'static str,
    },
    /// A row has neither `start` and `step` nor `times`.
    #[error("row {0} of the record batch has neither start and step nor as many times as values")]
    NoTimes(usize),
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("labels", labels_type(), false),
        Field::new("path_expression", DataType::Utf8, false),
        Field::new("start", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("step", DataType::Int64, true),
        Field::new("values", DataType::List(value_item()), false),
        Field::new("times", DataType::List(time_item()), true),
    ]))
});

/// The schema of every answer.
#[must_use]
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

fn labels_type() -> DataType {
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn value_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float64, true))
}

fn time_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Timestamp(TimeUnit::Millisecond, None), false))
}

/// Rows as record batches, each of a bounded number of values.
///
/// # Errors
/// When Arrow refuses, which it does for lists of more than 2^31 values.
pub fn encode(rows: &[SeriesRow]) -> Result<Vec<RecordBatch>, RowError> {
    let mut batches = Vec::new();
    let mut start = 0;
    while start < rows.len() {
        let mut values = 0;
        let fitting = rows[start..].iter().take_while(|row| {
            values += row.values.len();
            values <= VALUES_PER_BATCH
        });
        let end = start + fitting.count().max(1);
        batches.push(encode_batch(&rows[start..end])?);
        start = end;
    }
    Ok(batches)
}

fn encode_batch(rows: &[SeriesRow]) -> Result<RecordBatch, RowError> {
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (name, value) in &row.labels {
            labels.keys().append_value(name);
            labels.values().append_value(value);
        }
        labels.append(true)?;
    }
    let starts = rows.iter().map(|row| match &row.values {
        Values::Regular { start, .. } => Some(start.millis()),
        Values::Irregular { .. } => None,
    });
    let steps = rows.iter().map(|row| match &row.values {
        Values::Regular { step, .. } => Some(step.millis()),
        Values::Irregular { .. } => None,
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.name))),
        Arc::new(labels.finish()),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.path_expression))),
        Arc::new(TimestampMillisecondArray::from_iter(starts)),
        Arc::new(Int64Array::from_iter(steps)),
        Arc::new(encode_values(rows)?),
        Arc::new(encode_times(rows)?),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn encode_values(rows: &[SeriesRow]) -> Result<ListArray, ArrowError> {
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.values.len()));
    let all: Vec<f64> = rows.iter().flat_map(|row| row.values.values()).copied().collect();
    let present: NullBuffer = all.iter().map(|value| !value.is_nan()).collect();
    let items = Float64Array::new(all.into(), (present.null_count() > 0).then_some(present));
    ListArray::try_new(value_item(), offsets, Arc::new(items), None)
}

fn encode_times(rows: &[SeriesRow]) -> Result<ListArray, ArrowError> {
    let times_of = |row: &SeriesRow| match &row.values {
        Values::Regular { .. } => None,
        Values::Irregular { timestamps, .. } => Some(timestamps.iter().map(|time| time.millis()).collect::<Vec<_>>()),
    };
    let times: Vec<Option<Vec<i64>>> = rows.iter().map(times_of).collect();
    let offsets = OffsetBuffer::from_lengths(times.iter().map(|times| times.as_ref().map_or(0, Vec::len)));
    let present: NullBuffer = times.iter().map(Option::is_some).collect();
    let items: TimestampMillisecondArray = times.into_iter().flatten().flatten().collect::<Vec<i64>>().into();
    ListArray::try_new(time_item(), offsets, Arc::new(items), Some(present))
}

/// The rows of a record batch.
///
/// # Errors
/// When a column is absent or of another type, or a row has no instants.
pub fn decode(batch: &RecordBatch) -> Result<Vec<SeriesRow>, RowError> {
    let column = |name: &'static str, expected: &'static str| {
        batch.column_by_name(name).ok_or(RowError::MissingColumn { name, expected })
    };
    let wrong = |name, expected| RowError::MissingColumn { name, expected };
    let names = column("name", "utf8")?.as_string_opt::<i32>().ok_or(wrong("name", "utf8"))?;
    let labels = column("labels", "map")?.as_map_opt().ok_or(wrong("labels", "map"))?;
    let paths = column("path_expression", "utf8")?.as_string_opt::<i32>().ok_or(wrong("path_expression", "utf8"))?;
    let starts = column("start", "timestamp(ms)")?
        .as_primitive_opt::<TimestampMillisecondType>()
        .ok_or(wrong("start", "timestamp(ms)"))?;
    let steps = column("step", "int64")?.as_primitive_opt::<Int64Type>().ok_or(wrong("step", "int64"))?;
    let values = column("values", "list")?.as_list_opt::<i32>().ok_or(wrong("values", "list"))?;
    let times = column("times", "list")?.as_list_opt::<i32>().ok_or(wrong("times", "list"))?;

    let mut rows = Vec::with_capacity(batch.num_rows());
    for index in 0..batch.num_rows() {
        let row_values = decode_values(values, index)?;
        let step = steps.is_valid(index).then(|| Step::from_millis(steps.value(index))).flatten();
        let values = match step {
            Some(step) if starts.is_valid(index) => {
                Values::Regular { start: Timestamp::from_millis(starts.value(index)), step, values: row_values }
            }
            _ => {
                let timestamps = decode_times(times, index)?;
                if timestamps.len() != row_values.len() {
                    return Err(RowError::NoTimes(index));
                }
                Values::Irregular { timestamps, values: row_values }
            }
        };
        rows.push(SeriesRow {
            name: names.value(index).to_owned(),
            labels: decode_labels(labels, index)?,
            path_expression: paths.value(index).to_owned(),
            values,
        });
    }
    Ok(rows)
}

fn decode_values(lists: &ListArray, row: usize) -> Result<Vec<f64>, RowError> {
    let items = lists.value(row);
    let items = items
        .as_primitive_opt::<Float64Type>()
        .ok_or(RowError::MissingColumn { name: "values", expected: "list<float64>" })?;
    if items.null_count() == 0 {
        return Ok(items.values().to_vec());
    }
    Ok(items.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

fn decode_times(lists: &ListArray, row: usize) -> Result<Vec<Timestamp>, RowError> {
    if lists.is_null(row) {
        return Err(RowError::NoTimes(row));
    }
    let items = lists.value(row);
    let items = items
        .as_primitive_opt::<TimestampMillisecondType>()
        .ok_or(RowError::MissingColumn { name: "times", expected: "list<timestamp(ms)>" })?;
    Ok(items.values().iter().copied().map(Timestamp::from_millis).collect())
}

fn decode_labels(labels: &MapArray, row: usize) -> Result<BTreeMap<String, String>, RowError> {
    let missing = || RowError::MissingColumn { name: "labels", expected: "map<utf8, utf8>" };
    let entries = labels.value(row);
    let names = entries.column(0).as_string_opt::<i32>().ok_or_else(missing)?;
    let values = entries.column(1).as_string_opt::<i32>().ok_or_else(missing)?;
    Ok(names.iter().zip(values).filter_map(|(name, value)| Some((name?.to_owned(), value?.to_owned()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regular(name: &str, values: Vec<f64>) -> SeriesRow {
        SeriesRow {
            name: name.to_owned(),
            labels: BTreeMap::from([("channel".to_owned(), "python".to_owned())]),
            path_expression: "a.*".to_owned(),
            values: Values::Regular { start: Timestamp::from_seconds(10), step: Step::SECOND, values },
        }
    }

    #[test]
    fn both_shapes_survive_the_wire_in_one_batch() {
        let irregular = SeriesRow {
            labels: BTreeMap::new(),
            values: Values::Irregular {
                timestamps: vec![Timestamp::from_millis(1), Timestamp::from_millis(7)],
                values: vec![1.5, -2.0],
            },
            ..regular("b", vec![])
        };
        let rows = vec![regular("a", vec![1.0, 2.0]), irregular, regular("c", vec![])];
        let batches = encode(&rows).unwrap();
        assert_eq!(batches.len(), 1);
        assert_eq!(decode(&batches[0]).unwrap(), rows);
    }

    #[test]
    fn a_missing_value_is_null_on_the_wire_and_nan_inside() {
        let batch = &encode(&[regular("a", vec![1.0, f64::NAN, 3.0])]).unwrap()[0];
        assert_eq!(batch.column_by_name("values").unwrap().as_list::<i32>().value(0).null_count(), 1);
        let decoded = decode(batch).unwrap();
        let values = decoded[0].values.values();
        assert!(values[0] == 1.0 && values[1].is_nan() && values[2] == 3.0, "{values:?}");
    }

    #[test]
    fn a_large_answer_is_cut_into_batches_of_whole_rows() {
        let rows: Vec<SeriesRow> = (0..5).map(|_| regular("a", vec![0.0; VALUES_PER_BATCH / 2])).collect();
        let batches = encode(&rows).unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2, 1]);
        let long = [regular("a", vec![0.0; VALUES_PER_BATCH + 1])];
        assert_eq!(encode(&long).unwrap().len(), 1);
        assert!(encode(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_batch_of_other_columns_is_refused() {
        let batch = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, false)])));
        assert_eq!(decode(&batch).unwrap_err().to_string(), "the record batch has no column \"labels\" of type map");
    }
}
