//! What a policy may ask of keys and queries when a cut is due, from one head's numbers. Everything is in the order of its
//! slots.

/// Cosine of two keys above which R-KV takes them for the same.
const SAME: f32 = 0.5;

/// What the newest queries of a group attend to among the entries before them: the largest logit of the group, softmax over
/// those entries, mean over the queries. NaN for the queries' own entries, the last ones.
///
/// # Shapes
/// - `logits`: `(group, queries, entries)`, scaled
/// - returns: `(entries)`
pub fn attention_to_past(logits: &[f32], queries: usize, entries: usize) -> Vec<f32> {
    let past = entries.saturating_sub(queries);
    let mut importance = vec![0.0; past];
    for query in 0..queries {
        let rows = logits.chunks_exact((queries * entries).max(1)).map(|head| &head[query * entries..][..past]);
        let mut largest = vec![f32::NEG_INFINITY; past];
        rows.for_each(|row| largest.iter_mut().zip(row).for_each(|(most, &logit)| *most = most.max(logit)));
        softmax(&mut largest);
        importance.iter_mut().zip(largest).for_each(|(sum, weight)| *sum += weight / queries as f32);
    }
    importance.resize(entries, f32::NAN);
    importance
}

/// One query's attention to all entries, the mean over the heads of its group.
///
/// # Shapes
/// - `logits`: `(group, entries)`, scaled
/// - returns: `(entries)`
pub fn attention_to_all(logits: &[f32], entries: usize) -> Vec<f32> {
    let mut mean = vec![0.0; entries];
    let heads = logits.len() / entries.max(1);
    for row in logits.chunks_exact(entries.max(1)) {
        let mut weights = row.to_vec();
        softmax(&mut weights);
        mean.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight / heads as f32);
    }
    mean
}

fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
    let total: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|weight| *weight /= total);
}

/// Cosine between every key and the mean of their directions; keys are of unit length, `(entries, width)`.
pub fn likeness_to_mean(directions: &[f32], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0; width];
    let keys = || directions.chunks_exact(width.max(1));
    keys().for_each(|key| mean.iter_mut().zip(key).for_each(|(sum, &x)| *sum += x));
    let norm = mean.iter().map(|x: &f32| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    keys().map(|key| key.iter().zip(&mean).map(|(x, mean)| x * mean).sum::<f32>() / norm).collect()
}

/// How much every key resembles the others, as R-KV counts it: the mean cosine over all rows of the table of cosines, itself left
/// out, and in every row the newest entry that is nearly the same, which so is spared.
#[derive(Debug, Clone)]
pub struct LikenessToOthers {
    sums: Vec<f32>,
}

impl LikenessToOthers {
    /// Nothing counted yet.
    pub fn new(entries: usize) -> Self {
        Self { sums: vec![0.0; entries] }
    }

    /// Counts one entry's cosines with all.
    pub fn row(&mut self, entry: usize, cosines: impl DoubleEndedIterator<Item = f32> + ExactSizeIterator + Clone) {
        let newest_same = cosines.clone().enumerate().rev().find(|&(other, cosine)| other != entry && cosine > SAME);
        let spared = newest_same.map(|(other, _)| other);
        for (other, (sum, cosine)) in self.sums.iter_mut().zip(cosines).enumerate() {
            if other != entry && Some(other) != spared {
                *sum += cosine;
            }
        }
    }

    /// The means, after every entry's row.
    pub fn means(self) -> Vec<f32> {
        let entries = self.sums.len() as f32;
        self.sums.into_iter().map(|sum| sum / entries).collect()
    }
}
