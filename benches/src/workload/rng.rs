/// SplitMix64: small, fast, the same everywhere. Good enough to shape trees; not for secrets.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Starts a sequence; equal seeds give equal sequences.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`, and 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: even enough for any bound used here, and without division.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns an index into something of `len` items.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Is true in `per_mille` of 1000 calls.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Draws a heavy-tailed size in bytes.
    ///
    /// One in eight lies below `base`; the others start there and go one octave
    /// higher with a chance of `per_mille`, up to `octaves` times. Octaves
    /// instead of a log-normal: no `ln` or `cos`, whose last bits differ
    /// between C libraries.
    pub fn heavy_tailed(&mut self, base: u64, per_mille: u64, octaves: u32) -> u64 {
        if self.below(8) == 0 {
            return self.below(base);
        }
        let mut floor = base;
        for _ in 0..octaves {
            if !self.chance(per_mille) {
                break;
            }
            floor *= 2;
        }
        floor + self.below(floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut rng = Rng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| rng.bits()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn small_file_sizes_sit_around_one_to_four_kibibytes_with_a_tail() {
        let mut rng = Rng::new(1);
        let mut sizes: Vec<u64> = (0..10_000).map(|_| rng.heavy_tailed(1024, 400, 8)).collect();
        sizes.sort_unstable();
        let mean = sizes.iter().sum::<u64>() / 10_000;
        assert!((1024..2048).contains(&sizes[5_000]), "median {}", sizes[5_000]);
        assert!((2048..4096).contains(&mean), "mean {mean}");
        assert!(sizes[9_990] > 32 * 1024, "99.9 % {}", sizes[9_990]);
        assert!(sizes[9_999] < 1024 * 1024);
    }
}
