//! Plausible text without a model: sentences with names, numbers, a sum now and then, paragraphs.

use super::dice::Dice;

const NAMES: [&str; 8] = [" Mia", " Tom", " Ada", " Oslo", " Lena", " Kofi", " Rome", " Igor"];
const VERBS: [&str; 8] = [" sees", " finds", " takes", " carries", " counts", " leaves", " paints", " brings"];
const NOUNS: [&str; 10] =
    [" apples", " bridge", " lamp", " river", " stones", " letter", " garden", " clock", " boat", " keys"];
const ADJECTIVES: [&str; 8] = [" red", " old", " quiet", " small", " heavy", " bright", " cold", " wide"];
const LINKS: [&str; 8] = [" near", " with", " and", " by", " under", " then", " for", " the"];
const STARTS: [&str; 6] = ["The", "Then", "Today", "Often", "Later", "Some"];
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// An endless text, token by token.
#[derive(Debug, Clone)]
pub struct Prose {
    dice: Dice,
    sentence: u64,
    waiting: std::vec::IntoIter<&'static str>,
}

impl Prose {
    /// The text of a seed.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), sentence: 0, waiting: Vec::new().into_iter() }
    }

    fn next_sentence(&mut self) -> Vec<&'static str> {
        let dice = self.dice.at(self.sentence);
        let mut tokens = Vec::new();
        if self.sentence % 6 == 5 {
            tokens.push("\n");
        } else if self.sentence > 0 {
            tokens.push(" ");
        }
        tokens.push(dice.at(1).pick(&STARTS));
        let words = 5 + (dice.at(2).even() * 9.0) as u64;
        for word in 0..words {
            let draw = dice.at(10 + word);
            match draw.even() {
                d if d < 0.10 => tokens.push(draw.at(1).pick(&NAMES)),
                d if d < 0.18 => tokens.extend([" ", draw.at(1).pick(&DIGITS)]),
                d if d < 0.22 => tokens.push(","),
                d if d < 0.40 => tokens.push(draw.at(1).pick(&VERBS)),
                d if d < 0.60 => tokens.push(draw.at(1).pick(&NOUNS)),
                d if d < 0.75 => tokens.push(draw.at(1).pick(&ADJECTIVES)),
                _ => tokens.push(draw.at(1).pick(&LINKS)),
            }
        }
        if dice.at(3).even() < 0.2 {
            let digit = |place: u64| dice.at(place).pick(&DIGITS);
            tokens.extend([" ", digit(4), " +", " ", digit(5), " =", " ", digit(6)]);
        }
        tokens.push(if dice.at(7).even() < 0.1 { "?" } else { "." });
        tokens
    }
}

impl Iterator for Prose {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        loop {
            if let Some(token) = self.waiting.next() {
                return Some(token);
            }
            self.waiting = self.next_sentence().into_iter();
            self.sentence += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_text_reads_like_one() {
        let text: String = Prose::new(3).take(400).collect();
        assert_eq!(text, Prose::new(3).take(400).collect::<String>());
        assert_ne!(text, Prose::new(4).take(400).collect::<String>());
        assert!(text.contains(". ") && text.contains('\n') && text.contains(" + ") && text.contains(" Mia"), "{text}");
    }
}
