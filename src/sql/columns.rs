//! From PostgreSQL's values to columns of the types that Grafana reads.
//!
//! Integers stay integers to the last digit; floats and numerics become floats; timestamps and dates become instants, one
//! without a zone being UTC; JSON stays JSON; everything else that has a text becomes text. A type without one is an error
//! that says how to cast it.

use grafana_plugin::QueryError;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgColumn, PgTypeInfo, PgTypeKind, PgValueFormat, PgValueRef};
use sqlx::{Column as _, Decode, Postgres, TypeInfo, ValueRef};

/// Days from 1970-01-01, from which instants are counted here, to 2000-01-01, from which PostgreSQL counts them.
const DAYS_TO_2000: i64 = 10_957;

/// A column with its values so far.
#[derive(Debug)]
pub struct Column {
    /// Its name in the statement.
    pub name: String,
    /// Its values.
    pub values: Values,
    reader: Reader,
    type_name: String,
}

/// The values of a column; `None` is NULL.
#[derive(Debug, PartialEq)]
pub enum Values {
    /// Instants in nanoseconds since the epoch.
    Time(Vec<Option<i64>>),
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Floating point numbers.
    Float(Vec<Option<f64>>),
    /// Truth values.
    Boolean(Vec<Option<bool>>),
    /// Texts.
    Text(Vec<Option<String>>),
    /// JSON documents.
    Json(Vec<Option<serde_json::Value>>),
}

/// How a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Bool,
    Timestamp,
    Date,
    Json,
    Text,
    InternalChar,
    Uuid,
    Interval,
    Int8Array,
    Int4Array,
    Int2Array,
    BoolArray,
    TextArray,
}

/// Empty columns for a prepared statement.
///
/// # Errors
/// When a column's type cannot be shown.
pub fn of(columns: &[PgColumn]) -> Result<Vec<Column>, QueryError> {
    columns
        .iter()
        .map(|column| {
            let type_name = column.type_info().to_string();
            let reader = reader(column.type_info()).ok_or_else(|| {
                QueryError::bad_request(format!(
                    "column {:?} has the type {type_name}, which cannot be shown; cast it, for example to text",
                    column.name()
                ))
            })?;
            Ok(Column { name: column.name().to_owned(), values: reader.empty(), reader, type_name })
        })
        .collect()
}

fn reader(type_info: &PgTypeInfo) -> Option<Reader> {
    match type_info.kind() {
        PgTypeKind::Enum(_) => return Some(Reader::Text),
        PgTypeKind::Domain(base) => return reader(base),
        _ => {}
    }
    Some(match type_info.name() {
        "INT2" => Reader::Int2,
        "INT4" => Reader::Int4,
        "INT8" => Reader::Int8,
        "OID" => Reader::Oid,
        "FLOAT4" => Reader::Float4,
        "FLOAT8" => Reader::Float8,
        "NUMERIC" => Reader::Numeric,
        "BOOL" => Reader::Bool,
        // One without a zone is UTC, so that both are the same number.
        "TIMESTAMPTZ" | "TIMESTAMP" => Reader::Timestamp,
        "DATE" => Reader::Date,
        "JSON" | "JSONB" => Reader::Json,
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "citext" | "CITEXT" => Reader::Text,
        "\"CHAR\"" => Reader::InternalChar,
        "UUID" => Reader::Uuid,
        "INTERVAL" => Reader::Interval,
        "INT8[]" => Reader::Int8Array,
        "INT4[]" => Reader::Int4Array,
        "INT2[]" => Reader::Int2Array,
        "BOOL[]" => Reader::BoolArray,
        "TEXT[]" | "VARCHAR[]" => Reader::TextArray,
        _ => return None,
    })
}

