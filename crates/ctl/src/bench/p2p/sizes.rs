//! Buffer sizes as the NIXL script reads and prints them.

use anyhow::{Context, bail, ensure};

/// What the script takes if nothing is said.
pub(super) const DEFAULT: &str = "1MB,16MB,256MB";

/// A list of sizes such as `64KB, 1.5 MB,1048576`; bytes, in the order given.
///
/// # Errors
/// If an item is no size, with the item.
pub(super) fn parse_list(text: &str) -> anyhow::Result<Vec<u64>> {
    text.split(',').map(|item| parse(item).with_context(|| format!("buffer size {item:?}"))).collect()
}

/// Bytes as the script prints them: `1.0 MB`, powers of 1024.
pub(super) fn text(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "printed with one decimal")]
    let mut size = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TB")
}

/// A number with GB, MB, KB or B (powers of 1024, either case), or a whole number of bytes.
fn parse(item: &str) -> anyhow::Result<u64> {
    const WANTED: &str = "wanted a number with B, KB, MB or GB, as 1.5MB, or a whole number of bytes";
    let item = item.trim().to_ascii_uppercase();
    // B last: the others end with it too.
    let unit = [("GB", 30), ("MB", 20), ("KB", 10), ("B", 0)]
        .into_iter()
        .find_map(|(unit, shift)| item.strip_suffix(unit).map(|number| (number.trim(), shift)));
    let bytes = match unit {
        None => item.parse().ok().context(WANTED)?,
        // What Rust reads and nobody writes: inf, nan, signs.
        Some((number, _)) if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') => bail!(WANTED),
        Some((number, shift)) => {
            let number: f64 = number.parse().ok().context(WANTED)?;
            let bytes = number * f64::from(1 << shift);
            ensure!(bytes < LARGEST, "wanted 1 TiB at most");
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^40: checked")]
            let bytes = bytes as u64;
            bytes
        }
    };
    ensure!(bytes > 0, "wanted 1 byte or more");
    #[expect(clippy::cast_precision_loss, reason = "compared with a power of two")]
    let float = bytes as f64;
    ensure!(float < LARGEST, "wanted 1 TiB at most");
    Ok(bytes)
}

/// One byte more than a net's message may have.
const LARGEST: f64 = (1_u64 << 40) as f64 + 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_s_grammar() {
        for (item, bytes) in [
            ("1MB", 1 << 20),
            ("16mb", 16 << 20),
            (" 256MB ", 256 << 20),
            ("1.5 MB", 1_572_864),
            ("64KB", 65_536),
            ("2Gb", 2 << 30),
            ("0.5KB", 512),
            ("1B", 1),
            ("1048576", 1 << 20),
            ("1e3KB", 1_024_000),
            ("1024GB", 1 << 40),
        ] {
            assert_eq!(parse(item).unwrap(), bytes, "{item}");
        }
    }

    #[test]
    fn what_the_script_answers_with_a_trace_is_an_error_with_the_item() {
        for item in
            ["", "1M", "1K", "2TB", "MB", "1.5", "-1MB", "-1", "infMB", "nanKB", "+1MB", "1..5MB", "x"]
        {
            let error = format!("{:#}", parse_list(&format!("1MB,{item}")).unwrap_err());
            assert!(
                error.starts_with(&format!("buffer size {item:?}: wanted a number with B, KB")),
                "{error}"
            );
        }
        for (item, wanted) in [
            ("0", "1 byte or more"),
            ("0.9B", "1 byte or more"),
            ("1025GB", "1 TiB"),
            ("1099511627777", "1 TiB"),
        ] {
            let error = format!("{:#}", parse_list(item).unwrap_err());
            assert!(error.contains(wanted), "{item}: {error}");
        }
    }

    #[test]
    fn lists_and_the_way_back() {
        assert_eq!(parse_list(DEFAULT).unwrap(), [1 << 20, 16 << 20, 256 << 20]);
        assert_eq!(parse_list("1KB, 16").unwrap(), [1024, 16]);
        assert!(parse_list("1KB,").is_err());
        for (bytes, wanted) in [
            (1, "1.0 B"),
            (1023, "1023.0 B"),
            (1024, "1.0 KB"),
            (1_572_864, "1.5 MB"),
            (256 << 20, "256.0 MB"),
            (3 << 30, "3.0 GB"),
            (1 << 40, "1.0 TB"),
            (1_048_575, "1024.0 KB"),
        ] {
            assert_eq!(text(bytes), wanted);
        }
    }
}
