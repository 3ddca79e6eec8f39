//! Two runs over the same text: what one keeps and the other forgets.

use crate::text::class::TokenClass;
use crate::trace::lifetimes::Lifetimes;
use crate::trace::step::KvHead;

/// One head in both runs, after the last token that they share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadComparison {
    /// The head.
    pub head: KvHead,
    /// Entries that each run has cached.
    pub kept: [u32; 2],
    /// Entries that both have.
    pub shared: u32,
    /// Shared entries over those that either has; `None` when neither has any.
    pub overlap: Option<f64>,
    /// The overlap to expect had one run's entries been drawn at random.
    pub chance: Option<f64>,
    /// The same as overlap, over the whole text: steps at which both held a token, over steps at which either did.
    pub lives: Option<f64>,
}

/// Tokens of a kind in both runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassComparison {
    /// The kind.
    pub class: TokenClass,
    /// How many there are.
    pub tokens: u32,
    /// Mean number of steps for which each run's heads held one.
    pub life: [f64; 2],
    /// Share of heads that still hold one, the mean over these tokens.
    pub kept: [f64; 2],
}

/// A token, and how many heads of each run still hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenComparison {
    /// Its position.
    pub position: u32,
    /// Heads.
    pub heads: [u32; 2],
}

/// Steps for which a head held a token, of those up to `seen` tokens.
fn life(lives: &Lifetimes, head: KvHead, position: u32, seen: u32) -> u32 {
    lives.evicted_at(head, position).unwrap_or(seen).min(seen) - position
}

/// Every head of two runs of one shape over their first `seen` tokens.
pub fn heads(runs: [&Lifetimes; 2], seen: u32) -> Vec<HeadComparison> {
    runs[0].shape().iter().map(|head| compare(runs, head, seen)).collect()
}

fn compare(runs: [&Lifetimes; 2], head: KvHead, seen: u32) -> HeadComparison {
    let (mut kept, mut shared) = ([0; 2], 0);
    let (mut both, mut either) = (0u64, 0u64);
    for position in 0..seen {
        // What the next query would see is what is kept.
        let is_kept = runs.map(|lives| lives.is_visible(head, position, seen));
        kept.iter_mut().zip(is_kept).for_each(|(kept, is_kept)| *kept += u32::from(is_kept));
        shared += u32::from(is_kept == [true; 2]);
        let lives = runs.map(|lives| life(lives, head, position, seen));
        both += u64::from(lives[0].min(lives[1]));
        either += u64::from(lives[0].max(lives[1]));
    }
    let jaccard = |shared: f64| {
        let union = f64::from(kept[0] + kept[1]) - shared;
        (union > 0.0).then(|| shared / union)
    };
    let expected = f64::from(kept[0]) * f64::from(kept[1]) / f64::from(seen.max(1));
    HeadComparison {
        head,
        kept,
        shared,
        overlap: jaccard(f64::from(shared)),
        chance: jaccard(expected),
        lives: (either > 0).then(|| both as f64 / either as f64),
    }
}

/// Every kind of token that there is, in the order of [`TokenClass::ALL`]; `classes` has one for each of the first tokens.
pub fn classes(runs: [&Lifetimes; 2], classes: &[TokenClass]) -> Vec<ClassComparison> {
    let (seen, heads) = (classes.len() as u32, runs[0].shape().heads() as f64);
    let of_class = |class: TokenClass| {
        let own: Vec<u32> = (0..seen).filter(|&position| classes[position as usize] == class).collect();
        let count = own.len() as f64 * heads;
        let over = |value: &dyn Fn(&Lifetimes, KvHead, u32) -> f64| {
            runs.map(|lives| {
                let cells = lives.shape().iter().flat_map(|head| own.iter().map(move |&position| (head, position)));
                cells.map(|(head, position)| value(lives, head, position)).sum::<f64>() / count
            })
        };
        (!own.is_empty()).then(|| ClassComparison {
            class,
            tokens: own.len() as u32,
            life: over(&|lives, head, position| f64::from(life(lives, head, position, seen))),
            kept: over(&|lives, head, position| f64::from(u8::from(lives.is_visible(head, position, seen)))),
        })
    };
    TokenClass::ALL.into_iter().filter_map(of_class).collect()
}

