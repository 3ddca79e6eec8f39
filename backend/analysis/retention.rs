//! Which texts and which categories of tokens a head holds longest and shortest.

use std::collections::HashMap;

use super::category::{Categories, Category};

/// A text must occur this often to be compared.
const FEWEST: u32 = 3;
/// Texts on each side.
const MOST: usize = 5;

/// How long a head holds a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRetention {
    /// The text, as it stands.
    pub text: String,
    /// Its occurrences.
    pub tokens: u32,
    /// Mean number of queries that could see it; of those alive, up to the end, so a lower bound.
    pub mean_lifetime: f64,
}

/// The texts held longest and shortest, best and worst first, among those that occur at least three times.
pub fn retained(departures: &[Option<u32>], seen: u32, texts: &[&str]) -> (Vec<TextRetention>, Vec<TextRetention>) {
    let mut sums: HashMap<&str, (u32, f64)> = HashMap::new();
    for ((position, at), text) in (0u32..).zip(departures).zip(texts).filter(|(_, text)| !text.is_empty()) {
        let sum = sums.entry(text).or_default();
        sum.0 += 1;
        sum.1 += f64::from(at.unwrap_or(seen) - position);
    }
    let common = sums.into_iter().filter(|(_, (tokens, _))| *tokens >= FEWEST);
    let mut found: Vec<TextRetention> = common
        .map(|(text, (tokens, sum))| TextRetention {
            text: text.to_owned(),
            tokens,
            mean_lifetime: sum / f64::from(tokens),
        })
        .collect();
    found.sort_by(|a, b| b.mean_lifetime.total_cmp(&a.mean_lifetime).then_with(|| a.text.cmp(&b.text)));
    let most = found.iter().take(MOST).cloned().collect();
    let least = found.into_iter().rev().take(MOST).collect();
    (most, least)
}

/// How long a head holds a category of tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CategoryRetention {
    /// The category.
    pub category: Category,
    /// Its tokens in the text.
    pub tokens: u32,
    /// Of those, cached at the end.
    pub kept: u32,
    /// Mean number of queries that could see one; of those alive, up to the end, so a lower bound.
    pub mean_lifetime: f64,
}

/// The categories that the text has, the one held longest first; of equals, in the order of [`Category::ALL`]. A token
/// counts for each of its categories.
pub fn retained_categories(departures: &[Option<u32>], seen: u32, categories: &[Categories]) -> Vec<CategoryRetention> {
    let of = |category: Category| {
        let own = (0u32..).zip(departures).zip(categories).filter(|(_, own)| own.has(category));
        let (mut tokens, mut kept, mut sum) = (0, 0, 0.0);
        for ((position, at), _) in own {
            tokens += 1;
            kept += u32::from(at.is_none());
            sum += f64::from(at.unwrap_or(seen) - position);
        }
        (tokens > 0).then(|| CategoryRetention { category, tokens, kept, mean_lifetime: sum / f64::from(tokens) })
    };
    let mut found: Vec<CategoryRetention> = Category::ALL.into_iter().filter_map(of).collect();
    found.sort_by(|a, b| b.mean_lifetime.total_cmp(&a.mean_lifetime));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::category::{categorise, tests::facts};

    #[test]
    fn categories_are_ranked_by_the_mean_of_their_lives() {
        let categories = categorise(&facts(&["tea", " 3", ".", " 5", "."]));
        let departures = [Some(2), None, Some(3), Some(5), Some(5)];
        let found = retained_categories(&departures, 6, &categories);
        let told: Vec<_> = found.iter().map(|f| (f.category, f.tokens, f.kept, f.mean_lifetime)).collect();
        let ends = (Category::SentenceEnd, 2, 0, 1.0);
        assert_eq!(told, [(Category::Digit, 2, 1, f64::from(5 + 2) / 2.0), (Category::Word, 1, 0, 2.0), ends]);
    }

    #[test]
    fn texts_are_ranked_by_the_mean_of_their_lives() {
        let texts = ["a", ".", "a", ".", "a", ".", "b"];
        let departures = [Some(2), None, Some(3), None, Some(7), Some(7), None];
        let (most, least) = retained(&departures, 7, &texts);
        assert_eq!(
            (most[0].text.as_str(), most[0].tokens, most[0].mean_lifetime),
            (".", 3, f64::from(6 + 4 + 2) / 3.0)
        );
        assert_eq!((least[0].text.as_str(), least[0].mean_lifetime), ("a", f64::from(2 + 1 + 3) / 3.0));
        assert_eq!(most.len(), 2);
    }
}
