//! A frame as an Arrow IPC file, the form of every answer to a query.
//!
//! The frame's facts are the schema's metadata (`name`, `refId`, `meta`), a column's are its field's (`labels`,
//! `config`, `tstype`), all as Grafana's Go package `data` reads them in `arrow.go`. A file holds one record batch.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Schema};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Field, Frame, FrameError};

const NAME: &str = "name";
const REF_ID: &str = "refId";
const META: &str = "meta";
const LABELS: &str = "labels";
const CONFIG: &str = "config";
const TYPESCRIPT_TYPE: &str = "tstype";

impl Frame {
    /// The frame as an Arrow IPC file.
    ///
    /// # Errors
    /// When the columns' lengths differ.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let rows = self.rows()?;
        let schema = Arc::new(self.schema()?);
        let mut writer = FileWriter::try_new(Vec::new(), &schema).map_err(write_error)?;
        if !self.fields.is_empty() {
            let columns = self.fields.iter().map(|field| Arc::clone(field.values())).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(schema, columns, &options).map_err(write_error)?;
            writer.write(&batch).map_err(write_error)?;
        }
        Ok(Bytes::from(writer.into_inner().map_err(write_error)?))
    }

    fn schema(&self) -> Result<Schema, FrameError> {
        let fields = self.fields.iter().map(arrow_field).collect::<Result<Vec<_>, _>>()?;
        let metadata = HashMap::from([
            (NAME.to_owned(), self.name.clone()),
            (REF_ID.to_owned(), self.ref_id.clone()),
            (META.to_owned(), json_text(&self.meta)?),
        ]);
        Ok(Schema::new_with_metadata(fields, metadata))
    }

    /// Reads an Arrow IPC file, as a host does.
    ///
    /// # Errors
    /// When the bytes are not such a file, hold more than one record batch, or a column Grafana does not read.
    pub fn decode(file: &[u8]) -> Result<Self, FrameError> {
        let mut reader = FileReader::try_new(Cursor::new(file), None).map_err(read_error)?;
        let schema = reader.schema();
        let batch = reader.next().transpose().map_err(read_error)?.unwrap_or_else(|| RecordBatch::new_empty(schema));
        if reader.next().is_some() {
            return Err(FrameError::NotAFrame("it holds more than one record batch".to_owned()));
        }
        let metadata = batch.schema_ref().metadata();
        let fields = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(schema, values)| {
            let mut field = Field::from_array(schema.name(), Arc::clone(values), schema.is_nullable())?;
            field.labels = parse(schema.metadata().get(LABELS))?;
            field.config = parse(schema.metadata().get(CONFIG))?;
            Ok(field)
        });
        Ok(Self {
            name: metadata.get(NAME).cloned().unwrap_or_default(),
            ref_id: metadata.get(REF_ID).cloned().unwrap_or_default(),
            meta: parse(metadata.get(META))?.unwrap_or_default(),
            fields: fields.collect::<Result<_, _>>()?,
        })
    }
}

fn arrow_field(field: &Field) -> Result<arrow_schema::Field, FrameError> {
    let mut metadata = HashMap::from([(TYPESCRIPT_TYPE.to_owned(), typescript_type(field.data_type()).to_owned())]);
    if let Some(labels) = &field.labels {
        metadata.insert(LABELS.to_owned(), json_text(labels)?);
    }
    if let Some(config) = &field.config {
        metadata.insert(CONFIG.to_owned(), json_text(config)?);
    }
    let plain = arrow_schema::Field::new(&field.name, field.data_type().clone(), field.is_nullable());
    Ok(plain.with_metadata(metadata))
}

/// The word of Grafana's frontend for a type.
pub(super) fn typescript_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Timestamp(..) => "time",
        DataType::Boolean => "boolean",
        DataType::Utf8 | DataType::Utf8View => "string",
        DataType::Binary => "other",
        _ => "number",
    }
}

fn json_text(value: &impl Serialize) -> Result<String, FrameError> {
    serde_json::to_string(value).map_err(|error| FrameError::Write(error.to_string()))
}

