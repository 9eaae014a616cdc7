//! A report as a flat row: dotted names and scalar values, for tables and comparisons.

use serde_json::Value;

/// One figure of a row.
pub(crate) type Field = (String, Value);

/// The scalars of a JSON object by dotted names, in their order. A list of texts becomes one text, its parts separated by
/// `" | "`; other lists are left out.
pub(crate) fn flatten(value: &Value) -> Vec<Field> {
    let mut out = Vec::new();
    visit("", value, &mut out);
    out
}

fn visit(name: &str, value: &Value, out: &mut Vec<Field>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                visit(&name, inner, out);
            }
        }
        Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            if let Some(texts) = texts {
                out.push((name.to_owned(), Value::from(texts.join(" | "))));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push((name.to_owned(), value.clone()));
        }
    }
}

/// A scalar as the cell of a table: empty for null, without line ends.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(['\n', '\r'], " "),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_dotted_names() {
        let value = serde_json::json!({
            "a": 1, "b": {"c": null, "d": {"e": 0.5}}, "f": ["x", "y"], "g": [1, 2], "h": [], "i": true,
        });
        let fields: Vec<(String, String)> =
            flatten(&value).into_iter().map(|(name, value)| (name, value.to_string())).collect();
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            fields,
            [("a", "1"), ("b.c", "null"), ("b.d.e", "0.5"), ("f", "\"x | y\""), ("h", "\"\""), ("i", "true")]
        );
    }

    #[test]
    fn cells_are_of_one_line() {
        let values = [Value::Null, Value::from("a\nb"), Value::from(0.25), Value::from(true)];
        assert_eq!(values.each_ref().map(cell), ["", "a b", "0.25", "true"]);
    }
}
