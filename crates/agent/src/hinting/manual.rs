//! Hints from standard input, as MPIB's agent takes them: `SLOT VALUE` or `all VALUE`, one a line.

use std::io::BufRead;

use super::{Hinting, Which};

/// A line of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which slots.
    pub which: Which,
    /// What they are to say.
    pub value: &'a str,
}

/// Not a line of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid input. Use: <slot> <value> or all <value>")]
pub struct LineError;

impl<'a> Line<'a> {
    /// What a line asks for.
    ///
    /// # Errors
    /// It isn't two words, or the first is neither `all` nor a number.
    pub fn parse(text: &'a str) -> Result<Self, LineError> {
        let mut words = text.split_whitespace();
        let (Some(which), Some(value), None) = (words.next(), words.next(), words.next()) else {
            return Err(LineError);
        };
        let which = match which {
            "all" => Which::All,
            slot => Which::Slot(slot.parse().map_err(|_| LineError)?),
        };
        Ok(Self { which, value })
    }
}

/// Does what the lines ask for until they end, and says after each what was done. Blocks while there is none.
///
/// Meant are [`Hinting::usual`] hints. The end of input is the end of this only: the agent may run without a terminal.
///
/// # Errors
/// Input or output broke.
pub fn read_lines(
    hinting: &Hinting,
    input: impl BufRead,
    mut said: impl FnMut(Result<String, String>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    for text in input.lines() {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        let done = Line::parse(&text).map_err(|error| error.to_string()).and_then(|line| {
            let Line { which, value } = line;
            hinting.set(hinting.usual(), which, value).map_err(|error| error.to_string())?;
            Ok(match which {
                Which::Slot(slot) => format!("Set slot {slot} to {value}"),
                Which::All => format!("Set all slots to {value}"),
            })
        });
        said(done)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Layers};

    #[test]
    fn lines_are_two_words() {
        assert_eq!(Line::parse(" 3  1000,5 "), Ok(Line { which: Which::Slot(3), value: "1000,5" }));
        assert_eq!(Line::parse("all 7"), Ok(Line { which: Which::All, value: "7" }));
        for wrong in ["", "3", "3 4 5", "-1 4", "any 4", "3.0 4", "4294967296 1"] {
            assert_eq!(Line::parse(wrong), Err(LineError), "{wrong:?}");
        }
    }

    #[test]
    fn every_line_that_is_there_is_done_and_the_end_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mpib").display().to_string();
        let values = [
            ("SRV6_TOPOLOGY", "f.json"),
            ("SRV6D_HINTS", "off"),
            ("SRV6D_MPIB_COMPAT", "1"),
            ("SRV6D_MPIB_UNIT", "multiplier"),
            ("SRV6D_MPIB_DIR", &path),
        ];
        let values = values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::read(Layers::of_environment(values)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let hinting = Hinting::start(&config);
        let mut said = Vec::new();
        let input = "7 9\n\n  8 75%\nnonsense\n256 1\n9 -1\nall 5\n";
        let note = |word| {
            said.push(word);
            Ok(())
        };
        read_lines(&hinting, input.as_bytes(), note).unwrap();
        let told = |text: &str| said.iter().flatten().any(|word| word == text);
        assert!(
            told("Set slot 7 to 9") && told("Set slot 8 to 75%") && told("Set all slots to 5"),
            "{said:?}"
        );
        let refused: Vec<_> = said.iter().filter_map(|word| word.as_ref().err()).collect();
        assert_eq!(refused.len(), 3, "{said:?}");
        assert!(refused[0].starts_with("Invalid input. Use: <slot> <value>"));
        assert!(refused[1].contains("slot 256") && refused[2].contains("\"-1\"; want 0 to 4294967295"));
        let view = srv6_hints::mpib::MpibView::open(&folder.path().join("mpib/hints")).unwrap();
        let values = [7, 8, 9].map(|slot| view.read(slot).unwrap().value);
        assert_eq!(values, [9, 3, 1], "`all` means slots in use");
    }
}
