//! One column of a frame: a name, labels that tell series apart, display settings, and values.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, TimestampNanosecondArray, UInt64Array};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FrameError;

/// A series' labels, in the order of their names.
pub type Labels = BTreeMap<String, String>;

/// One column. Its values are of a type that Grafana reads; see [`Field::from_array`].
#[derive(Clone, Debug)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// What tells this series from others; `None` for columns that are no series.
    pub labels: Option<Labels>,
    /// How the column is shown.
    pub config: Option<FieldConfig>,
    values: ArrayRef,
    nullable: bool,
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.labels, &self.config, self.nullable)
            == (&other.name, &other.labels, &other.config, other.nullable)
            && *self.values == *other.values
    }
}

/// Nanoseconds of a time in milliseconds, kept inside what 64 bits hold.
fn nanos(millis: i64) -> i64 {
    millis.saturating_mul(1_000_000)
}

impl Field {
    fn new(name: impl Into<String>, values: ArrayRef, nullable: bool) -> Self {
        Self { name: name.into(), labels: None, config: None, values, nullable }
    }

    /// A column of any of the types that Grafana reads: `Utf8`, `Utf8View`, integers of 8 to 64 bits with or without
    /// sign, `Float32`, `Float64`, `Boolean`, `Timestamp(Nanosecond)`, and `Binary` that holds JSON.
    ///
    /// # Errors
    /// When the type is another, when nulls are there but not allowed, or when a `Binary` value is not JSON.
    pub fn from_array(name: impl Into<String>, values: ArrayRef, nullable: bool) -> Result<Self, FrameError> {
        let name = name.into();
        if !is_accepted(values.data_type()) {
            return Err(FrameError::UnsupportedType { field: name, data_type: values.data_type().to_string() });
        }
        if !nullable && values.null_count() > 0 {
            return Err(FrameError::UnexpectedNulls { field: name, count: values.null_count() });
        }
        if let Some(json) = values.as_binary_opt::<i32>() {
            for (row, value) in json.iter().enumerate() {
                let Some(value) = value else { continue };
                if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(value) {
                    return Err(FrameError::InvalidJson { field: name, row, reason: error.to_string() });
                }
            }
        }
        Ok(Self::new(name, values, nullable))
    }

    /// Times in milliseconds since the epoch. Those beyond the years 1677 to 2262 are kept at their ends.
    pub fn time_ms(name: impl Into<String>, values: impl IntoIterator<Item = i64>) -> Self {
        Self::time_ns(name, values.into_iter().map(nanos))
    }

    /// Times in milliseconds since the epoch, some of them absent.
    pub fn time_ms_nullable(name: impl Into<String>, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        let array: TimestampNanosecondArray = values.into_iter().map(|value| value.map(nanos)).collect();
        Self::new(name, Arc::new(array), true)
    }

    /// Times in nanoseconds since the epoch.
    pub fn time_ns(name: impl Into<String>, values: impl IntoIterator<Item = i64>) -> Self {
        Self::new(name, Arc::new(TimestampNanosecondArray::from_iter_values(values)), false)
    }

    /// Times in nanoseconds since the epoch, some of them absent.
    pub fn time_ns_nullable(name: impl Into<String>, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        Self::new(name, Arc::new(values.into_iter().collect::<TimestampNanosecondArray>()), true)
    }

    /// Numbers.
    pub fn float64(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        Self::new(name, Arc::new(Float64Array::from_iter_values(values)), false)
    }

    /// Numbers, some of them absent.
    pub fn float64_nullable(name: impl Into<String>, values: impl IntoIterator<Item = Option<f64>>) -> Self {
        Self::new(name, Arc::new(values.into_iter().collect::<Float64Array>()), true)
    }

    /// Numbers in which NaN stands for absent, as inside a series.
    pub fn float64_nan_is_null(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        Self::float64_nullable(name, values.into_iter().map(|value| (!value.is_nan()).then_some(value)))
    }

    /// Whole numbers.
    pub fn int64(name: impl Into<String>, values: impl IntoIterator<Item = i64>) -> Self {
        Self::new(name, Arc::new(Int64Array::from_iter_values(values)), false)
    }

    /// Whole numbers, some of them absent.
    pub fn int64_nullable(name: impl Into<String>, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        Self::new(name, Arc::new(values.into_iter().collect::<Int64Array>()), true)
    }

    /// Whole numbers without sign.
    pub fn uint64(name: impl Into<String>, values: impl IntoIterator<Item = u64>) -> Self {
        Self::new(name, Arc::new(UInt64Array::from_iter_values(values)), false)
    }

