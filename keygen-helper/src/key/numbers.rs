//! Large numbers as bytes, most significant first, as far as keys are checked with them.

use zeroize::Zeroizing;

/// Without leading zeros.
pub(super) fn trimmed(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
    &digits[zeros..]
}

/// How many bits a number has.
pub(crate) fn bit_length(digits: &[u8]) -> u32 {
    let digits = trimmed(digits);
    let Some(first) = digits.first() else { return 0 };
    u32::try_from(digits.len()).unwrap_or(u32::MAX / 8) * 8 - first.leading_zeros()
}

/// Whether `a` times `b` is `product`. Numbers of keys are capped at 2 KiB, so that the simple way
/// is fast enough.
pub(super) fn is_product(a: &[u8], b: &[u8], product: &[u8]) -> bool {
    let (a, b) = (limbs(a), limbs(b));
    let mut sum = vec![0u32; a.len() + b.len()];
    for (i, &x) in a.iter().enumerate() {
        let mut carry = 0u64;
        for (j, &y) in b.iter().enumerate() {
            // (2³²−1)² + 2 (2³²−1) is just below 2⁶⁴.
            let total = u64::from(x) * u64::from(y) + u64::from(sum[i + j]) + carry;
            (sum[i + j], carry) = (low(total), total >> 32);
        }
        sum[i + b.len()] = low(carry);
    }
    let mut wanted = limbs(product);
    let longest = wanted.len().max(sum.len());
    wanted.resize(longest, 0);
    sum.resize(longest, 0);
    sum == *wanted
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).expect("masked to 32 bits")
}

/// Least significant first.
fn limbs(digits: &[u8]) -> Zeroizing<Vec<u32>> {
    let limb = |bytes: &[u8]| bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
    Zeroizing::new(digits.rchunks(4).map(limb).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_told_from_everything_else(a: u64, b: u64, other: u128) {
            let (a_digits, b_digits) = (a.to_be_bytes(), b.to_be_bytes());
            let product = u128::from(a) * u128::from(b);
            prop_assert!(is_product(&a_digits, &b_digits, trimmed(&product.to_be_bytes())));
            prop_assert_eq!(is_product(&a_digits, &b_digits, &other.to_be_bytes()), other == product);
        }

        #[test]
        fn the_bit_length_is_that_of_the_number(number: u64) {
            prop_assert_eq!(bit_length(&number.to_be_bytes()), 64 - number.leading_zeros());
        }
    }
}
