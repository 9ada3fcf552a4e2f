//! What `ADD` makes of a value, worked out here: so that many additions to one item are one action of a transaction.

use std::collections::BTreeSet;

use crate::number::Number;
use crate::value::Value;

/// The value after `more` was added to it. `None`: DynamoDB has no such addition, or its result is not known exactly.
pub(super) fn added(value: &Value, more: &Value) -> Option<Value> {
    Some(match (value, more) {
        (Value::N(one), Value::N(other)) => Value::N(sum(one, other)?),
        (Value::Ss(set), Value::Ss(more)) => Value::Ss(set.union(more).cloned().collect()),
        (Value::Bs(set), Value::Bs(more)) => Value::Bs(set.union(more).cloned().collect()),
        (Value::Ns(set), Value::Ns(more)) => {
            // A number that is there in two forms would be one too many.
            let plain = |number: &String| Number::parse(number).map(|number| number.to_string());
            Value::Ns(set.iter().chain(more).map(plain).collect::<Option<BTreeSet<_>>>()?)
        }
        _ => return None,
    })
}

/// The sum of two numbers. `None`: it would have to be rounded, or is too large.
fn sum(one: &str, other: &str) -> Option<String> {
    // Most counters.
    if let (Ok(one), Ok(other)) = (one.parse::<i64>(), other.parse::<i64>())
        && let Some(sum) = one.checked_add(other)
    {
        return Some(sum.to_string());
    }
    let (one, other) = (Number::parse(one)?.to_string(), Number::parse(other)?.to_string());
    let (one, other) = (Plain::of(&one), Plain::of(&other));
    // The carry needs a place.
    let whole = one.whole.len().max(other.whole.len()) + 1;
    let fraction = one.fraction.len().max(other.fraction.len());
    let (first, second) = (one.digits(whole, fraction), other.digits(whole, fraction));
    let (is_negative, digits) = match (one.is_negative == other.is_negative, first >= second) {
        (true, _) => (one.is_negative, plus(first, &second)),
        (false, true) => (one.is_negative, minus(first, &second)),
        (false, false) => (other.is_negative, minus(second, &first)),
    };
    let (before, after) = digits.split_at(whole);
    let text = |digits: &[u8]| digits.iter().map(|digit| char::from(b'0' + digit)).collect::<String>();
    let sign = if is_negative { "-" } else { "" };
    let sum = Number::parse(&format!("{sign}{}.{}", text(before), text(after)))?;
    Some(sum.to_string())
}

/// A number without a power of ten.
struct Plain<'t> {
    is_negative: bool,
    whole: &'t str,
    fraction: &'t str,
}

impl<'t> Plain<'t> {
    fn of(text: &'t str) -> Self {
        let unsigned = text.strip_prefix('-');
        let (whole, fraction) =
            unsigned.unwrap_or(text).split_once('.').unwrap_or((unsigned.unwrap_or(text), ""));
        Self { is_negative: unsigned.is_some(), whole, fraction }
    }

    /// So many digits before the point, and so many behind it.
    fn digits(&self, whole: usize, fraction: usize) -> Vec<u8> {
        let digit = |byte: u8| byte - b'0';
        let mut digits = vec![0; whole - self.whole.len()];
        digits.extend(self.whole.bytes().chain(self.fraction.bytes()).map(digit));
        digits.resize(whole + fraction, 0);
        digits
    }
}

/// The sum of digits, of which the first is zero.
fn plus(mut digits: Vec<u8>, more: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    for (digit, more) in digits.iter_mut().zip(more).rev() {
        let sum = *digit + more + carry;
        (*digit, carry) = (sum % 10, sum / 10);
    }
    digits
}

/// The difference of digits, of which the second are not more.
fn minus(mut digits: Vec<u8>, less: &[u8]) -> Vec<u8> {
    let mut borrowed = 0;
    for (digit, less) in digits.iter_mut().zip(less).rev() {
        let taken = less + borrowed;
        borrowed = u8::from(*digit < taken);
        *digit = *digit + 10 * borrowed - taken;
    }
    digits
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    #[test]
    fn sums_are_exact_or_none() {
        let nines = "9".repeat(38);
        for (one, other, expected) in [
            ("1", "2", Some("3")),
            ("1.50", "-0.5", Some("1")),
            ("-1", "1.0", Some("0")),
            ("0.1", "0.2", Some("0.3")),
            ("9223372036854775807", "1", Some("9223372036854775808")),
            ("1e20", "1", Some("100000000000000000001")),
            ("-1e-130", "2e-130", Some(&*format!("0.{}1", "0".repeat(129)))),
            ("99.9", "0.1", Some("100")),
            ("0.1", "-100", Some("-99.9")),
            (&nines, "1", Some(&*format!("1{}", "0".repeat(38)))),
            // 39 digits.
            (&nines, "0.1", None),
            ("1e125", "1", None),
            ("9e125", "1e125", None),
            ("one", "1", None),
        ] {
            assert_eq!(sum(one, other).as_deref(), expected, "{one} + {other}");
            assert_eq!(sum(other, one).as_deref(), expected, "{other} + {one}");
        }
    }

    #[test]
    fn sets_are_united_and_what_does_not_fit_together_is_not_added() {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<BTreeSet<_>>();
        let (a, b) = (Value::Ss(texts(&["a"])), Value::Ss(texts(&["a", "b"])));
        assert_eq!(added(&a, &b), Some(b.clone()));
        let numbers = added(&Value::Ns(texts(&["1.0", "2"])), &Value::Ns(texts(&["1", "3"])));
        assert_eq!(numbers, Some(Value::Ns(texts(&["1", "2", "3"]))));
        assert_eq!(added(&a, &Value::from(1)), None);
        assert_eq!(added(&Value::from("1"), &Value::from(1)), None);
    }

    #[test]
    fn a_sum_of_decimals_is_that_of_integers_with_the_same_point() {
        let mut rng = StdRng::seed_from_u64(tidelock_processes::seed("sums"));
        let most = 10_i128.pow(30);
        for _ in 0..2_000 {
            let (one, other) = (rng.random_range(-most..most), rng.random_range(-most..most));
            let power = rng.random_range(-60..60);
            let at = |number: i128| format!("{number}e{power}");
            let expected = Number::parse(&at(one + other)).map(|sum| sum.to_string());
            assert_eq!(sum(&at(one), &at(other)), expected, "({one} + {other})e{power}");
        }
    }
}
