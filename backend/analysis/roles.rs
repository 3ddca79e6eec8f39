//! What a head does, in a word, from its scores: rules with thresholds, margins and false-discovery control.
//!
//! A role describes a trace; it is no causal claim. The rules and what was argued with are in `docs/roles.md`.

use super::category::Category;
use super::enrichment::Enrichment;
use super::features::{ADMISSION_STEPS, HeadFeatures};
use super::statistics::q_values;

/// Every number that a rule compares with, in one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Fewest evicted tokens for any role.
    pub evicted: u32,
    /// Fewest entries after a cut, on average, for any role.
    pub occupancy: f64,
    /// Largest mean share of the text kept for any role: what keeps nearly all shows no choice.
    pub kept_of_text: f64,
    /// Fewest old tokens for a role that says what they are.
    pub survivors: u32,
    /// Sink: percentile rank of position 0's `log_beta`, at least.
    pub sink_rank: f64,
    /// Sink: share of comparable tokens held, at most.
    pub sink_expected: f64,
    /// Sink: q-value, at most.
    pub sink_q: f64,
    /// Window: purity, at least.
    pub purity: f64,
    /// Window: (purity - chance) / (1 - chance), at least.
    pub purity_over_chance: f64,
    /// Window: crispness, at most; also of each mode of a double window.
    pub crispness: f64,
    /// Categories: q-value, at most.
    pub category_q: f64,
    /// Categories: enrichment that one category needs to count at all, and that a majority needs.
    pub counts_from: f64,
    /// Categories: share of the old entries from which `counts_from` is enough.
    pub majority: f64,
    /// Categories: share below a majority, at least.
    pub minority: f64,
    /// Gist: enrichment that a minority needs.
    pub gist: f64,
    /// Content: enrichment that a minority needs.
    pub content: f64,
    /// Spans: share of the old entries, at least, and enrichment, at least.
    pub span: (f64, f64),
    /// Selector: admission, at most.
    pub admission: f64,
    /// Selector: purity, at most.
    pub selector_purity: f64,
    /// Selector: distance of the gates' two kinds of tokens, at least, unless a category tells what it selects.
    pub gate_split: f64,
    /// Front-loaded: mean birth percentile, at most.
    pub birth_percentile: f64,
    /// Front-loaded and frozen: p-value, at most.
    pub place_p: f64,
    /// Frozen: share of the text, at least.
    pub frozen_share: f64,
    /// Frozen: cuts, at least.
    pub frozen_cuts: u32,
    /// Lead in share of the old entries that gist or content needs over the other.
    pub lead: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            evicted: 16,
            occupancy: 4.0,
            kept_of_text: 0.8,
            survivors: 8,
            sink_rank: 0.99,
            sink_expected: 0.5,
            sink_q: 0.05,
            purity: 0.9,
            purity_over_chance: 0.8,
            crispness: 0.25,
            category_q: 0.01,
            counts_from: 2.0,
            majority: 0.5,
            minority: 0.3,
            gist: 5.0,
            content: 3.0,
            span: (0.9, 1.5),
            admission: 0.3,
            selector_purity: 0.3,
            gate_split: 4.5,
            birth_percentile: 0.35,
            place_p: 1e-4,
            frozen_share: 0.25,
            frozen_cuts: 3,
            lead: 0.1,
        }
    }
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Always holds the first positions.
    Sink,
    /// Holds the newest and nothing else.
    Window,
    /// Lets its tokens go at two ages.
    DoubleWindow,
    /// Its old tokens are boundaries of the text.
    Gist,
    /// Its old tokens are digits, operators or names, or the prompt.
    Content,
    /// Takes in few tokens and holds them long, by a choice that is not chance.
    Selector,
    /// Holds the first part of the text.
    FrontLoaded,
    /// Its kept set no longer changes.
    Frozen,
    /// None of these, though there was enough to see, or two of them alike.
    Mixed,
    /// Too little was evicted or kept to tell.
    NotEnoughEvidence,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::Sink,
        Self::Window,
        Self::DoubleWindow,
        Self::Gist,
        Self::Content,
        Self::Selector,
        Self::FrontLoaded,
        Self::Frozen,
        Self::Mixed,
        Self::NotEnoughEvidence,
    ];

    /// The name in outputs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Window => "window",
            Self::DoubleWindow => "double window",
            Self::Gist => "gist",
            Self::Content => "content",
            Self::Selector => "selector",
            Self::FrontLoaded => "front-loaded",
            Self::Frozen => "frozen",
            Self::Mixed => "mixed",
            Self::NotEnoughEvidence => "not enough evidence",
        }
    }
}

