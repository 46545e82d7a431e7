//! Sums and means as the query language and as Python count them.

use serde_json::{Number, Value};

/// Largest whole number that a double holds exactly, with all below it.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Sum of the numbers among values, nulls and others left out: 0 where there are none.
pub(super) fn query_sum<'a>(values: impl Iterator<Item = &'a Value>) -> Value {
    query_number(values.filter_map(Value::as_f64).sum())
}

/// Mean of the numbers among values: null where there are none.
pub(super) fn query_mean<'a>(values: impl Iterator<Item = &'a Value>) -> Value {
    let (count, sum) =
        values.filter_map(Value::as_f64).fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    if count == 0.0 { Value::Null } else { query_number(sum / count) }
}

/// The query language has one kind of number and writes whole ones without a fraction.
fn query_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and at most 2^53, as just checked")]
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// Python's sum: a whole number as long as all parts are.
pub(super) fn python_sum(values: &[Value]) -> Value {
    let whole = values.iter().map(Value::as_i64).try_fold(0_i64, |sum, value| sum.checked_add(value?));
    match whole {
        Some(sum) => sum.into(),
        None => values.iter().filter_map(Value::as_f64).sum::<f64>().into(),
    }
}

/// Python's `sum / count`: always with a fraction, except that of nothing, which the original sets to 0.
pub(super) fn python_mean(values: &[Value]) -> Value {
    if values.is_empty() {
        return 0.into();
    }
    let count: f64 = values.iter().map(|_| 1.0).sum();
    (values.iter().filter_map(Value::as_f64).sum::<f64>() / count).into()
}

/// Python's `value + added`, of a value read from JSON.
///
/// # Errors
/// The exception's text where Python can't add these.
pub(super) fn python_add(value: &Value, added: i64) -> Result<Value, String> {
    let unsupported = |kind: &str| Err(format!("unsupported operand type(s) for +: '{kind}' and 'int'"));
    let not_joined = |kind: &str| Err(format!("can only concatenate {kind} (not \"int\") to {kind}"));
    match value {
        Value::Number(number) => Ok(add(number, added)),
        Value::Bool(truth) => Ok((i64::from(*truth) + added).into()),
        Value::Null => unsupported("NoneType"),
        Value::Object(_) => unsupported("dict"),
        Value::String(_) => not_joined("str"),
        Value::Array(_) => not_joined("list"),
    }
}

fn add(number: &Number, added: i64) -> Value {
    match number.as_i64().and_then(|n| n.checked_add(added)) {
        Some(sum) => sum.into(),
        None => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "the increment is small; a double is all that is left"
            )]
            let added = added as f64;
            (number.as_f64().unwrap_or(f64::MAX) + added).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_stay_whole_where_the_original_keeps_them_so() {
        let text = |values: Value| {
            let list = values.as_array().unwrap().clone();
            [query_sum(list.iter()), query_mean(list.iter()), python_sum(&list), python_mean(&list)]
                .map(|v| v.to_string())
                .join(" ")
        };
        assert_eq!(text(json!([10, 20])), "30 15 30 15.0");
        assert_eq!(text(json!([10, 15])), "25 12.5 25 12.5");
        assert_eq!(text(json!([0.5, 0.5])), "1 0.5 1.0 0.5");
        assert_eq!(text(json!([])), "0 null 0 0");
        let nulls = [json!(null), json!(4)];
        assert_eq!((query_sum(nulls.iter()), query_mean(nulls.iter())), (json!(4), json!(4)));
    }

    #[test]
    fn adding_as_python_does() {
        assert_eq!(python_add(&json!(0), 10), Ok(json!(10)));
        assert_eq!(python_add(&json!(0.5), 10), Ok(json!(10.5)));
        assert_eq!(python_add(&json!(true), 10), Ok(json!(11)));
        assert_eq!(
            python_add(&Value::Null, 10).unwrap_err(),
            "unsupported operand type(s) for +: 'NoneType' and 'int'"
        );
        assert_eq!(python_add(&json!("7"), 10).unwrap_err(), "can only concatenate str (not \"int\") to str");
    }
}
