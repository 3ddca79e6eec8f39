//! Scores of heads that a scatter can have on an axis: name, what it says, range, and where it comes from.

use serde::{Deserialize, Serialize};

use super::axis::Scale;
use crate::analysis::reading::HeadReading;

/// A score of a head, as `docs/roles.md` defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadScore {
    /// Share of the entries among the newest as many.
    Purity,
    /// Entries older than the window over all.
    OldShare,
    /// Share of tokens taken in.
    Admission,
    /// How often the first positions are held.
    SinkSurvival,
    /// Where in the text the kept set was born.
    BirthPercentile,
    /// Share of the text that is gone.
    Sparsity,
    /// Share of the entries that one cut's successor removes.
    Turnover,
    /// Share of the sentence ends held beyond the window.
    SentenceCoverage,
    /// Width of the recent window, in tokens.
    Width,
    /// Entries after a cut.
    Occupancy,
    /// Median half-life, in tokens.
    HalfLife,
    /// Mean age at eviction, in tokens.
    AgeEvicted,
    /// The layer.
    Layer,
}

impl HeadScore {
    /// Every score.
    pub const ALL: [Self; 13] = [
        Self::Purity,
        Self::OldShare,
        Self::Admission,
        Self::SinkSurvival,
        Self::BirthPercentile,
        Self::Sparsity,
        Self::Turnover,
        Self::SentenceCoverage,
        Self::Width,
        Self::Occupancy,
        Self::HalfLife,
        Self::AgeEvicted,
        Self::Layer,
    ];
    /// Across and up, unless asked otherwise: windows stand to the right, and up goes what keeps its tokens long.
    pub const DEFAULT: [Self; 2] = [Self::Purity, Self::AgeEvicted];

    /// The name in flags and specs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purity => "purity",
            Self::OldShare => "old_share",
            Self::Admission => "admission",
            Self::SinkSurvival => "sink_survival",
            Self::BirthPercentile => "birth_percentile",
            Self::Sparsity => "sparsity",
            Self::Turnover => "turnover",
            Self::SentenceCoverage => "sentence_coverage",
            Self::Width => "width",
            Self::Occupancy => "occupancy",
            Self::HalfLife => "half_life",
            Self::AgeEvicted => "age_evicted",
            Self::Layer => "layer",
        }
    }

    /// All names, for people.
    pub fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// What stands at the axis, with its unit.
    pub fn label(self) -> &'static str {
        match self {
            Self::Purity => "window purity",
            Self::OldShare => "share of old entries",
            Self::Admission => "share of tokens taken in",
            Self::SinkSurvival => "survival of the first 4",
            Self::BirthPercentile => "mean birth, share of the text",
            Self::Sparsity => "share of the text gone",
            Self::Turnover => "turnover per cut",
            Self::SentenceCoverage => "sentence ends held",
            Self::Width => "window width, tokens",
            Self::Occupancy => "entries after a cut",
            Self::HalfLife => "median half-life, tokens",
            Self::AgeEvicted => "mean age at eviction, tokens",
            Self::Layer => "layer",
        }
    }

    /// Tokens spread over powers of ten; shares run from 0 to 1.
    pub fn scale(self) -> Scale {
        match self {
            Self::Width | Self::HalfLife | Self::AgeEvicted => Scale::Log,
            _ => Scale::Linear,
        }
    }

    /// Whether it lies in [0, 1], and the axis shows all of that.
    pub fn is_share(self) -> bool {
        self.scale() == Scale::Linear && !matches!(self, Self::Occupancy | Self::Layer)
    }

    /// The score of a head; `None` where it has none, or one that no axis can show.
    pub fn of(self, reading: &HeadReading) -> Option<f64> {
        let HeadReading { facts, features, .. } = reading;
        let value = match self {
            Self::Purity => Some(features.window.purity),
            Self::OldShare => Some(features.old_share),
            Self::Admission => Some(features.admission.share),
            Self::SinkSurvival => Some(features.sink.mean_survival()),
            Self::BirthPercentile => Some(features.front.birth_percentile),
            Self::Sparsity => Some(features.sparsity),
            Self::Turnover => features.turnover,
            Self::SentenceCoverage => features.sentence_coverage(),
            Self::Width => Some(f64::from(features.window.width)),
            Self::Occupancy => Some(features.occupancy),
            Self::HalfLife => facts.median_half_life,
            Self::AgeEvicted => facts.mean_age_evicted,
            Self::Layer => Some(f64::from(facts.head.layer)),
        };
        value.filter(|value| value.is_finite() && (self.scale() == Scale::Linear || *value > 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_has_one_name_everywhere() {
        for score in HeadScore::ALL {
            assert_eq!(serde_json::to_value(score).unwrap(), score.as_str());
        }
    }
}
