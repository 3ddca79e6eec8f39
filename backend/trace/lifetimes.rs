//! The whole history of a bounded cache: one interval per (layer, KV head, position).
//!
//! A token enters a head at its position and leaves at most once, so `log_beta` and `evicted_at` hold everything:
//! query `t` sees key `i` exactly when `i <= t < evicted_at`.

use super::grid::Grid;
use super::step::{Cut, Eviction, KvHead, Shape};

/// Marks a token that is still cached.
const CACHED: u32 = u32::MAX;

/// Why an interval could not be recorded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LifetimeError {
    /// The grid's rows are not one per head.
    #[error("{found} rows of log beta for {expected} heads")]
    WrongHeads {
        /// Heads of the model.
        expected: usize,
        /// Rows given.
        found: usize,
    },
    /// A token left a head that the model does not have.
    #[error("{0} evicted a token, but the model has no such head")]
    NoSuchHead(KvHead),
    /// A token left that never entered.
    #[error("{head} evicted position {position}, which it has not seen")]
    NotBorn {
        /// The head.
        head: KvHead,
        /// The position.
        position: u32,
    },
    /// A token left twice.
    #[error("{head} evicted position {position} twice")]
    EvictedTwice {
        /// The head.
        head: KvHead,
        /// The position.
        position: u32,
    },
    /// A token left before a query could have seen it.
    #[error("{head} evicted position {position} when only {at} tokens had been seen")]
    EvictedTooEarly {
        /// The head.
        head: KvHead,
        /// The position.
        position: u32,
        /// Tokens seen at the cut.
        at: u32,
    },
}

/// Birth, death and last score of every token in every head.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifetimes {
    shape: Shape,
    seen: u32,
    heads: Vec<HeadLifetimes>,
}

#[derive(Debug, Clone, Default)]
struct HeadLifetimes {
    /// One per position; empty without gates.
    log_beta: Vec<f32>,
    /// One per position; [`CACHED`] while alive.
    evicted_at: Vec<u32>,
    /// One per position; NaN before the first cut.
    last_score: Vec<f32>,
}

/// NaN means "no score yet", so two absent scores are equal.
impl PartialEq for HeadLifetimes {
    fn eq(&self, other: &Self) -> bool {
        let bits = |scores: &[f32]| scores.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
        self.log_beta == other.log_beta
            && self.evicted_at == other.evicted_at
            && bits(&self.last_score) == bits(&other.last_score)
    }
}

impl Lifetimes {
    /// A history with no tokens.
    pub fn new(shape: Shape) -> Self {
        Self { shape, seen: 0, heads: vec![HeadLifetimes::default(); shape.heads()] }
    }

    /// Layers and heads.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Tokens that entered so far; positions are `0..seen`.
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Lets the next `count` positions enter every head. `log_beta`, where gates are loaded, has one row per head
    /// and one column per new position.
    ///
    /// # Errors
    /// When the grid does not fit the heads or the count, or gates come or go in the middle of a run.
    pub fn open(&mut self, count: u32, log_beta: Option<&Grid<f32>>) -> Result<(), LifetimeError> {
        if let Some(grid) = log_beta {
            let rows = grid.cells().len() / grid.columns().max(1);
            if count > 0 && (rows != self.heads.len() || grid.columns() != count as usize) {
                return Err(LifetimeError::WrongHeads { expected: self.heads.len(), found: rows });
            }
        }
        for (index, head) in self.heads.iter_mut().enumerate() {
            if let Some(grid) = log_beta.filter(|_| count > 0) {
                head.log_beta.extend_from_slice(grid.row(index));
            }
            head.evicted_at.resize(head.evicted_at.len() + count as usize, CACHED);
            head.last_score.resize(head.evicted_at.len(), f32::NAN);
        }
        self.seen += count;
        Ok(())
    }

    /// Lets one token leave one head, for good.
    ///
    /// # Errors
    /// When the head does not exist, or the token never entered, left before, or leaves before any query could have
    /// seen it.
    pub fn close(&mut self, eviction: Eviction) -> Result<(), LifetimeError> {
        let Eviction { head, position, at, score } = eviction;
        if !self.shape.has(head) {
            return Err(LifetimeError::NoSuchHead(head));
        }
        let lives = &mut self.heads[self.shape.index(head)];
        let slot = lives.evicted_at.get_mut(position as usize).ok_or(LifetimeError::NotBorn { head, position })?;
        if *slot != CACHED {
            return Err(LifetimeError::EvictedTwice { head, position });
        }
        if at <= position {
            return Err(LifetimeError::EvictedTooEarly { head, position, at });
        }
        *slot = at;
        lives.last_score[position as usize] = score;
        Ok(())
    }