/// The tokens that most more heads of the first run hold than of the second, and the other way round; at most `count` each,
/// those with the largest difference first, then the earlier.
pub fn disputed(runs: [&Lifetimes; 2], seen: u32, count: usize) -> [Vec<TokenComparison>; 2] {
    let tokens = (0..seen).map(|position| {
        let held = |lives: &Lifetimes| {
            lives.shape().iter().filter(|&head| lives.is_visible(head, position, seen)).count() as u32
        };
        TokenComparison { position, heads: runs.map(held) }
    });
    let tokens: Vec<TokenComparison> = tokens.collect();
    [0, 1].map(|run| {
        let more = |token: &TokenComparison| token.heads[run].saturating_sub(token.heads[1 - run]);
        let mut ranked: Vec<TokenComparison> = tokens.iter().copied().filter(|token| more(token) > 0).collect();
        ranked.sort_by_key(|token| (std::cmp::Reverse(more(token)), token.position));
        ranked.truncate(count);
        ranked
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::step::{Eviction, Shape};

    const HEAD: KvHead = KvHead { layer: 0, head: 0 };

    fn run(evictions: &[(u32, u32)]) -> Lifetimes {
        let mut lives = Lifetimes::new(Shape { layers: 1, kv_heads: 1 });
        lives.open(6, None).unwrap();
        for &(position, at) in evictions {
            lives.close(Eviction { head: HEAD, position, at, score: 0.0 }).unwrap();
        }
        lives
    }

    #[test]
    fn two_small_runs_share_what_one_counts_by_hand() {
        let (first, second) = (run(&[(0, 4), (1, 4)]), run(&[(1, 4), (2, 6), (3, 6)]));
        let found = heads([&first, &second], 6).swap_remove(0);
        // Kept: 2 3 4 5 and 0 4 5. Lives: 4 3 4 3 2 1 and 6 3 4 3 2 1.
        assert_eq!((found.kept, found.shared), ([4, 3], 2));
        assert_eq!(found.overlap, Some(2.0 / 5.0));
        assert_eq!(found.chance, Some(2.0 / 5.0), "4 x 3 / 6 = 2 are shared by chance");
        assert_eq!(found.lives, Some(17.0 / 19.0));
        let [more, less] = disputed([&first, &second], 6, 1);
        assert_eq!((more[0].position, more[0].heads), (2, [1, 0]));
        assert_eq!((less[0].position, less[0].heads), (0, [0, 1]));
    }

    #[test]
    fn a_run_is_itself_and_a_shorter_text_hides_what_came_later() {
        let lives = run(&[(0, 4), (2, 6)]);
        let found = heads([&lives, &lives], 6).swap_remove(0);
        assert_eq!((found.overlap, found.lives), (Some(1.0), Some(1.0)));
        // After five tokens the eviction at six has not happened yet.
        assert_eq!(heads([&lives, &run(&[(0, 4)])], 5)[0].overlap, Some(1.0));
        assert_eq!(heads([&lives, &run(&[(0, 4)])], 6)[0].overlap, Some(0.8));
    }

    #[test]
    fn kinds_of_tokens_are_told_apart() {
        let (first, second) = (run(&[(0, 4), (1, 4)]), run(&[(1, 4), (2, 6), (3, 6)]));
        let kinds = [
            TokenClass::Digit,
            TokenClass::Word,
            TokenClass::Digit,
            TokenClass::Word,
            TokenClass::Word,
            TokenClass::Word,
        ];
        let found = classes([&first, &second], &kinds);
        assert_eq!(
            found.iter().map(|row| (row.class, row.tokens)).collect::<Vec<_>>(),
            [(TokenClass::Digit, 2), (TokenClass::Word, 4)]
        );
        assert_eq!((found[0].life, found[0].kept), ([4.0, 5.0], [0.5, 0.5]));
        assert_eq!((found[1].life, found[1].kept), ([9.0 / 4.0, 9.0 / 4.0], [0.75, 0.5]));
    }
}
