//! Reads values and collects what is wrong with them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::mistakes::{Mistake, Mistakes};
use crate::{FIELDS, Field};

/// Reads values and collects what is wrong with them.
#[derive(Debug)]
pub struct Reader {
    variables: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    /// Over these variables; an empty value counts as unset, as a shell or a pod's template leaves it.
    pub fn new(mut variables: BTreeMap<String, String>) -> Self {
        variables.retain(|_, value| !value.is_empty());
        Self { variables, mistakes: Vec::new() }
    }

    /// Finds names with our prefix that are no settings: a typing error would otherwise go unnoticed.
    pub fn refuse_unknown(&mut self) {
        let unknown = self
            .variables
            .iter()
            .filter(|(name, _)| name.starts_with("SRV6_") && Field::named(name).is_none())
            .filter(|(name, _)| !is_service_link(name));
        self.mistakes.extend(unknown.map(|(name, value)| {
            let near = FIELDS.iter().map(|field| field.name).min_by_key(|known| distance(known, name));
            let hint = near
                .filter(|known| distance(known, name) <= 3)
                .map(|known| format!("; did you mean {known}?"));
            Mistake {
                name: name.clone(),
                value: value.clone(),
                wanted: format!("no such setting{}", hint.unwrap_or_default()),
            }
        }));
    }

    /// The value as it is.
    pub fn text(&self, name: &'static str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The first of these that is set: names that launchers give to the same thing.
    pub fn first_of(&self, names: &[&'static str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    /// 0 or 1; unset is 0.
    pub fn flag(&mut self, name: &'static str) -> bool {
        match self.text(name).as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => self.refuse(name, false),
        }
    }

    /// A number of the range.
    pub fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: FromStr + PartialOrd + Copy,
    {
        self.optional_number(name, range).unwrap_or(default)
    }

    /// A number of the range, if there is one.
    pub fn optional_number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Copy,
    {
        match self.text(name)?.parse() {
            Ok(value) if range.contains(&value) => Some(value),
            _ => self.refuse(name, None),
        }
    }

    /// Anything that can be parsed, if it is there.
    pub fn parsed<T: FromStr>(&mut self, name: &'static str) -> Option<T> {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(_) => self.refuse(name, None),
        }
    }

    /// A uSID function: hexadecimal as in the text of a SID, with or without 0x; 16 bits, not 0.
    pub fn function(&mut self, name: &'static str) -> Option<u32> {
        let text = self.text(name)?;
        match u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16) {
            Ok(value @ 1..=0xffff) => Some(value),
            _ => self.refuse(name, None),
        }
    }

    /// Notes that the value isn't what the field wants, and goes on with `instead`.
    pub fn refuse<T>(&mut self, name: &'static str, instead: T) -> T {
        let wanted = Field::named(name).map_or("something else", |field| field.wanted);
        self.refuse_because(name, format_args!("want {wanted}"), instead)
    }

    /// Notes this mistake, and goes on with `instead`.
    pub fn refuse_because<T>(&mut self, name: &'static str, reason: impl Display, instead: T) -> T {
        let value = self.text(name).unwrap_or_default();
        self.mistakes.push(Mistake { name: name.to_owned(), value, wanted: reason.to_string() });
        instead
    }

    /// The result, if there was no mistake.
    pub fn finish<T>(self, result: T) -> Result<T, Mistakes> {
        if self.mistakes.is_empty() { Ok(result) } else { Err(Mistakes(self.mistakes)) }
    }
}

/// How many letters have to be typed, removed or changed to get from one name to the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut previous = i + 1;
        let mut diagonal = i;
        for (b, cell) in other.bytes().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(a != b)).min(previous + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, cost);
            previous = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Whether Kubernetes made this variable, for a Service whose name begins with `srv6-`, and not a person.
fn is_service_link(name: &str) -> bool {
    let port = |rest: &str| {
        let mut parts = rest.split('_');
        parts.next().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, wanted) in
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("SRV6_LOG", "SRV6_LOG", 0)]
        {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }

    #[test]
    fn a_far_name_gets_no_hint() {
        let mut reader = Reader::new([("SRV6_ENTIRELY_ELSE".to_owned(), "1".to_owned())].into());
        reader.refuse_unknown();
        assert_eq!(reader.finish(()).unwrap_err().to_string(), "SRV6_ENTIRELY_ELSE=\"1\": no such setting");
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_is_no_mistake() {
        let links = [
            "SRV6_API_SERVICE_HOST",
            "SRV6_API_SERVICE_PORT_HTTP",
            "SRV6_API_PORT",
            "SRV6_API_PORT_80_TCP_ADDR",
        ];
        let set = links.map(|name| (name.to_owned(), "10.0.0.1".to_owned()));
        let mut reader = Reader::new(set.into_iter().collect());
        reader.refuse_unknown();
        assert!(reader.finish(()).is_ok());
        for mistake in ["SRV6_API", "SRV6_PORT_EIGHTY_TCP", "SRV6_PORTS"] {
            assert!(!is_service_link(mistake), "{mistake}");
        }
    }
}
