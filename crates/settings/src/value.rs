//! Reads values and collects what is wrong with them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::mistakes::{Mistake, Mistakes};
use crate::{FIELDS, Field};

/// One value, and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Never empty.
    pub value: String,
    /// As an error message names it; `None` where there is one place only.
    pub place: Option<String>,
}

/// Reads values and collects what is wrong with them.
#[derive(Debug)]
pub struct Reader {
    values: BTreeMap<String, Said>,
    fields: &'static [&'static [Field]],
    mistakes: Vec<Mistake>,
}

impl Reader {
    /// Over environment variables that may be [`FIELDS`]; an empty value counts as unset, as a shell or a pod's template leaves it.
    ///
    /// Names with our prefix that are no settings are mistakes: a typing error would otherwise go unnoticed.
    pub fn of_environment<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let values = variables
            .into_iter()
            .map(|(name, value)| (text(name.as_ref()), Said { value: text(value.as_ref()), place: None }))
            .filter(|(_, said)| !said.value.is_empty());
        let mut reader = Self::new(values.collect(), &[&FIELDS]);
        reader.refuse_unknown(|name| name.starts_with("SRV6_") && !is_service_link(name));
        reader
    }

    /// Over these values; each has to be one of the fields.
    pub fn of_fields(values: BTreeMap<String, Said>, fields: &'static [&'static [Field]]) -> Self {
        let mut reader = Self::new(values, fields);
        reader.refuse_unknown(|_| true);
        reader
    }

    fn new(values: BTreeMap<String, Said>, fields: &'static [&'static [Field]]) -> Self {
        Self { values, fields, mistakes: Vec::new() }
    }

    fn refuse_unknown(&mut self, is_ours: impl Fn(&str) -> bool) {
        let unknown = self.values.iter().filter(|(name, _)| is_ours(name) && self.field(name).is_none());
        let mistakes: Vec<Mistake> = unknown
            .map(|(name, said)| {
                let known = self.fields.iter().copied().flatten().map(|field| field.name);
                let near = known.min_by_key(|known| distance(known, name));
                let hint = near
                    .filter(|known| distance(known, name) <= 3)
                    .map(|known| format!("; did you mean {known}?"));
                Mistake {
                    name: name.clone(),
                    said: Some(said.clone()),
                    wanted: format!("no such setting{}", hint.unwrap_or_default()),
                }
            })
            .collect();
        self.mistakes.extend(mistakes);
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().copied().flatten().find(|field| field.name == name)
    }

    /// The value as it is.
    pub fn text(&self, name: &'static str) -> Option<String> {
        self.values.get(name).map(|said| said.value.clone())
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
        let wanted = self.field(name).map_or("something else", |field| field.wanted);
        self.refuse_because(name, format_args!("want {wanted}"), instead)
    }

    /// Notes this mistake, and goes on with `instead`.
    pub fn refuse_because<T>(&mut self, name: &'static str, reason: impl Display, instead: T) -> T {
        let said = self.values.get(name).cloned();
        self.mistakes.push(Mistake { name: name.to_owned(), said, wanted: reason.to_string() });
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
    fn a_value_is_told_with_its_place_and_a_missing_one_without() {
        const OWN: [Field; 1] = [Field { name: "SRV6D_GROUP", wanted: "a group", default: "", text: "" }];
        let said =
            |name: &str| (name.to_owned(), Said { value: "ml".to_owned(), place: Some("f.toml".to_owned()) });
        let values = [said("SRV6D_GRUOP"), said("SRV6_LOG")].into();
        let mut reader = Reader::of_fields(values, &[&OWN]);
        reader.refuse("SRV6D_GROUP", ());
        assert_eq!(
            reader.finish(()).unwrap_err().to_string(),
            "SRV6D_GRUOP=\"ml\" (f.toml): no such setting; did you mean SRV6D_GROUP?; \
             SRV6_LOG=\"ml\" (f.toml): no such setting; SRV6D_GROUP: want a group"
        );
    }

    #[test]
    fn a_far_name_gets_no_hint() {
        let reader = Reader::of_environment([("SRV6_ENTIRELY_ELSE", "1")]);
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
        assert!(Reader::of_environment(links.map(|name| (name, "10.0.0.1"))).finish(()).is_ok());
        for mistake in ["SRV6_API", "SRV6_PORT_EIGHTY_TCP", "SRV6_PORTS"] {
            assert!(!is_service_link(mistake), "{mistake}");
        }
    }
}