impl Reader {
    const fn empty(self) -> Values {
        match self {
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid => Values::Integer(Vec::new()),
            Self::Float4 | Self::Float8 | Self::Numeric => Values::Float(Vec::new()),
            Self::Bool => Values::Boolean(Vec::new()),
            Self::Timestamp | Self::Date => Values::Time(Vec::new()),
            Self::Json => Values::Json(Vec::new()),
            Self::Text
            | Self::InternalChar
            | Self::Uuid
            | Self::Interval
            | Self::Int8Array
            | Self::Int4Array
            | Self::Int2Array
            | Self::BoolArray
            | Self::TextArray => Values::Text(Vec::new()),
        }
    }
}

impl Column {
    /// A column that was not read from a row.
    pub const fn computed(name: String, values: Values) -> Self {
        Self { name, values, reader: Reader::Text, type_name: String::new() }
    }

    /// Adds a row's value.
    ///
    /// # Errors
    /// When the value is not what its type says.
    pub fn push(&mut self, raw: PgValueRef<'_>) -> Result<(), QueryError> {
        self.read(raw).map_err(|error| {
            QueryError::downstream(
                500,
                format!("a value of column {:?}, {}, could not be read: {error}", self.name, self.type_name),
            )
        })
    }

    fn read(&mut self, raw: PgValueRef<'_>) -> Result<(), sqlx::error::BoxDynError> {
        let present = (!raw.is_null()).then_some(raw);
        match &mut self.values {
            Values::Integer(values) => values.push(match (self.reader, present) {
                (_, None) => None,
                (Reader::Int2, Some(raw)) => Some(decode::<i16>(raw)?.into()),
                (Reader::Int4, Some(raw)) => Some(decode::<i32>(raw)?.into()),
                (Reader::Oid, Some(raw)) => Some(decode::<sqlx::postgres::types::Oid>(raw)?.0.into()),
                (_, Some(raw)) => Some(decode(raw)?),
            }),
            Values::Float(values) => values.push(match (self.reader, present) {
                (_, None) => None,
                (Reader::Float4, Some(raw)) => Some(decode::<f32>(raw)?.into()),
                (Reader::Numeric, Some(raw)) => Some(numeric(&raw)?),
                (_, Some(raw)) => Some(decode(raw)?),
            }),
            Values::Boolean(values) => values.push(present.map(decode).transpose()?),
            Values::Time(values) => values.push(match (self.reader, present) {
                (_, None) => None,
                (Reader::Date, Some(raw)) => nanos_of_date(i32::from_be_bytes(binary(&raw)?)),
                (_, Some(raw)) => nanos_of_timestamp(i64::from_be_bytes(binary(&raw)?)),
            }),
            Values::Json(values) => values.push(present.map(decode).transpose()?),
            Values::Text(values) => values.push(match (self.reader, present) {
                (_, None) => None,
                (Reader::Uuid, Some(raw)) => Some(uuid(raw.as_bytes()?)),
                (Reader::Interval, Some(raw)) => Some(interval(&decode(raw)?)),
                (Reader::Int8Array, Some(raw)) => Some(array(&decode::<Vec<Option<i64>>>(raw)?)),
                (Reader::Int4Array, Some(raw)) => Some(array(&decode::<Vec<Option<i32>>>(raw)?)),
                (Reader::Int2Array, Some(raw)) => Some(array(&decode::<Vec<Option<i16>>>(raw)?)),
                (Reader::BoolArray, Some(raw)) => {
                    let letter = |value: bool| if value { 't' } else { 'f' };
                    let items = decode::<Vec<Option<bool>>>(raw)?;
                    Some(array(&items.into_iter().map(|item| item.map(letter)).collect::<Vec<_>>()))
                }
                (Reader::InternalChar, Some(raw)) => Some(internal_char(u8::from_be_bytes(binary(&raw)?))),
                (Reader::TextArray, Some(raw)) => Some(array(&decode::<Vec<Option<String>>>(raw)?)),
                (_, Some(raw)) => Some(std::str::from_utf8(raw.as_bytes()?)?.to_owned()),
            }),
        }
        Ok(())
    }
}

