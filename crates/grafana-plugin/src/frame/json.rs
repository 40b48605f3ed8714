//! A frame as JSON, `{"schema": …, "data": …}`, the form of live channels and of hosts that ask for JSON.
//!
//! The form is that of Grafana's Go package `data`, `frame_json.go`: values by column; times in milliseconds with the
//! rest of each in `nanos`; NaN and the infinities, which JSON lacks, as null with their rows in `entities`.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::DataType;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::arrow::typescript_type;
use super::{Field, FieldConfig, Frame, FrameError, FrameMeta, Labels};

/// Which part of a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonPart {
    /// Schema and data: enough to understand the frame.
    All,
    /// The schema alone, as the first data of a channel.
    Schema,
    /// The data alone, for those who have the schema.
    Data,
}

impl Frame {
    /// The frame, or a part of it, as JSON without line breaks.
    ///
    /// # Errors
    /// When the columns' lengths differ.
    pub fn to_json(&self, part: JsonPart) -> Result<Bytes, FrameError> {
        self.rows()?;
        let whole = Whole {
            schema: (part != JsonPart::Data).then(|| SchemaJson::of(self)),
            data: if part == JsonPart::Schema { None } else { Some(DataJson::of(self)?) },
        };
        serde_json::to_vec(&whole).map(Bytes::from).map_err(|error| FrameError::Write(error.to_string()))
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<SchemaJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataJson>,
}

#[derive(Serialize)]
struct SchemaJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "refId", skip_serializing_if = "str::is_empty")]
    ref_id: &'a str,
    meta: &'a FrameMeta,
    fields: Vec<FieldJson<'a>>,
}

#[derive(Serialize)]
struct FieldJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "type")]
    typescript_type: &'static str,
    #[serde(rename = "typeInfo")]
    type_info: TypeInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a FieldConfig>,
}

#[derive(Serialize)]
struct TypeInfo {
    frame: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    nullable: bool,
}

impl<'a> SchemaJson<'a> {
    fn of(frame: &'a Frame) -> Self {
        let fields = frame.fields.iter().map(|field| FieldJson {
            name: &field.name,
            typescript_type: typescript_type(field.data_type()),
            type_info: TypeInfo { frame: go_type(field.data_type()), nullable: field.is_nullable() },
            labels: field.labels.as_ref(),
            config: field.config.as_ref(),
        });
        Self { name: &frame.name, ref_id: &frame.ref_id, meta: &frame.meta, fields: fields.collect() }
    }
}

/// The word of Grafana's Go package for a type.
fn go_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt8 => "uint8",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::UInt64 => "uint64",
        DataType::Float32 => "float32",
        DataType::Boolean => "bool",
        DataType::Timestamp(..) => "time.Time",
        DataType::Utf8 | DataType::Utf8View => "string",
        DataType::Binary => "json.RawMessage",
        _ => "float64",
    }
}

#[derive(Serialize)]
struct DataJson {
    values: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "none_of")]
    entities: Vec<Option<Entities>>,
    #[serde(skip_serializing_if = "none_of")]
    nanos: Vec<Option<Vec<i64>>>,
}

fn none_of<T>(columns: &[Option<T>]) -> bool {
    columns.iter().all(Option::is_none)
}

/// The rows of a column that hold what JSON cannot say.
#[derive(Default, Serialize)]
struct Entities {
    #[serde(rename = "NaN", skip_serializing_if = "Vec::is_empty")]
    nan: Vec<usize>,
    #[serde(rename = "Inf", skip_serializing_if = "Vec::is_empty")]
    positive_infinity: Vec<usize>,
    #[serde(rename = "NegInf", skip_serializing_if = "Vec::is_empty")]
    negative_infinity: Vec<usize>,
}

/// One column: its values as a JSON array, and what the array could not say.
struct Column {
    values: Box<RawValue>,
    entities: Option<Entities>,
    nanos: Option<Vec<i64>>,
}

impl DataJson {
    fn of(frame: &Frame) -> Result<Self, FrameError> {
        let mut data = Self { values: Vec::new(), entities: Vec::new(), nanos: Vec::new() };
        for field in &frame.fields {
            let column = Column::of(field)?;
            data.values.push(column.values);
            data.entities.push(column.entities);
            data.nanos.push(column.nanos);
        }
        Ok(data)
    }
}

impl Column {
    fn of(field: &Field) -> Result<Self, FrameError> {
        let values = field.values();
        match field.data_type() {
            DataType::Int8 => Self::plain(primitive::<Int8Type>(values)),
            DataType::Int16 => Self::plain(primitive::<Int16Type>(values)),
            DataType::Int32 => Self::plain(primitive::<Int32Type>(values)),
            DataType::Int64 => Self::plain(primitive::<Int64Type>(values)),
            DataType::UInt8 => Self::plain(primitive::<UInt8Type>(values)),
            DataType::UInt16 => Self::plain(primitive::<UInt16Type>(values)),
            DataType::UInt32 => Self::plain(primitive::<UInt32Type>(values)),
            DataType::UInt64 => Self::plain(primitive::<UInt64Type>(values)),
            DataType::Float32 => Self::floats(primitive::<Float32Type>(values), |value| f64::from(*value)),
            DataType::Float64 => Self::floats(primitive::<Float64Type>(values), |value| *value),
            DataType::Boolean => Self::plain(values.as_boolean().iter()),
            DataType::Timestamp(..) => Self::times(values.as_primitive::<TimestampNanosecondType>()),
            DataType::Utf8 => Self::plain(values.as_string::<i32>().iter()),
            DataType::Utf8View => Self::plain(values.as_string_view().iter()),
            DataType::Binary => {
                Self::plain(values.as_binary::<i32>().iter().map(|value| value.and_then(one_line_json)))
            }
            other => Err(FrameError::UnsupportedType { field: field.name.clone(), data_type: other.to_string() }),
        }
    }

