//! Sentences that nobody asks about.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::words::{DEEDS, MANNERS, QUALITIES, RELATIONS, SIGHTS, SUBJECTS, invented};

/// Share of filler sentences whose subject is a word that no list holds.
const INVENTED: f64 = 0.03;

/// One sentence with its full stop and without surrounding space.
pub fn sentence(rng: &mut impl Rng) -> String {
    let mut pick = |from: &[&'static str]| from.choose(rng).copied().unwrap_or_default();
    let (quality, deed, relation) = (pick(&QUALITIES), pick(&DEEDS), pick(&RELATIONS));
    let (sight, manner, other) = (pick(&SIGHTS), pick(&MANNERS), pick(&QUALITIES));
    let known = pick(&SUBJECTS);
    let subject = if rng.random_bool(INVENTED) { invented(rng) } else { known.to_owned() };
    match rng.random_range(0..8) {
        0 => format!("The {quality} {subject} {deed} {relation} the {sight}."),
        1 => format!("A {subject} {deed} {manner}."),
        2 => format!("Some say the {subject} {deed} {manner}."),
        3 => format!("{} the {quality} {subject} {deed} {relation} the {other} {sight}.", capitalised(manner)),
        4 => format!("The {subject} {relation} the {sight} is {quality}."),
        5 => format!("{} the {sight}, a {quality} {subject} {deed}.", capitalised(relation)),
        6 => format!("It is {quality} {relation} the {sight}, and the {subject} {deed}."),
        _ => format!("The {subject} {deed} {manner} {relation} the {other} {sight}."),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
