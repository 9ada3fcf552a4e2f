//! A number as DynamoDB understands its text.

use std::fmt;

/// How many significant digits a number may have.
const DIGITS_MAX: usize = 38;

/// The powers of ten that a number's first digit may stand for.
const POWERS: std::ops::RangeInclusive<i64> = -130..=125;

/// A number: equal ones are equal, in whatever form they were written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number {
    is_negative: bool,
    /// The significant digits, without zeros at either end: none for zero.
    digits: String,
    /// How many of the digits stand before the point: fewer than none, where zeros stand between, and more than there are, where zeros follow.
    point: i64,
}

impl Number {
    /// Reads a text such as `-12.5` or `1e3`. `None`: DynamoDB has no such number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (is_negative, unsigned) = match text.strip_prefix(['-', '+']) {
            Some(unsigned) => (text.starts_with('-'), unsigned),
            None => (false, text),
        };
        let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - significant.len()).ok()?;
        let point = i64::try_from(whole.len()).ok()? - leading + i64::from(power);
        let digits = significant.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            // Zero has no power of ten, and DynamoDB looks at the one that it is written with, as if its last digit were a one.
            let last = i64::from(power) - i64::try_from(fraction.len()).ok()?;
            return POWERS.contains(&last).then_some(Self { is_negative: false, digits, point: 0 });
        }
        let fits = digits.len() <= DIGITS_MAX && POWERS.contains(&(point - 1));
        fits.then_some(Self { is_negative, digits, point })
    }

    /// The bytes that a number takes of its item: one for two digits on either side of the point, one for itself, and one for a sign.
    pub(crate) fn bytes_of(text: &str) -> usize {
        let Some(number) = Self::parse(text) else { return text.len() };
        let (before, after) = number.sides();
        before.len().div_ceil(2) + after.len().div_ceil(2) + 1 + usize::from(number.is_negative)
    }

    /// The significant digits before the point, and those behind it.
    fn sides(&self) -> (&str, &str) {
        let before = usize::try_from(self.point).unwrap_or(0).min(self.digits.len());
        self.digits.split_at(before)
    }
}

/// The form in which DynamoDB gives it back, without a power of ten.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        if self.is_negative {
            f.write_str("-")?;
        }
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
        let (before, after) = self.sides();
        let missing = self.point - i64::try_from(before.len()).unwrap_or(i64::MAX);
        match (before, after) {
            ("", after) => write!(f, "0.{}{after}", zeros(-self.point)),
            (before, "") => write!(f, "{before}{}", zeros(missing)),
            (before, after) => write!(f, "{before}.{after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_number_is_one_number() {
        for (form, forms) in [
            ("1", vec!["1.0", "1e0", "+1", "01", "10E-1", "0.1e1", "1."]),
            ("0", vec!["-0", "0.000", "0e125", "0e-130", "000.0E-129", ".0"]),
            ("-12.5", vec!["-12.50", "-1.25e1", "-0012.5"]),
            ("1000", vec!["1e3", "1000.00", "0.001E6"]),
            ("0.00123", vec!["1.23e-3", ".00123", "123e-5"]),
        ] {
            for other in forms {
                let number = Number::parse(other).unwrap_or_else(|| panic!("{other}"));
                assert_eq!(
                    (number.to_string().as_str(), Some(&number)),
                    (form, Number::parse(form).as_ref()),
                    "{other}"
                );
            }
        }
        let longest = "12345678901234567890123456789012345678";
        assert_eq!(Number::parse(longest).expect("38 digits").to_string(), longest);
        assert_ne!(Number::parse("1"), Number::parse("-1"));
    }

    #[test]
    fn what_dynamodb_has_no_number_for_is_none() {
        for text in [
            "", "-", "+", ".", "e1", "1e", "1e1.5", "NaN", "inf", "1 ", " 1", "1,5", "0x1", "--1", "+-1",
            "1e126", "1e-131", "0e126", "0e-131", "0.0e-130", "0e99999",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
        assert_eq!(Number::parse(&"9".repeat(39)), None);
        assert_eq!(Number::parse("1e-99999999999999999999"), None);
        for text in ["9.9999999999999999999999999999999999999e125", "1e-130", "-1e125"] {
            assert!(Number::parse(text).is_some(), "{text}");
        }
    }
}
