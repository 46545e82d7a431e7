//! Reads values and collects what is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::fields::Field;
use super::layers::Layers;

/// Every setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Mistakes {}

/// Reads values and collects what is wrong with them.
pub(super) struct Reader {
    layers: Layers,
    mistakes: Vec<String>,
}

impl Reader {
    /// Over these values; names that are no settings are mistakes at once.
    pub(super) fn new(layers: Layers) -> Self {
        let unknown = layers.0.iter().filter(|(name, _)| Field::named(name).is_none());
        let mistakes = unknown
            .map(|(name, said)| format!("{name}={:?} ({}): no such setting of srv6d", said.value, said.place))
            .collect();
        Self { layers, mistakes }
    }

    /// The value as it is.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.layers.0.get(name).map(|said| said.value.clone())
    }

    /// A number of the range.
    pub(super) fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: FromStr + PartialOrd + Copy,
    {
        self.optional_number(name, range).unwrap_or(default)
    }

    /// A number of the range, if there is one.
    pub(super) fn optional_number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Copy,
    {
        match self.text(name)?.parse() {
            Ok(value) if range.contains(&value) => Some(value),
            _ => self.refuse(name, None),
        }
    }

    /// A time of the range, in the unit that `unit` makes of a number.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        unit: fn(u64) -> Duration,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> Duration {
        unit(self.number(name, range, default))
    }

    /// Anything that can be parsed, if it is there.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str) -> Option<T> {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(_) => self.refuse(name, None),
        }
    }

    /// A uSID function: hexadecimal as in the text of a SID, with or without 0x; 16 bits, not 0.
    pub(super) fn function(&mut self, name: &'static str) -> Option<u32> {
        let text = self.text(name)?;
        match u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16) {
            Ok(value @ 1..=0xffff) => Some(value),
            _ => self.refuse(name, None),
        }
    }

    /// Notes that the value isn't what the field wants, and goes on with `instead`.
    pub(super) fn refuse<T>(&mut self, name: &'static str, instead: T) -> T {
        let wanted = Field::named(name).map_or("something else", |field| field.wanted);
        self.refuse_because(name, &format!("want {wanted}"), instead)
    }

    /// Notes this mistake, and goes on with `instead`.
    pub(super) fn refuse_because<T>(&mut self, name: &'static str, reason: &str, instead: T) -> T {
        let said = self.layers.0.get(name).map(|said| format!("={:?} ({})", said.value, said.place));
        self.mistakes.push(format!("{name}{}: {reason}", said.unwrap_or_default()));
        instead
    }

    /// The result, if there was no mistake.
    pub(super) fn finish<T>(self, result: T) -> Result<T, Mistakes> {
        if self.mistakes.is_empty() { Ok(result) } else { Err(Mistakes(self.mistakes)) }
    }
}

impl srv6_settings::Values for Reader {
    fn text(&self, name: &'static str) -> Option<String> {
        self.text(name)
    }

    fn refuse<T>(&mut self, name: &'static str, instead: T) -> T {
        self.refuse(name, instead)
    }

    fn refuse_because<T>(&mut self, name: &'static str, reason: &str, instead: T) -> T {
        self.refuse_because(name, reason, instead)
    }
}
