//! Query parameters, read and refused as pydantic 2.4 does behind FastAPI.

use axum::extract::Query;
use axum::http::Uri;
use serde_json::{Value, json};

use super::Failure;

/// Addresses of pydantic's explanations, part of every refusal.
const EXPLAINED: &str = "https://errors.pydantic.dev/2.4/v";

/// The parameters of one request. Each is asked for in the order in which the call declares it, which is the order
/// of the refusals that [`Parameters::done`] reports together.
#[derive(Debug)]
pub(crate) struct Parameters {
    given: Vec<(String, String)>,
    refusals: Vec<Value>,
}

impl Parameters {
    /// Reads a query string; bytes that aren't UTF-8 become replacement characters.
    pub(crate) fn of(uri: &Uri) -> Self {
        // Any text is a list of pairs, so there is nothing that could fail to parse.
        let given = Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default();
        Self { given, refusals: Vec::new() }
    }

    /// A text that must be there; empty where it isn't, which [`Parameters::done`] then refuses.
    pub(crate) fn required(&mut self, name: &str) -> String {
        if let Some(value) = self.text(name) {
            return value;
        }
        self.refuse("missing", name, "Field required", Value::Null);
        String::new()
    }

    /// A text that may be there. Of several the last counts.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.given.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.clone())
    }

    /// A whole number that may be there.
    pub(crate) fn integer(&mut self, name: &str) -> Option<i64> {
        let value = self.text(name)?;
        match integer(&value) {
            Ok(number) => Some(number),
            Err((kind, message)) => {
                self.refuse(kind, name, message, value.into());
                None
            }
        }
    }

    /// A truth value that may be there.
    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.text(name)?;
        match value.to_ascii_lowercase().as_str() {
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            _ => {
                let message = "Input should be a valid boolean, unable to interpret input";
                self.refuse("bool_parsing", name, message, value.into());
                None
            }
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All refusals together.
    pub(crate) fn done(self) -> Result<(), Failure> {
        if self.refusals.is_empty() { Ok(()) } else { Err(Failure::Parameters(self.refusals)) }
    }

    fn refuse(&mut self, kind: &str, name: &str, message: &str, input: Value) {
        self.refusals.push(json!({
            "type": kind,
            "loc": ["query", name],
            "msg": message,
            "input": input,
            "url": format!("{EXPLAINED}/{kind}"),
        }));
    }
}

/// Reads what Python's `int` reads: a sign, digits with single underscores between them, white space around.
fn integer(text: &str) -> Result<i64, (&'static str, &'static str)> {
    const FORM: (&str, &str) =
        ("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
    const SIZE: (&str, &str) =
        ("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size");
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let groups_are_digits = digits.split('_').all(|g| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit()));
    if !groups_are_digits {
        return Err(FORM);
    }
    trimmed.replace('_', "").parse().map_err(|_| SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::of(&format!("/x?{query}").parse().unwrap())
    }

    #[test]
    fn texts_are_decoded_and_the_last_one_counts() {
        let mut p = parameters("source=a&source=hosts%2Fh0&plus=a+b&bad=%FF&flag&empty=");
        assert_eq!(p.required("source"), "hosts/h0");
        assert_eq!(p.text("plus").unwrap(), "a b");
        assert_eq!(p.text("bad").unwrap(), "\u{fffd}");
        assert_eq!(p.required("flag"), "");
        assert_eq!(p.required("empty"), "");
        assert_eq!(p.done(), Ok(()));
    }

    #[test]
    fn refusals_come_together_in_order_of_asking() {
        let mut p = parameters("algo=abc&deep=maybe&huge=99999999999999999999");
        p.required("source");
        assert_eq!(p.integer("algo"), None);
        assert_eq!(p.boolean("deep"), None);
        assert_eq!(p.integer("huge"), None);
        let Err(Failure::Parameters(list)) = p.done() else { panic!("not refused") };
        let kinds: Vec<&str> = list.iter().map(|r| r["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["missing", "int_parsing", "bool_parsing", "int_parsing_size"]);
        assert_eq!(
            list[1],
            json!({"type": "int_parsing", "loc": ["query", "algo"], "input": "abc",
                "msg": "Input should be a valid integer, unable to parse string as an integer",
                "url": "https://errors.pydantic.dev/2.4/v/int_parsing"})
        );
    }

    #[test]
    fn numbers_and_truth_as_python_reads_them() {
        for (text, want) in [("4", 4), ("+4", 4), ("-1", -1), ("%201_000%20", 1000)] {
            assert_eq!(parameters(&format!("n={text}")).integer("n"), Some(want), "{text}");
        }
        for text in ["", "4.5", "_4", "4_", "4__0", "--4", "0x4", "%D9%A4"] {
            assert_eq!(parameters(&format!("n={text}")).integer("n"), None, "{text}");
        }
        assert_eq!(parameters("b=YES").boolean("b"), Some(true));
        assert_eq!(parameters("b=off").boolean("b"), Some(false));
        assert_eq!(parameters("").boolean("b"), None);
    }
}