    /// Truth values.
    pub fn boolean(name: impl Into<String>, values: impl IntoIterator<Item = bool>) -> Self {
        Self::new(name, Arc::new(BooleanArray::from(values.into_iter().collect::<Vec<_>>())), false)
    }

    /// Truth values, some of them absent.
    pub fn boolean_nullable(name: impl Into<String>, values: impl IntoIterator<Item = Option<bool>>) -> Self {
        Self::new(name, Arc::new(values.into_iter().collect::<BooleanArray>()), true)
    }

    /// Texts.
    pub fn string<S: AsRef<str>>(name: impl Into<String>, values: impl IntoIterator<Item = S>) -> Self {
        let mut builder = StringBuilder::new();
        values.into_iter().for_each(|value| builder.append_value(value));
        Self::new(name, Arc::new(builder.finish()), false)
    }

    /// Texts, some of them absent.
    pub fn string_nullable<S: AsRef<str>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<S>>,
    ) -> Self {
        let mut builder = StringBuilder::new();
        values.into_iter().for_each(|value| builder.append_option(value));
        Self::new(name, Arc::new(builder.finish()), true)
    }

    /// JSON values, some of them absent.
    pub fn json<'a>(name: impl Into<String>, values: impl IntoIterator<Item = Option<&'a Value>>) -> Self {
        let mut builder = BinaryBuilder::new();
        values.into_iter().for_each(|value| builder.append_option(value.map(Value::to_string)));
        Self::new(name, Arc::new(builder.finish()), true)
    }

    /// The same column with labels.
    #[must_use]
    pub fn with_labels<K, V>(mut self, labels: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        self.labels = Some(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// The same column with display settings.
    #[must_use]
    pub fn with_config(mut self, config: FieldConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// The same column, shown under a name of the data source's choosing.
    #[must_use]
    pub fn with_display_name(mut self, name: impl Into<String>) -> Self {
        self.config.get_or_insert_default().display_name_from_ds = name.into();
        self
    }

    /// The values.
    #[must_use]
    pub const fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The type of the values.
    #[must_use]
    pub fn data_type(&self) -> &DataType {
        self.values.data_type()
    }

    /// Whether values may be absent.
    #[must_use]
    pub const fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Whether the column holds times.
    #[must_use]
    pub fn is_time(&self) -> bool {
        matches!(self.data_type(), DataType::Timestamp(..))
    }

    /// Whether the column holds numbers.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.data_type().is_numeric()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A value as a number; `None` when it is absent, the row does not exist, or the column holds no numbers.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display; the exact values are in the array")]
    pub fn number(&self, row: usize) -> Option<f64> {
        if row >= self.len() || self.values.is_null(row) {
            return None;
        }
        let values = &self.values;
        Some(match self.data_type() {
            DataType::Float64 => values.as_primitive::<Float64Type>().value(row),
            DataType::Float32 => f64::from(values.as_primitive::<Float32Type>().value(row)),
            DataType::Int8 => f64::from(values.as_primitive::<Int8Type>().value(row)),
            DataType::Int16 => f64::from(values.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => f64::from(values.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => values.as_primitive::<Int64Type>().value(row) as f64,
            DataType::UInt8 => f64::from(values.as_primitive::<UInt8Type>().value(row)),
            DataType::UInt16 => f64::from(values.as_primitive::<UInt16Type>().value(row)),
            DataType::UInt32 => f64::from(values.as_primitive::<UInt32Type>().value(row)),
            DataType::UInt64 => values.as_primitive::<UInt64Type>().value(row) as f64,
            _ => return None,
        })
    }

    /// A time in milliseconds since the epoch; `None` when it is absent, the row does not exist, or the column holds no
    /// times.
    #[must_use]
    pub fn time_ms_at(&self, row: usize) -> Option<i64> {
        let times = self.values.as_primitive_opt::<TimestampNanosecondType>()?;
        (row < times.len() && times.is_valid(row)).then(|| times.value(row).div_euclid(1_000_000))
    }

    /// A text; `None` when it is absent, the row does not exist, or the column holds no texts.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<&str> {
        if row >= self.len() || self.values.is_null(row) {
            return None;
        }
        match self.data_type() {
            DataType::Utf8 => Some(self.values.as_string::<i32>().value(row)),
            DataType::Utf8View => Some(self.values.as_string_view().value(row)),
            _ => None,
        }
    }

    /// Some rows of the column, sharing its memory. Rows that do not exist are left out.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let offset = offset.min(self.len());
        let length = length.min(self.len() - offset);
        Self { values: self.values.slice(offset, length), ..self.clone() }
    }
}

fn is_accepted(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::Utf8View
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64
            | DataType::Boolean
            | DataType::Timestamp(TimeUnit::Nanosecond, _)
            | DataType::Binary
    )
}

/// How a column is shown, as Grafana's `data.FieldConfig` names it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FieldConfig {
    /// The name the data source gives the column.
    #[serde(rename = "displayNameFromDS", skip_serializing_if = "String::is_empty")]
    pub display_name_from_ds: String,
    /// A sentence about the column.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Grafana's id of the unit, such as `ms` or `reqps`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// How many decimals are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u16>,
    /// The smallest value there can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest value there can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Of a time column, the spacing of its rows in milliseconds: a wider gap is a gap in the data.
    #[serde(rename = "interval", skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<f64>,
    /// Whether a click on a value may add a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filterable: Option<bool>,
    /// What is shown in place of an absent value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_value: String,
    /// Where a click on a value leads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<DataLink>,
    /// Settings of a kind of panel.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub custom: serde_json::Map<String, Value>,
}

