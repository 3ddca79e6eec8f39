//! When a cache is cut, what is protected, and who competes for the budget.

pub use crate::trace::scope::Scope;

/// How a global competition with a floor counts the winners of each head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FloorCounting {
    /// Every winner counts for its own head.
    #[default]
    Exact,
    /// The authors' first release: the oldest entry of a head counts for the head before it. For parity only.
    Authors,
}

impl FloorCounting {
    /// The name, as typed and as written to the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Authors => "authors",
        }
    }
}

/// Entries that no cut removes. They count towards the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protect {
    /// Positions below this stay.
    pub sinks: u32,
    /// A head's newest entries stay, this many.
    pub recent: u32,
}

impl Protect {
    /// The slots open to eviction in a head whose entries have these ascending positions.
    pub fn contested(&self, positions: &[u32]) -> std::ops::Range<usize> {
        let first = positions.partition_point(|&position| position < self.sinks);
        let end = positions.len().saturating_sub(self.recent as usize);
        first..end.max(first)
    }
}

/// When to cut and how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutRule {
    /// Entries each KV head keeps, on average over its scope.
    pub budget: u32,
    /// How far a head may overrun its budget before a cut; 0 and 1 both cut at every step.
    pub buffer: u32,
    /// Who competes.
    pub scope: Scope,
    /// Share of the budget that every head keeps for itself in a global competition, in [0, 1].
    pub floor: f64,
    /// How winners are counted when there is a floor.
    pub floor_counting: FloorCounting,
    /// Keep scores of at least `ln(threshold)` after every pass, whatever the size; replaces the budget.
    pub threshold: Option<f64>,
    /// Who may not be evicted.
    pub protect: Protect,
}

impl CutRule {
    /// Entries that are left of a head with these ascending positions when it is cut on its own, if it is due.
    pub fn stay(&self, positions: &[u32]) -> usize {
        if positions.len() < self.limit() {
            return positions.len();
        }
        let contested = self.protect.contested(positions).len();
        let protected = positions.len() - contested;
        protected + contested.min((self.budget as usize).saturating_sub(protected))
    }

    /// TRIM-KV's rule: `budget` entries a head, cut when it holds `budget + buffer`, nothing protected.
    pub fn per_head(budget: u32, buffer: u32) -> Self {
        Self {
            budget,
            buffer,
            scope: Scope::Head,
            floor: 0.0,
            floor_counting: FloorCounting::Exact,
            threshold: None,
            protect: Protect::default(),
        }
    }

    /// Entries at which a head overflows.
    pub fn limit(&self) -> usize {
        self.budget as usize + self.buffer as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_ends_leave_the_middle_contested() {
        let positions = [0, 2, 5, 8, 9];
        assert_eq!(Protect::default().contested(&positions), 0..5);
        assert_eq!(Protect { sinks: 4, recent: 0 }.contested(&positions), 2..5);
        assert_eq!(Protect { sinks: 4, recent: 2 }.contested(&positions), 2..3);
        assert_eq!(Protect { sinks: 4, recent: 9 }.contested(&positions), 2..2);
    }
}