/// What the rules say of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The one word.
    pub role: Role,
    /// Other roles whose rules hold as well.
    pub also: Vec<Role>,
    /// For every role: how far the tightest condition is from failing (positive) or holding (negative), in [-1, 1].
    pub margins: Vec<(Role, f64)>,
    /// Categories that count, with their q-values.
    pub categories: Vec<(Category, f64)>,
    /// q-value of the sink.
    pub sink_q: Option<f64>,
    /// Why there is not enough evidence, where there is not.
    pub lacking: Option<Lacking>,
}

/// Why a head gets no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// Nothing was ever evicted.
    NeverCut,
    /// Too few tokens left.
    FewEvicted,
    /// Too few stayed.
    FewKept,
    /// Nearly all stayed.
    NearlyAllKept,
}

impl Lacking {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverCut => "never cut: it kept every token",
            Self::FewEvicted => "too few tokens were evicted",
            Self::FewKept => "too few tokens stay",
            Self::NearlyAllKept => "nearly all of the text stays",
        }
    }
}

impl Verdict {
    /// Whether the rules of a role hold, be it the one word or not.
    pub fn holds(&self, role: Role) -> bool {
        self.role == role || self.also.contains(&role)
    }

    /// The margin of a role.
    pub fn margin(&self, role: Role) -> Option<f64> {
        self.margins.iter().find(|(of, _)| *of == role).map(|(_, margin)| *margin)
    }
}

/// The categories whose enrichment is tested; each head makes these tests.
const TESTED: [Category; 8] = [
    Category::SentenceEnd,
    Category::Newline,
    Category::Separator,
    Category::Digit,
    Category::Operator,
    Category::Name,
    Category::Prompt,
    Category::Instruction,
];

/// Gives every head of a run its role. Tests are corrected for their number over all heads: q-values, per family (the
/// start of the text; categories).
pub fn classify(heads: &[HeadFeatures], thresholds: &Thresholds) -> Vec<Verdict> {
    let lacking: Vec<Option<Lacking>> = heads.iter().map(|features| lacking(features, thresholds)).collect();
    let told = || heads.iter().zip(&lacking);
    let sinks: Vec<Option<f64>> = told()
        .map(|(features, lacking)| if lacking.is_none() { Some(features.sink.p.unwrap_or(1.0)) } else { None })
        .collect();
    let tests: Vec<Option<f64>> = told()
        .flat_map(|(features, lacking)| {
            TESTED.map(|category| {
                let found = features.enriched(category).filter(|_| lacking.is_none());
                found.filter(|found| found.survivors >= thresholds.survivors && found.present > 0).map(|found| found.p)
            })
        })
        .collect();
    let (sink_q, category_q) = (q_values(&sinks), q_values(&tests));
    heads
        .iter()
        .zip(lacking)
        .zip(sink_q.into_iter().zip(category_q.chunks(TESTED.len())))
        .map(|((features, lacking), (sink_q, category_q))| {
            let counting = counting(features, category_q, thresholds);
            judge(features, lacking, sink_q, counting, thresholds)
        })
        .collect()
}

fn lacking(features: &HeadFeatures, thresholds: &Thresholds) -> Option<Lacking> {
    if features.evicted == 0 {
        Some(Lacking::NeverCut)
    } else if features.evicted < thresholds.evicted {
        Some(Lacking::FewEvicted)
    } else if features.occupancy < thresholds.occupancy {
        Some(Lacking::FewKept)
    } else if 1.0 - features.sparsity > thresholds.kept_of_text {
        Some(Lacking::NearlyAllKept)
    } else {
        None
    }
}

