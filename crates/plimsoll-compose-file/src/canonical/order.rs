//! The order in which go-yaml writes keys: numbers in them by their value, letters after everything else.

use std::cmp::Ordering;

/// Compares two keys. The first letter in which they differ decides.
pub(super) fn by_nature(one: &str, other: &str) -> Ordering {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let Some(at) = one.iter().zip(&other).position(|(one, other)| one != other) else {
        return one.len().cmp(&other.len());
    };
    let (first, second) = (one[at], other[at]);
    let after_digit = at > 0 && one[at - 1].is_ascii_digit();
    match (first.is_alphabetic(), second.is_alphabetic()) {
        (true, true) => first.cmp(&second),
        // `a1b` before `a1_`, but `a_` before `ab`.
        (true, false) if after_digit => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if after_digit => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // A zero counts only behind another digit: `a10` is after `a2`, `a02` is not after `a1`.
            let begun = (first == '0' || second == '0') && within_number(&one[..at]);
            let (first_number, second_number) = (number(&one[at..], begun), number(&other[at..], begun));
            first_number.cmp(&second_number).then(first.cmp(&second))
        }
    }
}

/// Whether what is read so far ends within a number that is not zero.
fn within_number(read: &[char]) -> bool {
    let digits = read.iter().rev().take_while(|letter| letter.is_ascii_digit());
    digits.into_iter().any(|digit| *digit != '0')
}

/// The number at the beginning, and how long it is.
fn number(rest: &[char], begun: bool) -> (i64, usize) {
    let digits = rest.iter().map_while(|letter| letter.to_digit(10));
    digits.fold((i64::from(begun), 0), |(number, length), digit| {
        let number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
        (number, length + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_go_yaml_sorts_them() {
        // As printed by Docker Compose 2.40.3.
        let sorted = [
            "_a",
            "A-1",
            "A.1",
            "A__B",
            "A_B",
            "A1",
            "A2",
            "A10",
            "AB",
            "HTTP_PORT",
            "HTTPS_PORT",
            "Z9a",
            "Z9_",
            "a",
            "a1",
            "a1_",
            "a01",
            "a001",
            "a10",
            "a100",
            "b",
            "é",
        ];
        let mut keys = sorted;
        keys.reverse();
        keys.sort_by(|one, other| by_nature(one, other));
        assert_eq!(keys, sorted);
    }

    proptest::proptest! {
        #[test]
        fn every_two_have_an_order(one in "[a-c0-2_.-]{0,6}", other in "[a-c0-2_.-]{0,6}") {
            proptest::prop_assert_eq!(by_nature(&one, &other), by_nature(&other, &one).reverse());
            proptest::prop_assert_eq!(by_nature(&one, &other) == Ordering::Equal, one == other);
        }
    }
}
