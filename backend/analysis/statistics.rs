//! The few distributions that the roles of heads need: tails, intervals, false discovery.

/// `ln n!`, exact to about 1e-12.
fn ln_factorial(n: u64) -> f64 {
    if n < 32 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    // Stirling's series; its next term is below 1e-12 from 32 on.
    let x = n as f64 + 1.0;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3))
        + 1.0 / (1260.0 * x.powi(5))
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// `P(X >= k)` for a binomial X of `n` draws with probability `p`.
pub fn binomial_tail(n: u64, p: f64, k: u64) -> f64 {
    if k == 0 || p >= 1.0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    let term = |i: u64| (ln_choose(n, i) + i as f64 * p.ln() + (n - i) as f64 * (-p).ln_1p()).exp();
    if k as f64 <= n as f64 * p {
        return (1.0 - (0..k).map(term).sum::<f64>()).clamp(0.0, 1.0);
    }
    // Terms fall from k on; the rest is negligible once they are.
    let (mut sum, mut i) = (0.0, k);
    while i <= n {
        let value = term(i);
        sum += value;
        if value < sum * 1e-15 {
            break;
        }
        i += 1;
    }
    sum.min(1.0)
}

/// `P(X >= k)` for a hypergeometric X: `draws` without replacement from `population`, of which `marked` count.
pub fn hypergeometric_tail(population: u64, marked: u64, draws: u64, k: u64) -> f64 {
    let (most, least) = (marked.min(draws), (draws + marked).saturating_sub(population));
    let term = |i: u64| {
        (ln_choose(marked, i) + ln_choose(population - marked, draws - i) - ln_choose(population, draws)).exp()
    };
    if k <= least { 1.0 } else { (k..=most).map(term).sum::<f64>().min(1.0) }
}

/// `P(Z >= z)` for a standard normal Z (Abramowitz and Stegun 26.2.17 up to 4, the asymptotic series beyond).
pub fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z > 4.0 {
        return density / z * (1.0 - z.powi(-2) + 3.0 * z.powi(-4) - 15.0 * z.powi(-6));
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    density
        * t
        * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))))
}

/// Benjamini and Hochberg's q-values (1995): labelling everything below q keeps the expected share of false labels
/// below q. In the order of `p`; tests that were not made are `None` and count for nothing.
pub fn q_values(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p.iter().enumerate().filter_map(|(index, p)| p.map(|p| (index, p))).collect();
    order.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
    let tests = order.len() as f64;
    let mut q = vec![None; p.len()];
    let mut least = 1.0f64;
    for (rank, &(index, p)) in order.iter().enumerate().rev() {
        least = least.min(p * tests / (rank + 1) as f64);
        q[index] = Some(least);
    }
    q
}

/// The value below which a share `at` of ascending `sorted` lies, interpolated between neighbours.
pub fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = at.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    // Two infinities have no difference.
    Some(if low == high { low } else { low + (high - low) * place.fract() })
}

/// Mean and half-width of its 95 % interval by Student's t; no half-width for fewer than two values.
pub fn mean_interval(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len() as f64;
    let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / n)?;
    if values.len() < 2 {
        return Some((mean, None));
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some((mean, Some(t_975(values.len() - 1) * (variance / n).sqrt())))
}

/// The 97.5 % point of Student's t: a table to 10 degrees of freedom, then Cornish and Fisher's first two terms.
fn t_975(freedom: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    let z: f64 = 1.959_964;
    let v = freedom as f64;
    TABLE.get(freedom.wrapping_sub(1)).copied().unwrap_or_else(|| {
        z + (z.powi(3) + z) / (4.0 * v) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * v * v)
    })
}

/// Wilson's 95 % interval of a share: `hits` of `n`.
pub fn wilson_interval(hits: usize, n: usize) -> Option<(f64, f64)> {
    let (z, n) = (1.959_964f64, (n > 0).then_some(n as f64)?);
    let share = hits as f64 / n;
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: f64, expected: f64, relative: f64) {
        assert!((found / expected - 1.0).abs() < relative, "{found} is not {expected}");
    }

    #[test]
    fn tails_agree_with_sums_by_hand() {
        // 10 draws at 1/2: (120 + 45 + 10 + 1) / 1024.
        assert_near(binomial_tail(10, 0.5, 7), 176.0 / 1024.0, 1e-9);
        assert_near(binomial_tail(10, 0.5, 1), 1023.0 / 1024.0, 1e-9);
        // Two marked of five, two drawn: P(both) = 1/10, P(at least one) = 7/10.
        assert_near(hypergeometric_tail(5, 2, 2, 2), 0.1, 1e-9);
        assert_near(hypergeometric_tail(5, 2, 2, 1), 0.7, 1e-9);
        assert_eq!((binomial_tail(5, 0.2, 0), binomial_tail(5, 0.2, 6), binomial_tail(5, 0.0, 1)), (1.0, 0.0, 0.0));
        assert_eq!(hypergeometric_tail(10, 8, 5, 3), 1.0);
        assert_near(normal_tail(1.959_964), 0.025, 1e-4);
        assert_near(normal_tail(6.0), 9.866e-10, 1e-3);
        assert_near(normal_tail(-1.0), 0.841_344_7, 1e-6);
    }

    #[test]
    fn drawing_without_replacement_is_never_likelier_to_exceed_its_mean_than_with() {
        for (population, marked, draws) in [(64, 7, 16), (128, 40, 30), (500, 45, 24)] {
            let p = marked as f64 / population as f64;
            let above_mean = (draws as f64 * p).ceil() as u64 + 1;
            for k in above_mean..=draws.min(marked) {
                assert!(hypergeometric_tail(population, marked, draws, k) <= binomial_tail(draws, p, k) * (1.0 + 1e-9));
            }
        }
    }

    #[test]
    fn large_factorials_are_those_of_small_steps() {
        let by_hand: f64 = (2..=200u64).map(|k| (k as f64).ln()).sum();
        assert_near(ln_factorial(200), by_hand, 1e-13);
        assert_near(ln_factorial(32), (2..=32u64).map(|k| (k as f64).ln()).sum(), 1e-13);
    }

    #[test]
    fn q_values_follow_the_worked_example() {
        let q = q_values(&[Some(0.01), None, Some(0.04), Some(0.03), Some(0.005)]);
        let expected = [Some(0.02), None, Some(0.04), Some(0.04), Some(0.02)];
        for (q, expected) in q.iter().zip(expected) {
            assert!(q.unwrap_or(9.0) - expected.unwrap_or(9.0) < 1e-12, "{q:?}");
        }
    }

    #[test]
    fn intervals_are_the_textbooks() {
        let (mean, half) = mean_interval(&[1.0, 2.0, 3.0]).unwrap();
        assert_near(mean, 2.0, 1e-12);
        assert_near(half.unwrap(), 4.303 / 3f64.sqrt(), 1e-3);
        assert_eq!(mean_interval(&[5.0]), Some((5.0, None)));
        assert_eq!(mean_interval(&[]), None);
        assert_near(t_975(11), 2.201, 1e-3);
        let (low, high) = wilson_interval(4, 5).unwrap();
        assert_near(low, 0.3755, 1e-3);
        assert_near(high, 0.9638, 1e-3);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[1.0, f64::INFINITY, f64::INFINITY], 1.0), Some(f64::INFINITY));
    }
}
