//! Numbers as C prints them.

/// A time or bandwidth right-aligned in `width` columns: as many decimals as fit, two at most, else an exponent.
pub(super) fn column(value: f64, width: usize) -> String {
    let text = (0..=2)
        .rev()
        .map(|decimals| fixed(value, decimals))
        .find(|text| text.len() <= width)
        .unwrap_or_else(|| exponent(value, usize::from(width >= 7)));
    format!("{text:>width$}")
}

/// `%.*f`.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}").to_lowercase()
}

/// `%g`.
pub(super) fn general(value: f64) -> String {
    const DIGITS: i32 = 6;
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { value.to_string().to_lowercase() };
    }
    let scientific = format!("{value:.5e}");
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    if (-4..DIGITS).contains(&power) {
        let decimals = usize::try_from(DIGITS - 1 - power).unwrap_or(0);
        trimmed(&format!("{value:.decimals$}"))
    } else {
        let text = exponent(value, 5);
        let (mantissa, power) = text.split_once('e').unwrap_or((&text, "+00"));
        format!("{}e{power}", trimmed(mantissa))
    }
}

/// `%.*e`: at least two digits of exponent, always signed.
fn exponent(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$e}");
    match text.split_once('e') {
        Some((mantissa, power)) => match power.strip_prefix('-') {
            Some(power) => format!("{mantissa}e-{power:0>2}"),
            None => format!("{mantissa}e+{power:0>2}"),
        },
        None => text,
    }
}

fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_their_width() {
        for (value, width, text) in [
            (0.0, 7, "   0.00"),
            (28.31, 7, "  28.31"),
            (412.7, 7, " 412.70"),
            (9999.99, 7, "9999.99"),
            (9999.999, 7, "10000.0"),
            (99_999.99, 7, " 100000"),
            (f64::INFINITY, 6, "   inf"),
            (f64::NAN, 7, "    nan"),
            (48231.94, 7, "48231.9"),
            (482_319.4, 7, " 482319"),
            (4_823_194.0, 7, "4823194"),
            (48_231_940.0, 7, "4.8e+07"),
            (2.784, 6, "  2.78"),
            (999.99, 6, "999.99"),
            (1234.56, 6, "1234.6"),
            (12345.6, 6, " 12346"),
            (1_234_567.0, 6, " 1e+06"),
        ] {
            assert_eq!(column(value, width), text);
        }
    }

    /// Compared with what C prints.
    #[test]
    fn general_is_percent_g() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1.774_678_9, "1.77468"),
            (12.5, "12.5"),
            (100_000.0, "100000"),
            (999_999.5, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.000_1, "0.0001"),
            (0.000_012_345_67, "1.23457e-05"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(general(value), text);
        }
    }
}