/// The tested categories that are surely enriched, and enough.
fn counting(features: &HeadFeatures, q: &[Option<f64>], thresholds: &Thresholds) -> Vec<(Category, f64)> {
    let enough = |category: Category, found: &Enrichment| {
        let least = if category.is_span() { thresholds.span.1 } else { thresholds.counts_from };
        found.ratio.is_some_and(|ratio| ratio >= least)
    };
    let tested = TESTED.into_iter().zip(q).filter_map(|(category, q)| Some((category, (*q)?)));
    let counting = tested.filter(|&(category, q)| {
        q <= thresholds.category_q && features.enriched(category).is_some_and(|found| enough(category, found))
    });
    counting.collect()
}

/// How far above a threshold, as a share of what is left to 1; below, as a share of the threshold.
fn above(value: f64, threshold: f64) -> f64 {
    let room = if value >= threshold { 1.0 - threshold } else { threshold };
    if room > 0.0 { ((value - threshold) / room).clamp(-1.0, 1.0) } else { 0.0 }
}

/// How far below a threshold, in the same way.
fn below(value: f64, threshold: f64) -> f64 {
    above(1.0 - value, 1.0 - threshold)
}

/// How far a p- or q-value is below its limit, counted in powers of ten: three are all there is to gain.
fn surely(p: Option<f64>, limit: f64) -> f64 {
    p.map_or(-1.0, |p| ((limit.log10() - p.max(1e-300).log10()) / 3.0).clamp(-1.0, 1.0))
}

fn least<const N: usize>(margins: [f64; N]) -> f64 {
    margins.into_iter().fold(1.0, f64::min)
}

/// Summed share and enrichment of the categories that count among `family`: they exclude each other.
pub fn family(features: &HeadFeatures, counting: &[(Category, f64)], family: &[Category]) -> (f64, f64) {
    let found = counting.iter().filter(|(category, _)| family.contains(category));
    let found = found.filter_map(|(category, _)| features.enriched(*category));
    let (share, expected) = found.fold((0.0, 0.0), |(share, expected), e| (share + e.share, expected + e.expected));
    (share, if expected > 0.0 { share / expected } else { 0.0 })
}

fn family_margin((share, ratio): (f64, f64), minority_ratio: f64, thresholds: &Thresholds) -> f64 {
    if share == 0.0 {
        return -1.0;
    }
    // A ratio has no upper end; twice the threshold counts as the most.
    let times = |threshold: f64| (ratio / threshold - 1.0).clamp(-1.0, 1.0);
    let majority = least([above(share, thresholds.majority), times(thresholds.counts_from)]);
    let minority = least([above(share, thresholds.minority), times(minority_ratio)]);
    majority.max(minority)
}

fn judge(
    features: &HeadFeatures,
    lacking: Option<Lacking>,
    sink_q: Option<f64>,
    categories: Vec<(Category, f64)>,
    thresholds: &Thresholds,
) -> Verdict {
    if lacking.is_some() {
        return Verdict {
            role: Role::NotEnoughEvidence,
            also: Vec::new(),
            margins: Vec::new(),
            categories: Vec::new(),
            sink_q: None,
            lacking,
        };
    }
    let margins = margins(features, sink_q, &categories, thresholds);
    let holding: Vec<Role> = margins.iter().filter(|(_, margin)| *margin >= 0.0).map(|(role, _)| *role).collect();
    let role = first_role(features, &holding, &categories, thresholds);
    let also = holding.into_iter().filter(|&other| other != role).collect();
    Verdict { role, also, margins, categories, sink_q, lacking }
}

