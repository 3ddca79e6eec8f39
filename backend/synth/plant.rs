//! Roles to plant: which tokens a head lets fade slowly.

use std::fmt;
use std::str::FromStr;

use super::dice::Dice;

/// Half-life in tokens of what a head cares about, and of what it does not.
const SLOW: f64 = 2000.0;
const FAST: f64 = 3.0;
/// Half-life of a sink: longer than any text.
const FOREVER: f64 = 1e8;
/// Share of the tokens that a selector lets fade slowly.
const SELECTED: f64 = 1.0 / 12.0;
/// First positions that a sink holds.
const SINKS: u32 = 4;

/// What a head is made to care about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// The first four positions; of the rest a random choice.
    Sink,
    /// Nothing: every token fades alike.
    Window,
    /// Three quarters of the tokens fade alike, a quarter five times slower.
    DoubleWindow,
    /// Ends of sentences and lines.
    Gist,
    /// One kind of token.
    Content(Kind),
    /// Every twelfth token, chosen by lot.
    Selector,
    /// What stands in the first 15 % of the text; nothing after.
    FrontLoaded,
    /// What stands between 50 and 70 % of the text; nothing after.
    Frozen,
    /// Chance: half-lives from 4 to 4000, by lot.
    Random,
}

/// A kind of token that content is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Digits.
    Digit,
    /// Operators.
    Operator,
    /// Names.
    Name,
}

/// The facts by which plants decide.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    /// Absolute position.
    pub position: u32,
    /// Tokens of the whole text.
    pub tokens: u32,
    /// Ends a sentence or a line.
    pub is_boundary: bool,
    /// Its kind, if it has one.
    pub kind: Option<Kind>,
}

impl Planted {
    /// Any token in this place, about as often of each kind as prose has them.
    fn by_lot(self, dice: Dice) -> Self {
        let kinds = [Some(Kind::Digit), Some(Kind::Operator), Some(Kind::Name), None, None, None, None, None];
        Self { is_boundary: dice.at(2).even() < 0.1, kind: dice.at(3).pick(&kinds), ..self }
    }
}

impl Plant {
    /// Half-life in tokens, before noise.
    fn half_life(self, token: &Planted, dice: Dice) -> f64 {
        let slow = |is_slow: bool| if is_slow { SLOW } else { FAST };
        let by_lot = || 4.0 * 1000f64.powf(dice.at(11).even());
        let place = f64::from(token.position) / f64::from(token.tokens.max(1));
        match self {
            Self::Sink if token.position < SINKS => FOREVER,
            Self::Sink | Self::Random => by_lot(),
            Self::Window => 100.0,
            Self::DoubleWindow => {
                if dice.at(12).even() < 0.25 {
                    500.0
                } else {
                    100.0
                }
            }
            Self::Gist => slow(token.is_boundary),
            Self::Content(kind) => slow(token.kind == Some(kind)),
            Self::Selector => slow(dice.at(13).even() < SELECTED),
            Self::FrontLoaded if place < 0.15 => FOREVER * dice.at(14).even(),
            Self::Frozen if (0.5..0.7).contains(&place) => FOREVER * dice.at(14).even(),
            Self::FrontLoaded | Self::Frozen => FAST,
        }
    }

    /// Tokens that a run must have for this plant to be told from others under a budget of so many, if it depends on
    /// that: a selector's own tokens must fill the budget by the middle of the text. Places that they leave go to
    /// whatever came last, as in any other head. Measured where three tenths of the text are prompt; a shorter prompt
    /// may need more (`cargo test --lib recovery`).
    pub fn tokens_to_show(self, budget: u32) -> Option<u32> {
        (self == Self::Selector).then(|| (2.0 * f64::from(budget) / SELECTED).round() as u32)
    }

    /// How much a plant's own half-lives vary (standard deviation of their logarithm): a window's must not.
    fn spread(self) -> f64 {
        if matches!(self, Self::Window | Self::DoubleWindow) { 0.05 } else { 0.3 }
    }
}

/// The plants of one head; a token fades as slowly as any of them wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadPlan(pub Vec<Plant>);

impl HeadPlan {
    /// `log_beta` of a token, nats. `noise` is the share of tokens that the head takes for another
    /// kind of token.
    pub fn log_beta(&self, token: &Planted, noise: f64, dice: Dice) -> f32 {
        let dice = dice.at(token.position.into());
        let taken_for = if dice.at(21).even() < noise { token.by_lot(dice.at(22)) } else { *token };
        let is_alone = self.0.len() == 1;
        let wanted = self.0.iter().zip(0u64..).map(|(plant, place)| {
            let own = dice.at(31 + place);
            // Beside another plant a sink cares about nothing but the start.
            let only_start = *plant == Plant::Sink && !is_alone && taken_for.position >= SINKS;
            let half_life = if only_start { FAST } else { plant.half_life(&taken_for, own) };
            half_life * (plant.spread() * own.normal()).exp()
        });
        let half_life = wanted.fold(0.0, f64::max).max(0.1);
        -(std::f64::consts::LN_2 / half_life) as f32
    }
}

/// A name that is no plant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no role {0:?} to plant; choose sink, window, double-window, gist, content:digit, content:operator, content:name, selector, front-loaded, frozen or random, joined by + for one head and by , for several"
)]
pub struct UnknownPlant(pub String);

impl FromStr for Plant {
    type Err = UnknownPlant;

    fn from_str(name: &str) -> Result<Self, UnknownPlant> {
        Ok(match name.trim() {
            "sink" => Self::Sink,
            "window" => Self::Window,
            "double-window" => Self::DoubleWindow,
            "gist" => Self::Gist,
            "content:digit" | "content" => Self::Content(Kind::Digit),
            "content:operator" => Self::Content(Kind::Operator),
            "content:name" => Self::Content(Kind::Name),
            "selector" => Self::Selector,
            "front-loaded" => Self::FrontLoaded,
            "frozen" => Self::Frozen,
            "random" => Self::Random,
            other => return Err(UnknownPlant(other.to_owned())),
        })
    }
}

impl FromStr for HeadPlan {
    type Err = UnknownPlant;

    fn from_str(names: &str) -> Result<Self, UnknownPlant> {
        names.split('+').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sink => "sink",
            Self::Window => "window",
            Self::DoubleWindow => "double-window",
            Self::Gist => "gist",
            Self::Content(Kind::Digit) => "content:digit",
            Self::Content(Kind::Operator) => "content:operator",
            Self::Content(Kind::Name) => "content:name",
            Self::Selector => "selector",
            Self::FrontLoaded => "front-loaded",
            Self::Frozen => "frozen",
            Self::Random => "random",
        })
    }
}

impl fmt::Display for HeadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_answer_to_their_own_names_and_strangers_are_told_the_choices() {
        for name in ["sink", "gist+content:digit", "front-loaded", "double-window", "frozen+random", "content:name"] {
            assert_eq!(name.parse::<HeadPlan>().unwrap().to_string(), name);
        }
        assert!("gits".parse::<HeadPlan>().unwrap_err().to_string().contains("choose sink"));
    }

    #[test]
    fn a_token_that_one_of_two_plants_wants_fades_slowly() {
        let plan: HeadPlan = "gist+content:digit".parse().unwrap();
        let beta = |is_boundary, kind| {
            plan.log_beta(&Planted { position: 9, tokens: 99, is_boundary, kind }, 0.0, Dice::new(1))
        };
        assert!(beta(true, None) > -0.01 && beta(false, Some(Kind::Digit)) > -0.01);
        assert!(beta(false, None) < -0.05);
    }
}