fn decode<'a, T: Decode<'a, Postgres>>(raw: PgValueRef<'a>) -> Result<T, sqlx::error::BoxDynError> {
    T::decode(raw)
}

/// The bytes of a value of a fixed size. Statements are prepared, and what they answer is binary.
fn binary<const SIZE: usize>(raw: &PgValueRef<'_>) -> Result<[u8; SIZE], sqlx::error::BoxDynError> {
    match raw.format() {
        PgValueFormat::Binary => Ok(raw.as_bytes()?.try_into()?),
        PgValueFormat::Text => Err("the value came as text".into()),
    }
}

/// Nanoseconds since 1970 of PostgreSQL's microseconds since 2000.
///
/// `None` before 1677, after 2262 and for both infinities, which nanoseconds cannot express: shown as no value rather than
/// as a wrong one.
fn nanos_of_timestamp(micros: i64) -> Option<i64> {
    micros.checked_add(DAYS_TO_2000 * 86_400_000_000)?.checked_mul(1000)
}

/// As [`nanos_of_timestamp`], of PostgreSQL's days since 2000.
fn nanos_of_date(days: i32) -> Option<i64> {
    (i64::from(days) + DAYS_TO_2000).checked_mul(86_400_000_000_000)
}

/// A `"char"` is any one byte; PostgreSQL writes a zero as nothing, and what is not ASCII as an octal escape.
fn internal_char(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..=0x7F => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

/// PostgreSQL's binary numeric: digits of base 10,000. See its source, `numeric_send` in numeric.c.
fn numeric(raw: &PgValueRef<'_>) -> Result<f64, sqlx::error::BoxDynError> {
    let bytes = raw.as_bytes()?;
    if raw.format() == PgValueFormat::Text {
        return Ok(std::str::from_utf8(bytes)?.parse()?);
    }
    numeric_binary(bytes).ok_or_else(|| "not a numeric".into())
}

fn numeric_binary(bytes: &[u8]) -> Option<f64> {
    const NAN: u16 = 0xC000;
    const POSITIVE_INFINITY: u16 = 0xD000;
    const NEGATIVE_INFINITY: u16 = 0xF000;
    const NEGATIVE: u16 = 0x4000;
    let word = |index: usize| bytes.get(index * 2..index * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (digits, sign) = (usize::from(word(0)?), word(2)?);
    let weight = i32::from(word(1)?.cast_signed());
    match sign {
        NAN => return Some(f64::NAN),
        POSITIVE_INFINITY => return Some(f64::INFINITY),
        NEGATIVE_INFINITY => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    // The decimal text is exact, and reading it rounds once.
    let mut text = String::with_capacity(digits * 4 + 8);
    if sign == NEGATIVE {
        text.push('-');
    }
    text.push('0');
    for index in 0..digits {
        text.push_str(&format!("{:04}", word(4 + index)?));
    }
    let exponent = (weight + 1 - i32::try_from(digits).ok()?) * 4;
    format!("{text}e{exponent}").parse().ok()
}

fn uuid(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match (hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)) {
        (Some(a), Some(b), Some(c), Some(d), Some(e)) => format!("{a}-{b}-{c}-{d}-{e}"),
        _ => hex,
    }
}

/// As PostgreSQL writes it: `1 mon 2 days 03:04:05.5`.
fn interval(interval: &PgInterval) -> String {
    let mut parts = Vec::new();
    let (years, months) = (interval.months / 12, interval.months % 12);
    for (amount, unit) in [(years, "year"), (months, "mon"), (interval.days, "day")] {
        if amount != 0 {
            parts.push(format!("{amount} {unit}{}", if amount == 1 { "" } else { "s" }));
        }
    }
    if interval.microseconds != 0 || parts.is_empty() {
        let sign = if interval.microseconds < 0 { "-" } else { "" };
        let micros = interval.microseconds.unsigned_abs();
        let seconds = micros / 1_000_000;
        let mut time = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if !micros.is_multiple_of(1_000_000) {
            let decimals = format!("{:06}", micros % 1_000_000);
            time.push('.');
            time.push_str(decimals.trim_end_matches('0'));
        }
        parts.push(time);
    }
    parts.join(" ")
}

/// As PostgreSQL writes it: `{1,NULL,3}`.
fn array<T: ToString>(items: &[Option<T>]) -> String {
    let quote = |text: String| {
        let bare = !text.is_empty()
            && !text.eq_ignore_ascii_case("null")
            && !text.contains(|character: char| character.is_whitespace() || "{},\"\\".contains(character));
        if bare { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
    };
    let texts: Vec<String> = items
        .iter()
        .map(|item| item.as_ref().map_or_else(|| "NULL".to_owned(), |item| quote(item.to_string())))
        .collect();
    format!("{{{}}}", texts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_is_read_to_the_nearest_float() {
        let encode = |weight: i16, sign: u16, digits: &[u16]| {
            let mut bytes = Vec::new();
            bytes.extend(u16::try_from(digits.len()).unwrap().to_be_bytes());
            bytes.extend(weight.to_be_bytes());
            bytes.extend(sign.to_be_bytes());
            bytes.extend(0_u16.to_be_bytes());
            for digit in digits {
                bytes.extend(digit.to_be_bytes());
            }
            bytes
        };
        for (weight, sign, digits, value) in [
            (0, 0, &[][..], 0.0),
            (0, 0, &[1], 1.0),
            (0, 0x4000, &[12, 5000], -12.5),
            (1, 0, &[1, 0], 10_000.0),
            (-1, 0, &[1000], 0.1),
            (2, 0, &[1234, 5678, 9012], 123_456_789_012.0),
            (0, 0xD000, &[], f64::INFINITY),
        ] {
            assert_eq!(numeric_binary(&encode(weight, sign, digits)), Some(value));
        }
        assert!(numeric_binary(&encode(0, 0xC000, &[])).unwrap().is_nan());
        assert_eq!(numeric_binary(&[0, 9, 0, 0]), None);
    }

    #[test]
    fn an_instant_that_nanoseconds_cannot_express_is_no_value() {
        const LAST_MICROS: i64 = i64::MAX / 1000 - 946_684_800_000_000;
        for (micros, nanos) in [
            (0, Some(946_684_800_000_000_000)),
            (-946_684_800_000_000, Some(0)),
            (753_315_200_000_001, Some(1_700_000_000_000_001_000)),
            (LAST_MICROS, Some(i64::MAX / 1000 * 1000)),
            (LAST_MICROS + 1, None),
            // 'infinity' and '-infinity'.
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(nanos_of_timestamp(micros), nanos, "{micros} µs");
        }
        for (days, nanos) in [
            (0, Some(946_684_800_000_000_000)),
            (-10_957, Some(0)),
            (-10_958, Some(-86_400_000_000_000)),
            (95_794, Some(106_751 * 86_400_000_000_000)),
            (95_795, None),
            (i32::MAX, None),
            (i32::MIN, None),
        ] {
            assert_eq!(nanos_of_date(days), nanos, "{days} days");
        }
    }

    #[test]
    fn texts_are_as_postgresql_writes_them() {
        let example = PgInterval { months: 13, days: 2, microseconds: 11_045_500_000 };
        assert_eq!(interval(&example), "1 year 1 mon 2 days 03:04:05.5");
        assert_eq!(interval(&PgInterval { months: 0, days: 0, microseconds: 0 }), "00:00:00");
        assert_eq!(array(&[Some(1), None, Some(3)]), "{1,NULL,3}");
        assert_eq!(array(&[Some("a b"), Some("c\"d"), Some("")]), "{\"a b\",\"c\\\"d\",\"\"}");
        assert_eq!([b'r', 0, 0xFE].map(internal_char), ["r", "", "\\376"]);
        assert_eq!(uuid(&[0x11; 16]), "11111111-1111-1111-1111-111111111111");
    }
}