    /// Applies every eviction of a cut.
    ///
    /// # Errors
    /// As [`Lifetimes::close`].
    pub fn apply(&mut self, cut: &Cut) -> Result<(), LifetimeError> {
        cut.evictions.iter().try_for_each(|&eviction| self.close(eviction))
    }

    /// Notes the score a survivor had at the last cut.
    pub fn set_last_score(&mut self, head: KvHead, position: u32, score: f32) {
        let index = self.shape.index(head);
        if let Some(slot) = self.heads[index].last_score.get_mut(position as usize) {
            *slot = score;
        }
    }

    /// `log beta` of every position, or nothing without gates.
    pub fn log_beta(&self, head: KvHead) -> &[f32] {
        &self.heads[self.shape.index(head)].log_beta
    }

    /// When a position left the head; `None` while it is cached.
    pub fn evicted_at(&self, head: KvHead, position: u32) -> Option<u32> {
        Some(self.heads[self.shape.index(head)].evicted_at[position as usize]).filter(|&at| at != CACHED)
    }

    /// When each position left the head, in order of position.
    pub fn departures(&self, head: KvHead) -> impl ExactSizeIterator<Item = Option<u32>> + '_ {
        self.heads[self.shape.index(head)].evicted_at.iter().map(|&at| (at != CACHED).then_some(at))
    }

    /// Each position's score at the last cut it was part of.
    pub fn last_scores(&self, head: KvHead) -> impl ExactSizeIterator<Item = Option<f32>> + '_ {
        self.heads[self.shape.index(head)].last_score.iter().map(|&score| (!score.is_nan()).then_some(score))
    }

    /// Whether the query at position `query` sees the key at `position`.
    pub fn is_visible(&self, head: KvHead, position: u32, query: u32) -> bool {
        position <= query && self.evicted_at(head, position).is_none_or(|at| query < at)
    }

    /// Positions cached after the pass that ended with `tokens_seen` tokens.
    pub fn cached_after(&self, head: KvHead, tokens_seen: u32) -> Vec<u32> {
        let born = tokens_seen.min(self.seen);
        (0..born).filter(|&p| self.evicted_at(head, p).is_none_or(|at| at > tokens_seen)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: KvHead = KvHead { layer: 0, head: 1 };

    fn three_tokens() -> Lifetimes {
        let mut lives = Lifetimes::new(Shape { layers: 1, kv_heads: 2 });
        let grid = Grid::from_cells(2, 3, vec![-0.1, -0.2, -0.3, -0.4, -0.5, -0.6]).unwrap();
        lives.open(3, Some(&grid)).unwrap();
        lives
    }

    #[test]
    fn an_evicted_token_is_seen_until_its_cut_and_never_after() {
        let mut lives = three_tokens();
        lives.close(Eviction { head: HEAD, position: 0, at: 2, score: -1.0 }).unwrap();
        assert!(lives.is_visible(HEAD, 0, 1));
        assert!(!lives.is_visible(HEAD, 0, 2));
        assert!(!lives.is_visible(HEAD, 2, 1), "not born yet");
        assert_eq!(lives.cached_after(HEAD, 2), [1]);
        assert_eq!(lives.cached_after(HEAD, 3), [1, 2]);
    }

    #[test]
    fn a_token_leaves_once_and_only_after_it_was_born() {
        let mut lives = three_tokens();
        let eviction = Eviction { head: HEAD, position: 1, at: 3, score: 0.0 };
        lives.close(eviction).unwrap();
        assert_eq!(lives.close(eviction), Err(LifetimeError::EvictedTwice { head: HEAD, position: 1 }));
        let unborn = Eviction { position: 7, ..eviction };
        assert_eq!(lives.close(unborn), Err(LifetimeError::NotBorn { head: HEAD, position: 7 }));
        let early = Eviction { position: 2, at: 2, ..eviction };
        assert!(matches!(lives.close(early), Err(LifetimeError::EvictedTooEarly { .. })));
    }

    #[test]
    fn a_grid_for_another_number_of_heads_is_refused() {
        let mut lives = three_tokens();
        let grid = Grid::from_cells(3, 1, vec![-0.1; 3]).unwrap();
        assert_eq!(lives.open(1, Some(&grid)), Err(LifetimeError::WrongHeads { expected: 2, found: 3 }));
    }
}
