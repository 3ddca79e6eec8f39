//! Facts and what can be asked about them, by family.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::words::{ACTIONS, DAYS, GAINS, LOSSES, NAMES, OBJECTS, PLACES, THINGS};

/// A kind of question. Each needs its own kind of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Three digits that belong to a person.
    Codes,
    /// The place where a person is.
    Places,
    /// Two words that belong to a person.
    Steps,
    /// A running total over weekdays, worked out aloud.
    Sums,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Codes, Self::Places, Self::Steps, Self::Sums];

    /// Its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Codes => "codes",
            Self::Places => "places",
            Self::Steps => "steps",
            Self::Sums => "sums",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|family| family.as_str() == name);
        known.ok_or_else(|| format!("there is no family {name:?}; choose codes, places, steps or sums"))
    }
}

/// A question, its answer, and how often a guess among the story's own facts would be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What kind.
    pub family: Family,
    /// The question.
    pub question: String,
    /// The answer, word for word.
    pub answer: String,
    /// Share of right answers when one copies a fact of the right kind from the story at random.
    pub guess: f64,
}

/// Facts of one kind: sentences that must stand in this order, and the questions they answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Sentences, in the order in which they must be told.
    pub sentences: Vec<String>,
    /// Every question that they answer.
    pub asked: Vec<Asked>,
}

impl Facts {
    fn none() -> Self {
        Self { sentences: Vec::new(), asked: Vec::new() }
    }

    /// Tells one of `count` like facts, and asks for it: the answer is the sentence itself.
    fn tell(&mut self, family: Family, told: String, question: String, count: usize) {
        self.asked.push(Asked { family, question, answer: format!("Answer: {told}"), guess: 1.0 / count as f64 });
        self.sentences.push(told);
    }
}

/// `count` people with a code each.
pub fn codes(count: usize, rng: &mut impl Rng) -> Facts {
    let mut facts = Facts::none();
    for name in NAMES.choose_multiple(rng, count) {
        let [a, b, c] = std::array::from_fn(|_| rng.random_range(0..10u8));
        let told = format!("The code of {name} is {a} {b} {c}.");
        facts.tell(Family::Codes, told, format!("What is the code of {name}?"), count);
    }
    facts
}

/// `count` people at a place each, no two at the same.
pub fn places(count: usize, rng: &mut impl Rng) -> Facts {
    let mut facts = Facts::none();
    let mut places = PLACES;
    places.shuffle(rng);
    for (name, place) in NAMES.choose_multiple(rng, count).zip(places) {
        facts.tell(Family::Places, format!("{name} is in the {place}."), format!("Where is {name}?"), count);
    }
    facts
}

/// `count` people with a step of the work each.
pub fn steps(count: usize, rng: &mut impl Rng) -> Facts {
    let mut facts = Facts::none();
    for name in NAMES.choose_multiple(rng, count) {
        let action = ACTIONS.choose(rng).copied().unwrap_or_default();
        let thing = THINGS.choose(rng).copied().unwrap_or_default();
        let told = format!("The step of {name} is {action} {thing}.");
        facts.tell(Family::Steps, told, format!("What is the step of {name}?"), count);
    }
    facts
}

/// What one person has, and how it changes on the first `count` days of the week. Totals are digits.
pub fn sums(count: usize, rng: &mut impl Rng) -> Facts {
    let name = NAMES.choose(rng).copied().unwrap_or_default();
    let object = OBJECTS.choose(rng).copied().unwrap_or_default();
    let mut total = rng.random_range(0..10u8);
    let mut facts = Facts { sentences: vec![format!("{name} has {total} {object}.")], asked: Vec::new() };
    let mut worked = format!("Answer: {name} has {total}.");
    for day in DAYS.into_iter().take(count) {
        let next = loop {
            let next = rng.random_range(0..10u8);
            if next != total {
                break next;
            }
        };
        let (verbs, sign) = if next > total { (&GAINS, '+') } else { (&LOSSES, '-') };
        let verb = verbs.choose(rng).copied().unwrap_or_default();
        let change = next.abs_diff(total);
        facts.sentences.push(format!("On {day} {name} {verb} {change} {object}."));
        worked.push_str(&format!(" On {day} {total} {sign} {change} = {next}."));
        total = next;
        facts.asked.push(Asked {
            family: Family::Sums,
            question: format!("How many {object} after {day}?"),
            answer: format!("{worked} The answer is {total}."),
            // Totals are spread over ten digits.
            guess: 0.1,
        });
    }
    facts
}
