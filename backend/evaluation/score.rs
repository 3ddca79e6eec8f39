//! From results to a table with intervals. Pure.

use crate::corpus::Family;

use super::exam::Outcome;

/// A mean over documents with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of the 95 % interval: 1.96 standard errors over documents; for shares never less than the rule of
    /// three's `3 / n`, so that a perfect score has an interval too.
    pub half_width: f64,
}

/// One family in one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The family; `None` for all together.
    pub family: Option<Family>,
    /// Which cell.
    pub cell: usize,
    /// Documents.
    pub documents: usize,
    /// Share answered word for word, mean over gate seeds.
    pub accuracy: Estimate,
    /// Lowest and highest accuracy of a gate seed.
    pub seeds: (f64, f64),
    /// Mean negative log-likelihood of an answer's tokens, nats.
    pub nll: Estimate,
}

/// A document's results: one list of cells per gate seed.
pub struct Marked {
    /// What was asked.
    pub family: Family,
    /// `results[seed][cell]`.
    pub results: Vec<Vec<Outcome>>,
}

/// Rows for every cell: each family in turn, then all together.
pub fn rows(marked: &[Marked], families: &[Family]) -> Vec<Row> {
    let cells = marked.first().and_then(|one| one.results.first()).map_or(0, Vec::len);
    let groups = families.iter().copied().map(Some).chain(std::iter::once(None));
    groups
        .flat_map(|family| {
            let group: Vec<&Marked> = marked.iter().filter(|one| family.is_none_or(|f| f == one.family)).collect();
            (0..cells).map(|cell| row(family, cell, &group)).collect::<Vec<_>>()
        })
        .collect()
}

fn row(family: Option<Family>, cell: usize, group: &[&Marked]) -> Row {
    let seeds = group.first().map_or(0, |one| one.results.len());
    let over_seeds = |value: &dyn Fn(&Outcome) -> f64| -> Vec<f64> {
        let mean = |one: &&Marked| one.results.iter().map(|cells| value(&cells[cell])).sum::<f64>() / seeds as f64;
        group.iter().map(mean).collect()
    };
    let right = |result: &Outcome| f64::from(u8::from(result.right));
    let accuracy_of =
        |seed: usize| group.iter().map(|one| right(&one.results[seed][cell])).sum::<f64>() / group.len().max(1) as f64;
    let of_seeds = (0..seeds).map(accuracy_of);
    let seeds = of_seeds.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let mut accuracy = estimate(&over_seeds(&right));
    accuracy.half_width = accuracy.half_width.max(3.0 / group.len().max(1) as f64);
    Row { family, cell, documents: group.len(), accuracy, seeds, nll: estimate(&over_seeds(&|result| result.nll)) }
}

fn estimate(values: &[f64]) -> Estimate {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Estimate { mean, half_width: 1.96 * (variance / count).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_average_over_seeds_first_and_documents_then() {
        let result = |right| Outcome { right, nll: if right { 0.5 } else { 1.5 } };
        let marked = [
            Marked { family: Family::Codes, results: vec![vec![result(true)], vec![result(true)]] },
            Marked { family: Family::Steps, results: vec![vec![result(true)], vec![result(false)]] },
        ];
        let rows = rows(&marked, &[Family::Codes, Family::Steps]);
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[0].accuracy.mean, rows[0].documents), (1.0, 1));
        assert_eq!((rows[1].accuracy.mean, rows[1].seeds), (0.5, (0.0, 1.0)));
        assert_eq!((rows[2].family, rows[2].accuracy.mean, rows[2].nll.mean), (None, 0.75, 0.75));
    }

    #[test]
    fn a_perfect_score_still_has_an_interval() {
        let marked: Vec<Marked> = (0..300)
            .map(|_| Marked { family: Family::Codes, results: vec![vec![Outcome { right: true, nll: 0.0 }]] })
            .collect();
        let row = rows(&marked, &[Family::Codes])[0];
        assert_eq!((row.accuracy.mean, row.accuracy.half_width), (1.0, 0.01));
    }
}
