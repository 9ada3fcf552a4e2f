//! Nested values as JSON. `serde_json` makes `null` of what JSON has no form for; this refuses it.

use crate::value::SqlValue;

/// The value as a JSON text.
///
/// # Errors
/// Why it has none.
pub(crate) fn text_of(value: &SqlValue) -> Result<String, String> {
    let mut text = String::new();
    push(&mut text, value)?;
    Ok(text)
}

/// Appends a value.
pub(crate) fn push(json: &mut String, value: &SqlValue) -> Result<(), String> {
    match value {
        SqlValue::Null => json.push_str("null"),
        SqlValue::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        SqlValue::I64(value) => json.push_str(&value.to_string()),
        SqlValue::U64(value) => json.push_str(&value.to_string()),
        SqlValue::F64(value) => {
            if !value.is_finite() {
                return Err("JSON has no form for NaN and infinities".into());
            }
            json.push_str(&serde_json::to_string(value).map_err(|error| error.to_string())?);
        }
        SqlValue::Decimal(digits) => json.push_str(digits),
        SqlValue::Json(nested) => json.push_str(nested),
        SqlValue::Text(text) => push_text(json, text)?,
        SqlValue::Bytes(bytes) => {
            let list = bytes.iter().map(|byte| SqlValue::I64(i64::from(*byte))).collect();
            push(json, &SqlValue::Array(list))?;
        }
        SqlValue::Array(values) => {
            json.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    json.push(',');
                }
                push(json, value)?;
            }
            json.push(']');
        }
        SqlValue::Date(_)
        | SqlValue::Time(_)
        | SqlValue::Timestamp(_)
        | SqlValue::Moment(_)
        | SqlValue::Uuid(_) => {
            push_text(json, &crate::value::plain_text(value))?;
        }
    }
    Ok(())
}

/// Appends a text, quoted.
pub(crate) fn push_text(json: &mut String, text: &str) -> Result<(), String> {
    json.push_str(&serde_json::to_string(text).map_err(|error| error.to_string())?);
    Ok(())
}
