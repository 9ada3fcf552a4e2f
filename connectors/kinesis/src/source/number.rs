//! Sequence numbers: decimal digits, too many for any integer.

use std::cmp::Ordering;

/// Which of two numbers is greater.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_compared_as_numbers_and_not_as_texts() {
        let long = "49590338271490256608559692538361571095921575989136588898";
        for (one, other, order) in [
            ("9", "10", Ordering::Less),
            ("10", "9", Ordering::Greater),
            ("010", "10", Ordering::Equal),
            ("", "0", Ordering::Equal),
            (long, &format!("{long}0"), Ordering::Less),
            (long, &format!("{}9", &long[..55]), Ordering::Less),
        ] {
            assert_eq!(compare(one, other), order, "{one} and {other}");
        }
    }
}
