//! A stored form for people: one line that says what it is, however much it holds.
//!
//! ```text
//!   {"job":"a","records":[{..},{..}]}        job=a records=(2 items)
//!   {"t":"a.out.1","partitions":{"x":[0,2]}} partitions.x=[0,2] t=a.out.1
//! ```

use std::collections::BTreeMap;

use serde_json::Value;

/// So many numbers or texts of a list are shown themselves.
const ITEMS_MAX: usize = 8;

/// So many characters of a text are shown.
const TEXT_MAX: usize = 80;

/// What a JSON text says. What is no JSON is shown as it is.
pub(crate) fn digest(json: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(json) else { return shortened(json) };
    let mut facts = Vec::new();
    add(&mut facts, "", &value);
    facts.join(" ")
}

/// Adds what a value says under its name.
fn add(facts: &mut Vec<String>, name: &str, value: &Value) {
    let text = match value {
        Value::Object(fields) if !fields.is_empty() => {
            let fields: BTreeMap<_, _> = fields.iter().collect();
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                add(facts, &format!("{name}{dot}{field}"), value);
            }
            return;
        }
        Value::Array(items) if !is_short(items) => match items.len() {
            1 => "(1 item)".to_owned(),
            many => format!("({many} items)"),
        },
        Value::String(text) => shortened(text),
        other => other.to_string(),
    };
    facts.push(if name.is_empty() { text } else { format!("{name}={text}") });
}

/// Whether a list is shown itself.
fn is_short(items: &[Value]) -> bool {
    items.len() <= ITEMS_MAX
        && items.iter().all(|item| !item.is_object() && !item.is_array())
        && items.iter().map(|item| item.to_string().len()).sum::<usize>() <= TEXT_MAX
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_form_is_one_line_whatever_it_holds() {
        let records =
            vec![r#"{"row":"cm93","change":{"put":[{"column":"f:a","value":"AQI="}]}}"#; 900].join(",");
        let write_ahead = format!(
            r#"{{"job":"latest","generation":7,"place":"table latest","v":1,"records":[{records}]}}"#
        );
        for (json, shown) in [
            (write_ahead.as_str(), "generation=7 job=latest place=table latest records=(900 items) v=1"),
            (r#"{"file":"a/b","staged":{"file":".c"},"bytes":4}"#, "bytes=4 file=a/b staged.file=.c"),
            (r#"{"partitions":{"totals":[0,2]},"none":null}"#, "none=null partitions.totals=[0,2]"),
            (r#"{"parts":[["a"]],"empty":{},"no":[]}"#, "empty={} no=[] parts=(1 item)"),
            (r#""text""#, "text"),
            ("null", "null"),
            ("no JSON", "no JSON"),
        ] {
            assert_eq!(digest(json), shown);
        }
        let long = format!(r#"{{"a":"{}","b":["{}"]}}"#, "ö".repeat(200), "x".repeat(200));
        assert_eq!(digest(&long), format!("a={}.. b=(1 item)", "ö".repeat(80)));
    }
}