fn margins(
    features: &HeadFeatures,
    sink_q: Option<f64>,
    categories: &[(Category, f64)],
    thresholds: &Thresholds,
) -> Vec<(Role, f64)> {
    let (window, sink, front, frozen) = (&features.window, &features.sink, &features.front, &features.frozen);
    let chance = window.purity_by_chance.min(1.0 - 1e-9);
    let crisp =
        |crispness: Option<f64>| crispness.map_or(-1.0, |crispness| below(crispness.min(1.0), thresholds.crispness));
    // In a short text the first of four sinks need not be among the highest hundredth.
    let rank = thresholds.sink_rank.min(1.0 - 4.0 / f64::from(features.seen.max(8)));
    let sink_margin = if sink.is_start() {
        least([
            surely(sink_q, thresholds.sink_q),
            sink.rank.map_or(1.0, |found| above(found, rank)),
            below(sink.expected, thresholds.sink_expected),
        ])
    } else {
        -1.0
    };
    let window_margin = least([
        above(window.purity, thresholds.purity),
        above((window.purity - chance) / (1.0 - chance), thresholds.purity_over_chance),
        crisp(window.crispness),
    ]);
    let double_margin = window.modes.map_or(-1.0, |[near, far]| {
        // Tokens that leave at the first cut after their birth are refused, not let go.
        let is_taken_in = near.age > f64::from(features.settled_age - ADMISSION_STEPS);
        let crisp = crisp(Some(near.crispness)).min(crisp(Some(far.crispness)));
        if is_taken_in { least([above(window.within_modes, thresholds.purity), crisp]) } else { -1.0 }
    });
    let gist = family_margin(family(features, categories, &Category::GIST), thresholds.gist, thresholds);
    let content = family_margin(family(features, categories, &Category::CONTENT), thresholds.content, thresholds);
    let spans = categories
        .iter()
        .filter(|(category, _)| category.is_span())
        .filter_map(|(category, _)| features.enriched(*category).map(|found| above(found.share, thresholds.span.0)));
    let front_margin =
        least([below(front.birth_percentile, thresholds.birth_percentile), surely(Some(front.p), thresholds.place_p)]);
    let frozen_margin = if frozen.cuts >= thresholds.frozen_cuts {
        least([above(frozen.share, thresholds.frozen_share), surely(Some(frozen.p), thresholds.place_p)])
    } else {
        -1.0
    };
    // What stays because it came first is told by that, not by a span it happens to lie in.
    let span = if front_margin < 0.0 && frozen_margin < 0.0 { spans.fold(-1.0, f64::max) } else { -1.0 };
    let is_choice = if categories.iter().all(|(category, _)| category.is_span()) {
        features.admission.gate_split.map_or(-1.0, |split| (split / thresholds.gate_split - 1.0).clamp(-1.0, 1.0))
    } else {
        1.0
    };
    let selector = least([
        below(features.admission.share, thresholds.admission),
        below(window.purity, thresholds.selector_purity),
        is_choice,
    ]);
    vec![
        (Role::Sink, sink_margin),
        (Role::Window, window_margin),
        (Role::DoubleWindow, double_margin),
        (Role::Gist, gist),
        (Role::Content, content.max(span)),
        (Role::Selector, selector),
        (Role::FrontLoaded, front_margin),
        (Role::Frozen, frozen_margin),
    ]
}

/// The one word, of all roles that hold: the one that says most about the kept set.
fn first_role(
    features: &HeadFeatures,
    holding: &[Role],
    categories: &[(Category, f64)],
    thresholds: &Thresholds,
) -> Role {
    let holds = |role: Role| holding.contains(&role);
    if holds(Role::Window) {
        // A window is what any head does without a preference; the sink beside it is the preference.
        return if holds(Role::Sink) { Role::Sink } else { Role::Window };
    }
    if holds(Role::Gist) && holds(Role::Content) {
        let share = |of: &[Category]| family(features, categories, of).0;
        let lead = share(&Category::GIST) - share(&Category::CONTENT);
        return match lead {
            lead if lead >= thresholds.lead => Role::Gist,
            lead if lead <= -thresholds.lead => Role::Content,
            _ => Role::Mixed,
        };
    }
    let order =
        [Role::Gist, Role::Content, Role::DoubleWindow, Role::FrontLoaded, Role::Sink, Role::Frozen, Role::Selector];
    order.into_iter().find(|&role| holds(role)).unwrap_or(Role::Mixed)
}