/// Where a click on a value leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataLink {
    /// What the link is called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Where it leads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Whether it opens a new page.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub target_blank: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int32Type as Key;
    use arrow_array::{
        BinaryArray, Date32Array, Decimal128Array, DictionaryArray, LargeStringArray, StringArray,
        TimestampMillisecondArray,
    };

    #[test]
    fn types_that_grafana_does_not_read_are_refused_by_name() {
        let refused: [(ArrayRef, &str); 5] = [
            (Arc::new(LargeStringArray::from(vec!["a"])), "LargeUtf8"),
            (Arc::new(Date32Array::from(vec![1])), "Date32"),
            (Arc::new(Decimal128Array::from(vec![1])), "Decimal128(38, 10)"),
            (Arc::new(TimestampMillisecondArray::from(vec![1])), "Timestamp(ms)"),
            (Arc::new(["a"].into_iter().collect::<DictionaryArray<Key>>()), "Dictionary(Int32, Utf8)"),
        ];
        for (array, data_type) in refused {
            let error = Field::from_array("cost", array, true).unwrap_err();
            assert_eq!(error, FrameError::UnsupportedType { field: "cost".into(), data_type: data_type.into() });
            assert!(error.to_string().contains("\"cost\""), "{error}");
        }
    }

    #[test]
    fn nulls_need_a_nullable_column() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
        assert_eq!(
            Field::from_array("v", array.clone(), false),
            Err(FrameError::UnexpectedNulls { field: "v".into(), count: 1 })
        );
        assert!(Field::from_array("v", array, true).is_ok());
    }

    #[test]
    fn a_json_column_holds_json() {
        let array = |values: Vec<&[u8]>| -> ArrayRef { Arc::new(BinaryArray::from_vec(values)) };
        assert!(Field::from_array("j", array(vec![b"{}", b"[1]", b"null"]), false).is_ok());
        let error = Field::from_array("j", array(vec![b"{}", b"{oops"]), false).unwrap_err();
        assert!(matches!(error, FrameError::InvalidJson { row: 1, .. }), "{error}");
    }

    #[test]
    fn values_are_read_back_by_row() {
        let times = Field::time_ms_nullable("t", [Some(-1), None, Some(i64::MAX)]);
        assert_eq!(times.time_ms_at(0), Some(-1));
        assert_eq!(times.time_ms_at(1), None);
        assert_eq!(times.time_ms_at(2), Some(i64::MAX / 1_000_000), "kept at the end of what nanoseconds hold");
        assert_eq!(times.time_ms_at(3), None);
        assert_eq!(times.number(0), None);

        let numbers = Field::float64_nan_is_null("n", [1.5, f64::NAN]);
        assert_eq!([numbers.number(0), numbers.number(1), numbers.number(9)], [Some(1.5), None, None]);
        assert_eq!(Field::int64("i", [-7]).number(0), Some(-7.0));
        assert_eq!(Field::string("s", ["x"]).text(0), Some("x"));
        assert_eq!(Field::string_nullable("s", [None::<&str>]).text(0), None);
        let small: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        assert_eq!(Field::from_array("s", small, false).unwrap().number(0), None);
    }

    #[test]
    fn a_slice_stays_inside_the_column() {
        let field = Field::int64("i", 0..10);
        for (offset, length, left) in [(0, 3, 3), (8, 5, 2), (10, 1, 0), (99, 99, 0)] {
            assert_eq!(field.slice(offset, length).len(), left, "{offset}+{length}");
        }
    }
}
