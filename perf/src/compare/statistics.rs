//! The rule by which two sets of measurements differ or not.
//!
//! Two conditions guard against two mistakes. The exact rank-sum test asks how often chance alone
//! would part the two sets as far as this, whatever the distribution; with five rounds on each side
//! p ≤ 0.01 means that they do not overlap at all, and of thirty rows without a difference one is
//! called different in three comparisons at most. The bootstrap interval of the ratio of medians
//! says how large the difference is, and a difference below the noise of machine code layout is
//! none that anybody should act on.

use std::fmt;

/// Measurements needed on each side.
const COUNT_MIN: usize = 5;

/// Chance may part the sets as far as this so often.
const P_MAX: f64 = 0.01;

/// Of the ratios that resampling gives, what lies outside of the interval on each side.
const TAIL: f64 = 0.025;

/// Differences below this are not called any.
const DIFFERENCE_MIN: f64 = 0.02;

const RESAMPLES: usize = 10_000;

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The second is less.
    Faster,
    /// The second is more.
    Slower,
    /// Too few measurements, too much noise, or no difference.
    CannotTell,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::CannotTell => "cannot tell",
        })
    }
}

/// Two sets of measurements beside each other; nothing to compare is not a number.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The median of the first.
    pub before: f64,
    /// The median of the second.
    pub after: f64,
    /// Second ÷ first.
    pub ratio: f64,
    /// The bootstrap interval of the ratio.
    pub interval: (f64, f64),
    /// Two-sided, of the rank-sum test.
    pub p: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// Compares; less is faster.
pub fn compare(before: &[f64], after: &[f64]) -> Comparison {
    let (old, new) = (median(before), median(after));
    let (ratio, interval, p) = (new / old, interval(before, after), rank_sum_p(before, after));
    let is_enough = before.len().min(after.len()) >= COUNT_MIN;
    let is_certain = p <= P_MAX && !(interval.0 <= 1.0 && interval.1 >= 1.0);
    let verdict = match is_enough && is_certain && (ratio - 1.0).abs() >= DIFFERENCE_MIN {
        true if ratio < 1.0 => Verdict::Faster,
        true => Verdict::Slower,
        false => Verdict::CannotTell,
    };
    Comparison { before: old, after: new, ratio, interval, p, verdict }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(sorted[half - 1], sorted[half]),
        _ => sorted[half],
    }
}

/// The percentile bootstrap of the ratio of medians; the same numbers give the same interval.
fn interval(before: &[f64], after: &[f64]) -> (f64, f64) {
    if before.is_empty() || after.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mut state = 0x5eed;
    let mut resample = |values: &[f64]| {
        let any = |_: &f64| values[(random(&mut state) % values.len() as u64) as usize];
        median(&values.iter().map(any).collect::<Vec<_>>())
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| resample(after) / resample(before)).collect();
    ratios.sort_by(f64::total_cmp);
    let tail = (RESAMPLES as f64 * TAIL) as usize;
    (ratios[tail], ratios[RESAMPLES - 1 - tail])
}

/// The exact two-sided probability of a rank sum at least as far from its mean; ties count half,
/// which errs towards not telling.
fn rank_sum_p(before: &[f64], after: &[f64]) -> f64 {
    let (few, many) = (before.len(), after.len());
    if few == 0 || many == 0 {
        return 1.0;
    }
    let wins: f64 = before
        .iter()
        .flat_map(|one| after.iter().map(move |other| (one, other)))
        .map(|(one, other)| match one.total_cmp(other) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .sum();
    let pairs = few * many;
    let least = wins.min(pairs as f64 - wins).ceil() as usize;
    let ways = ways(few, many);
    let all: f64 = ways.iter().sum();
    let tail: f64 = ways[..=least.min(pairs)].iter().sum();
    (2.0 * tail / all).min(1.0)
}

/// In how many orders of so many values of each set the first set wins 0, 1, 2, … of the pairs.
fn ways(few: usize, many: usize) -> Vec<f64> {
    // `counts[taken][wins]`, as the values are lined up from the smallest on: one of the first set
    // wins against all of the second that came before.
    let pairs = few * many;
    let mut counts = vec![vec![0.0; pairs + 1]; few + 1];
    counts[0][0] = 1.0;
    for place in 1..=few + many {
        for taken in (1..=few.min(place)).rev() {
            let before = place - taken;
            if before > many {
                continue;
            }
            let (fewer, more) = counts.split_at_mut(taken);
            for wins in before..=pairs {
                more[0][wins] += fewer[taken - 1][wins - before];
            }
        }
    }
    counts.swap_remove(few)
}

/// Steele, Lea and Flood's generator: good enough to choose rounds by.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_sum_test_has_the_values_of_its_tables() {
        // 252 orders of five and five, of which one wins nothing and one wins 1 pair.
        let counts = ways(5, 5);
        assert_eq!(counts.iter().sum::<f64>(), 252.0);
        assert_eq!(counts[..4], [1.0, 1.0, 2.0, 3.0]);
        assert_eq!(ways(3, 4).iter().sum::<f64>(), 35.0);
        let p = rank_sum_p(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!((p - 2.0 / 252.0).abs() < 1e-12, "{p}");
        let one_over = rank_sum_p(&[1.0, 2.0, 3.0, 4.0, 6.5], &[6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!((one_over - 4.0 / 252.0).abs() < 1e-12, "{one_over}");
        assert_eq!(rank_sum_p(&[1.0; 5], &[1.0; 5]), 1.0);
    }

    #[test]
    fn clear_differences_are_told_both_ways() {
        let (low, high) = ([1.0, 1.1, 1.05, 0.98, 1.02], [1.3, 1.31, 1.4, 1.28, 1.35]);
        let slower = compare(&low, &high);
        assert_eq!(slower.verdict, Verdict::Slower, "{slower:?}");
        assert!(slower.interval.0 > 1.1 && slower.interval.1 < 1.5, "{slower:?}");
        assert_eq!(compare(&high, &low).verdict, Verdict::Faster);
    }

    #[test]
    fn noise_few_rounds_and_small_differences_are_not_told() {
        let noisy = compare(&[1.0, 2.0, 1.5, 1.2, 1.9], &[1.1, 2.1, 1.6, 1.3, 2.5]);
        assert_eq!(noisy.verdict, Verdict::CannotTell, "{noisy:?}");
        let few = compare(&[1.0, 1.01, 1.02, 1.0], &[2.0, 2.01, 2.02, 2.0]);
        assert_eq!(few.verdict, Verdict::CannotTell, "{few:?}");
        let small = compare(&[1.0, 1.001, 1.002, 1.003, 1.004], &[1.01; 5]);
        assert!(small.p <= P_MAX && small.verdict == Verdict::CannotTell, "{small:?}");
        assert_eq!(compare(&[], &[1.0]).verdict, Verdict::CannotTell);
    }

    /// Of comparisons of the same with the same, hardly any may find a difference.
    #[test]
    fn chance_is_seldom_called_a_difference() {
        let mut state = 7;
        let mut draw = || {
            // Skewed, with a long tail, as costs are on a busy machine.
            let unit = (random(&mut state) >> 11) as f64 / (1_u64 << 53) as f64;
            1.0 - 0.3 * (1.0 - unit).ln()
        };
        let mut set = || (0..5).map(|_| draw()).collect::<Vec<_>>();
        // The other conditions only make it rarer.
        let wrong = (0..5000).filter(|_| rank_sum_p(&set(), &set()) <= P_MAX).count();
        assert!((1..=60).contains(&wrong), "{wrong} of 5000");
    }
}