fn parse<T: DeserializeOwned>(json: Option<&String>) -> Result<Option<T>, FrameError> {
    json.map(|json| serde_json::from_str(json)).transpose().map_err(|error| FrameError::NotAFrame(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn write_error(error: ArrowError) -> FrameError {
    FrameError::Write(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn read_error(error: ArrowError) -> FrameError {
    FrameError::NotAFrame(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FieldConfig, FrameType, Notice};
    use arrow_array::{
        ArrayRef, Float32Array, Int8Array, Int16Array, Int32Array, StringViewArray, UInt8Array, UInt16Array,
        UInt32Array,
    };

    /// A frame with every type that Grafana reads.
    fn every_type() -> Frame {
        let small: [(&str, ArrayRef); 8] = [
            ("int8", Arc::new(Int8Array::from(vec![i8::MIN, 0]))),
            ("int16", Arc::new(Int16Array::from(vec![i16::MIN, 0]))),
            ("int32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None]))),
            ("uint8", Arc::new(UInt8Array::from(vec![u8::MAX, 0]))),
            ("uint16", Arc::new(UInt16Array::from(vec![u16::MAX, 0]))),
            ("uint32", Arc::new(UInt32Array::from(vec![u32::MAX, 0]))),
            ("float32", Arc::new(Float32Array::from(vec![0.5, f32::INFINITY]))),
            ("view", Arc::new(StringViewArray::from(vec![Some("a text longer than twelve bytes"), None]))),
        ];
        let mut frame = Frame::new("all", FrameType::Table)
            .with_field(Field::time_ns("time", [1, i64::MAX]))
            .with_field(Field::time_ms_nullable("time?", [None, Some(-1)]))
            .with_field(Field::float64("float64", [f64::MIN_POSITIVE, f64::NEG_INFINITY]))
            .with_field(Field::float64_nan_is_null("float64?", [f64::NAN, 1.0]))
            .with_field(Field::int64("int64", [i64::MIN, i64::MAX]))
            .with_field(Field::uint64("uint64", [0, u64::MAX]))
            .with_field(Field::boolean_nullable("bool?", [Some(true), None]))
            .with_field(Field::string("string", ["", "naïve ☃"]))
            .with_field(Field::json("json", [Some(&serde_json::json!({"a": [1]})), None]));
        for (name, array) in small {
            frame.fields.push(Field::from_array(name, array, true).unwrap());
        }
        frame
    }

    #[test]
    fn every_type_survives_the_file() {
        let frame = every_type();
        assert_eq!(Frame::decode(&frame.encode().unwrap()).unwrap(), frame);
    }

    #[test]
    fn labels_and_config_are_both_kept() {
        let mut frame = Frame::new("cpu", FrameType::TimeSeriesMulti)
            .with_executed_query("aliasByNode(a.*, 1)")
            .with_notice(Notice::info("partial"))
            .with_field(Field::time_ms("time", [1000, 2000]))
            .with_field(
                Field::float64("value", [1.0, 2.0])
                    .with_labels([("host", "a;b=\"c\""), ("name", "cpu")])
                    .with_config(FieldConfig {
                        unit: "ms".into(),
                        interval_ms: Some(10_000.0),
                        ..FieldConfig::default()
                    })
                    .with_display_name("cpu of a"),
            );
        frame.ref_id = "A".to_owned();
        let decoded = Frame::decode(&frame.encode().unwrap()).unwrap();
        assert_eq!(decoded, frame);
        let value = decoded.field("value").unwrap();
        assert_eq!(value.labels.as_ref().unwrap()["host"], "a;b=\"c\"");
        assert_eq!(value.config.as_ref().unwrap().display_name_from_ds, "cpu of a");
        assert_eq!(decoded.meta.type_version, [0, 1]);
    }

    #[test]
    fn frames_without_rows_or_columns_are_files_too() {
        for frame in [
            Frame::new("none", FrameType::Table),
            Frame::new("no rows", FrameType::Table).with_field(Field::int64("i", [])),
            every_type().slice(1, 1),
            every_type().slice(2, 1),
        ] {
            assert_eq!(Frame::decode(&frame.encode().unwrap()).unwrap(), frame);
        }
    }

    #[test]
    fn columns_of_different_lengths_are_refused_by_name() {
        let frame = Frame::new("uneven", FrameType::Table)
            .with_field(Field::int64("long", [1, 2, 3]))
            .with_field(Field::int64("short", [1]));
        let error = FrameError::UnequalLengths { field: "short".into(), rows: 1, expected: 3 };
        assert_eq!(frame.encode(), Err(error));
    }

    #[test]
    fn bytes_that_are_no_frame_are_refused() {
        let file = every_type().encode().unwrap();
        for bytes in [&b""[..], b"ARROW1", &file[..file.len() / 2], &[0xff; 64]] {
            assert!(matches!(Frame::decode(bytes), Err(FrameError::NotAFrame(_))), "{} bytes", bytes.len());
        }
    }
}