    fn plain<T: Serialize>(values: impl Iterator<Item = T>) -> Result<Self, FrameError> {
        let values: Vec<T> = values.collect();
        let values = serde_json::value::to_raw_value(&values).map_err(|error| FrameError::Write(error.to_string()))?;
        Ok(Self { values, entities: None, nanos: None })
    }

    /// Numbers that JSON cannot say are written as null, which is what serde_json makes of them.
    fn floats<T: Serialize>(
        values: impl Iterator<Item = Option<T>> + Clone,
        widen: impl Fn(&T) -> f64,
    ) -> Result<Self, FrameError> {
        let mut entities = Entities::default();
        let mut any = false;
        for (row, value) in values.clone().enumerate() {
            let Some(value) = value.as_ref().map(&widen).filter(|value| !value.is_finite()) else { continue };
            any = true;
            match value {
                f64::INFINITY => entities.positive_infinity.push(row),
                f64::NEG_INFINITY => entities.negative_infinity.push(row),
                _ => entities.nan.push(row),
            }
        }
        Ok(Self { entities: any.then_some(entities), ..Self::plain(values)? })
    }

    fn times(times: &PrimitiveArray<TimestampNanosecondType>) -> Result<Self, FrameError> {
        let rests: Vec<i64> = times.iter().map(|time| time.unwrap_or(0).rem_euclid(1_000_000)).collect();
        let nanos = rests.iter().any(|rest| *rest != 0).then_some(rests);
        Ok(Self { nanos, ..Self::plain(times.iter().map(|time| time.map(|time| time.div_euclid(1_000_000))))? })
    }
}

fn primitive<T: ArrowPrimitiveType>(values: &dyn Array) -> impl Iterator<Item = Option<T::Native>> + Clone {
    values.as_primitive::<T>().iter()
}

/// A value of a JSON column, which [`Field::from_array`] has checked to be JSON. Line breaks in JSON stand between its
/// tokens, never inside one, and hosts read JSON frames line by line.
fn one_line_json(value: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(value).ok()?;
    RawValue::from_string(text.replace(['\n', '\r'], " ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameType;

    fn json(frame: &Frame, part: JsonPart) -> serde_json::Value {
        serde_json::from_slice(&frame.to_json(part).unwrap()).unwrap()
    }

    fn frame() -> Frame {
        let mut frame = Frame::new("n", FrameType::TimeSeriesWide)
            .with_field(Field::time_ns("t", [1_000_000, 2_000_001, -1]))
            .with_field(
                Field::float64("v", [f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
                    .with_labels([("a", "b")])
                    .with_display_name("v of b"),
            )
            .with_field(Field::string_nullable("s", [Some("\"\n"), None, Some("")]))
            .with_field(Field::json("j", [Some(&serde_json::json!({"k": 1})), None, None]));
        frame.ref_id = "A".to_owned();
        frame
    }

    #[test]
    fn the_data_is_written_by_column_with_what_json_lacks_beside_it() {
        assert_eq!(
            json(&frame(), JsonPart::Data),
            serde_json::json!({"data": {
                "values": [[1, 2, -1], [null, null, null], ["\"\n", null, ""], [{"k": 1}, null, null]],
                "entities": [null, {"NaN": [0], "Inf": [1], "NegInf": [2]}, null, null],
                "nanos": [[0, 1, 999_999], null, null, null],
            }})
        );
    }

    #[test]
    fn the_schema_has_both_vocabularies_of_types() {
        assert_eq!(
            json(&frame(), JsonPart::Schema),
            serde_json::json!({"schema": {
                "name": "n",
                "refId": "A",
                "meta": {"type": "timeseries-wide", "typeVersion": [0, 1]},
                "fields": [
                    {"name": "t", "type": "time", "typeInfo": {"frame": "time.Time"}},
                    {"name": "v", "type": "number", "typeInfo": {"frame": "float64"}, "labels": {"a": "b"},
                     "config": {"displayNameFromDS": "v of b"}},
                    {"name": "s", "type": "string", "typeInfo": {"frame": "string", "nullable": true}},
                    {"name": "j", "type": "other", "typeInfo": {"frame": "json.RawMessage", "nullable": true}},
                ],
            }})
        );
    }

    #[test]
    fn both_parts_make_the_whole_on_one_line_schema_first() {
        let text = String::from_utf8(frame().to_json(JsonPart::All).unwrap().to_vec()).unwrap();
        assert!(text.starts_with("{\"schema\":{"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(whole["data"], json(&frame(), JsonPart::Data)["data"]);
        assert_eq!(whole["schema"], json(&frame(), JsonPart::Schema)["schema"]);
    }
}
