//! Values as YAML text, in the style of the manifest that they go into.

use serde_json::Value;

/// How lists stand in a manifest: `  - ` under their key, or `- ` right below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// Lists are indented under their key.
    pub(crate) indented: bool,
    /// Lines end with a carriage return, too.
    pub(crate) crlf: bool,
}

impl Style {
    /// How lines end.
    pub(crate) fn newline(self) -> &'static str {
        if self.crlf { "\r\n" } else { "\n" }
    }
}

/// A whole document, without the line `---`.
pub(crate) fn document(value: &Value) -> String {
    let mut text = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| pair(key, value, 0, Style { indented: true, crlf: false }))
            .collect::<Vec<_>>()
            .join("\n"),
        other => flow(other),
    };
    text.push('\n');
    text
}

/// A key and its value in block style, without the last line break. The first line isn't indented, the others by `column`
/// and more.
pub(super) fn pair(key: &str, value: &Value, column: usize, style: Style) -> String {
    let key = scalar(key);
    let below = column + 2;
    match value {
        Value::Array(list) if !list.is_empty() => {
            let dash = if style.indented { below } else { column };
            lines(&format!("{key}:"), list.iter().map(|one| item(one, dash, style)), dash, style)
        }
        Value::Object(map) if !map.is_empty() => {
            let pairs = map.iter().map(|(key, value)| pair(key, value, below, style));
            lines(&format!("{key}:"), pairs, below, style)
        }
        other => format!("{key}: {}", flow(other)),
    }
}

/// An item of a list in block style, as [`pair`].
pub(super) fn item(value: &Value, column: usize, style: Style) -> String {
    let below = column + 2;
    match value {
        Value::Object(map) if !map.is_empty() => {
            let pairs: Vec<_> = map.iter().map(|(key, value)| pair(key, value, below, style)).collect();
            format!("- {}", pairs.join(&format!("{}{}", style.newline(), " ".repeat(below))))
        }
        other => format!("- {}", flow(other)),
    }
}

fn lines(first: &str, rest: impl Iterator<Item = String>, column: usize, style: Style) -> String {
    let indent = format!("{}{}", style.newline(), " ".repeat(column));
    [first.to_owned()].into_iter().chain(rest).collect::<Vec<_>>().join(&indent)
}

/// A value in one line, in flow style.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            format!(
                "{{{}}}",
                map.iter().map(|(key, value)| flow_pair(key, value)).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// A key and its value in flow style. Both are quoted as JSON quotes, so that JSON stays JSON.
pub(super) fn flow_pair(key: &str, value: &Value) -> String {
    format!("{}: {}", Value::from(key), json(value))
}

/// A value as JSON in one line, with blanks where people put them.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| flow_pair(key, value)).collect::<Vec<_>>();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text as a scalar: plain where no YAML parser can take it for anything else, else in quotes.
pub(super) fn scalar(text: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-:=@".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    // Words of YAML 1.1, which Kubernetes' parser still knows; a colon at the end would make a key of it.
    const WORDS: [&str; 10] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan"];
    let word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    let amount = text.trim_start_matches(|one: char| one.is_ascii_digit());
    if amount.len() < text.len() && ["m", "Ki", "Mi", "Gi"].contains(&amount) {
        return text.to_owned();
    }
    if begins && !word && !text.ends_with(':') && text.bytes().all(safe) {
        return text.to_owned();
    }
    if text.contains('"') && text.chars().all(|one| (' '..='~').contains(&one)) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_quoted_where_a_parser_could_mistake_them() {
        let cases = [
            ("SRv6", "SRv6"),
            ("/opt/srv6/x.so", "/opt/srv6/x.so"),
            ("http://[::1]:30800", "\"http://[::1]:30800\""),
            ("1", "\"1\""),
            ("100m", "100m"),
            ("64Mi", "64Mi"),
            ("m", "m"),
            ("yes", "\"yes\""),
            ("No", "\"No\""),
            ("", "\"\""),
            ("a:", "\"a:\""),
            ("say \"a\" o'clock", "'say \"a\" o''clock'"),
            ("two\nlines \"\"", "\"two\\nlines \\\"\\\"\""),
        ];
        for (text, wanted) in cases {
            assert_eq!(scalar(text), wanted);
            assert_eq!(crate::yaml::scalar(wanted), Some(Value::from(text)));
        }
    }

    #[test]
    fn both_styles_of_lists_are_written() {
        let value = json!([{ "name": "a", "drop": ["ALL"] }, "b"]);
        let style = |indented| Style { indented, crlf: false };
        assert_eq!(
            pair("list", &value, 2, style(true)),
            "list:\n    - name: a\n      drop:\n        - ALL\n    - b"
        );
        assert_eq!(pair("list", &value, 2, style(false)), "list:\n  - name: a\n    drop:\n    - ALL\n  - b");
    }
}
