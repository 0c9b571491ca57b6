//! How values that are written as texts are read.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::shape;

/// A text or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Number {
    fn whole<E: serde::de::Error>(self) -> Result<i64, E> {
        match self {
            Self::Integer(number) => Ok(number),
            Self::Float(number) => Ok(number as i64),
            Self::Text(text) => match crate::node::integer(&text) {
                Some(number) => Ok(number),
                None => Err(E::custom(format!("`{text}` is not a whole number"))),
            },
        }
    }
}

/// Whole numbers, also as a text.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::<Number>::deserialize(deserializer)?
        .map(Number::whole)
        .transpose()
}

/// Numbers, also as a text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<Number>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Number::Integer(number)) => Ok(Some(number as f64)),
        Some(Number::Float(number)) => Ok(Some(number)),
        Some(Number::Text(text)) => text.parse().map(Some).map_err(D::Error::custom),
    }
}

/// Permission bits, which texts write in octal.
pub(super) fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match Option::<Number>::deserialize(deserializer)? {
        Some(Number::Text(text)) => u32::from_str_radix(text.trim_start_matches("0o"), 8)
            .map(Some)
            .map_err(D::Error::custom),
        Some(number) => Ok(Some(number.whole::<D::Error>()? as u32)),
        None => Ok(None),
    }
}

/// Times such as `1m30s`; negative ones count as none.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let nanoseconds =
        shape::duration(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a duration")))?;
    Ok(Some(Duration::from_nanos(nanoseconds.max(0) as u64)))
}

/// A mapping whose values may be nothing.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
