//! One chat: a story, and turns that ask about it.

use rand::seq::{IndexedMutRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::fact::{self, Asked, Facts, Family};
use super::filler;

/// What a document should be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Tokens of the whole chat, nearly: it is never longer, and shorter by less than a sentence and a turn.
    pub tokens: usize,
    /// Turns at most; the story takes what they leave.
    pub turns: usize,
    /// Facts told of each kind that is told, at least.
    pub fewest_facts: usize,
    /// Facts told of each kind that is told, at most.
    pub facts: usize,
    /// Ask about this family only, instead of any.
    pub only: Option<Family>,
}

/// A question and its answer.
pub type Turn = Asked;

/// A chat.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What is told before the first question.
    pub story: String,
    /// Questions and answers; empty in a document of prose.
    pub turns: Vec<Turn>,
    /// How the assistant goes on with the story, in a document of prose.
    pub continuation: Option<String>,
}

/// A message as in `{"messages": [...]}` files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `user` or `assistant`.
    pub role: &'static str,
    /// What was said.
    pub content: String,
}

/// Tokens that a message costs beside its content: start, role, newline, end, newline.
const MESSAGE: usize = 5;
/// Share of documents without questions: the assistant goes on with the story.
const PROSE: f64 = 0.04;

impl Document {
    /// The document of a seed.
    pub fn new(plan: Plan, seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        if plan.only.is_none() && rng.random_bool(PROSE) {
            return Self::prose(plan, rng);
        }
        let facts = tell(plan, rng);
        // Kinds are asked about equally often, however many facts each has.
        let mut unasked: Vec<Vec<Asked>> = facts.iter().map(|facts| facts.asked.clone()).collect();
        if let Some(only) = plan.only {
            unasked.retain(|asked| asked.iter().all(|asked| asked.family == only));
        }
        unasked.iter_mut().for_each(|asked| asked.shuffle(rng));
        let mut left = plan.tokens.saturating_sub(1 + facts.iter().map(Facts::tokens).sum::<usize>());
        let mut turns: Vec<Turn> = Vec::new();
        while turns.len() < plan.turns.max(1) {
            unasked.retain(|asked| !asked.is_empty());
            let Some(asked) = unasked.choose_mut(rng).and_then(Vec::pop) else { break };
            let cost = asked.tokens();
            if cost > left && !turns.is_empty() {
                break;
            }
            left = left.saturating_sub(cost);
            turns.push(asked);
        }
        Self { story: story(facts, left, rng), turns, continuation: None }
    }

    /// A story without facts, which the assistant continues.
    fn prose(plan: Plan, rng: &mut impl Rng) -> Self {
        let room = plan.tokens.saturating_sub(2 * MESSAGE + 1);
        let told = rng.random_range(room / 8..=room / 2);
        let continuation = story(Vec::new(), room - told, rng);
        Self { story: story(Vec::new(), told, rng), turns: Vec::new(), continuation: Some(continuation) }
    }

    /// The chat as messages: the story stands before the first question.
    pub fn messages(&self) -> Vec<Message> {
        let user = |content| Message { role: "user", content };
        let assistant = |content: &String| Message { role: "assistant", content: content.clone() };
        let questions = self.turns.iter().skip(1).map(|turn| turn.question.clone());
        let asked = std::iter::once(self.prompt()).chain(questions).map(user);
        let answers = self.turns.iter().map(|turn| &turn.answer).chain(&self.continuation).map(assistant);
        asked.zip(answers).flat_map(|(user, assistant)| [user, assistant]).collect()
    }

    /// The first message: the story and, where there is one, the first question.
    pub fn prompt(&self) -> String {
        let question = self.turns.first().map(|turn| turn.question.as_str());
        [self.story.as_str(), question.unwrap_or_default()].join(" ").trim().to_owned()
    }
}

impl Facts {
    fn tokens(&self) -> usize {
        self.sentences.iter().map(|sentence| tokens(sentence)).sum()
    }
}

impl Asked {
    fn tokens(&self) -> usize {
        tokens(&self.question) + tokens(&self.answer) + 2 * MESSAGE
    }
}

/// Tokens of a text: words, digits and runs of punctuation.
pub fn tokens(text: &str) -> usize {
    let kind = |c: char| {
        if c.is_alphabetic() {
            1
        } else if c.is_ascii_digit() {
            2
        } else {
            3
        }
    };
    let mut count = 0;
    for word in text.split_whitespace() {
        let mut last = 0;
        for c in word.chars() {
            if kind(c) != last || kind(c) == 2 {
                count += 1;
            }
            last = kind(c);
        }
    }
    count
}

/// Facts for a plan: of every kind when there is room, and always of the kind that is asked for.
fn tell(plan: Plan, rng: &mut impl Rng) -> Vec<Facts> {
    let most = plan.facts.max(1);
    let kinds = [Family::Codes, Family::Places, Family::Steps, Family::Sums];
    let mut chosen: Vec<Family> = kinds.into_iter().filter(|_| rng.random_bool(0.75)).collect();
    let wanted = plan.only;
    if let Some(wanted) = wanted.filter(|wanted| !chosen.contains(wanted)) {
        chosen.push(wanted);
    }
    if chosen.is_empty() {
        chosen.extend(kinds);
    }
    chosen.shuffle(rng);
    let mut room = plan.tokens / 2;
    let mut told = Vec::new();
    for family in chosen {
        let count = rng.random_range(plan.fewest_facts.clamp(1, most)..=most);
        let facts = match family {
            Family::Codes => fact::codes(count.min(16), rng),
            Family::Places => fact::places(count.min(16), rng),
            Family::Steps => fact::steps(count.min(16), rng),
            Family::Sums => fact::sums(count.min(3), rng),
        };
        let cost = facts.tokens();
        if cost <= room || wanted == Some(family) || told.is_empty() {
            room = room.saturating_sub(cost);
            told.push(facts);
        }
    }
    told
}

/// Facts among filler of at most `room` tokens. Facts of one kind keep their order; kinds are mixed at random.
fn story(facts: Vec<Facts>, room: usize, rng: &mut impl Rng) -> String {
    let mut order: Vec<usize> =
        facts.iter().enumerate().flat_map(|(kind, facts)| vec![kind; facts.sentences.len()]).collect();
    let mut fillers = Vec::new();
    let mut left = room;
    loop {
        let sentence = filler::sentence(rng);
        let cost = tokens(&sentence);
        if cost > left {
            break;
        }
        left -= cost;
        fillers.push(sentence);
    }
    let filler = facts.len();
    order.extend(vec![filler; fillers.len()]);
    order.shuffle(rng);
    let mut queues: Vec<_> = facts.into_iter().map(|facts| facts.sentences.into_iter()).collect();
    queues.push(fillers.into_iter());
    order.into_iter().filter_map(|kind| queues[kind].next()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { tokens: 400, turns: 6, fewest_facts: 2, facts: 5, only: None };

    #[test]
    fn a_seed_gives_the_same_document_again_and_another_seed_another() {
        assert_eq!(Document::new(PLAN, 7), Document::new(PLAN, 7));
        assert_ne!(Document::new(PLAN, 7), Document::new(PLAN, 8));
    }

    #[test]
    fn documents_are_never_longer_than_planned_and_seldom_much_shorter() {
        let lengths = (0..200).map(|seed| {
            let document = Document::new(PLAN, seed);
            1 + document.messages().iter().map(|message| tokens(&message.content) + MESSAGE).sum::<usize>()
        });
        // Messages after the last cost nothing more; a sentence or a turn may not have fitted.
        let lengths: Vec<usize> = lengths.collect();
        assert!(lengths.iter().all(|&length| length <= PLAN.tokens), "{lengths:?}");
        let short = lengths.iter().filter(|&&length| length + 30 < PLAN.tokens).count();
        assert!(short < 10, "{short} of 200 leave more than 30 tokens unused");
    }

    #[test]
    fn every_question_is_answered_by_sentences_of_the_story() {
        for seed in 0..200 {
            for family in Family::ALL {
                let document = Document::new(Plan { only: Some(family), turns: 1, ..PLAN }, seed);
                let turn = &document.turns[0];
                assert_eq!(turn.family, family);
                let answer = turn.answer.trim_start_matches("Answer: ");
                let told = match family {
                    Family::Sums => answer.split('.').next().unwrap_or_default().to_owned(),
                    _ => answer.to_owned(),
                };
                assert!(document.story.contains(&told), "{told:?} is not in {:?}", document.story);
            }
        }
    }

    #[test]
    fn lookups_have_one_right_answer() {
        for seed in 0..200 {
            let document = Document::new(Plan { facts: 16, fewest_facts: 16, tokens: 1500, ..PLAN }, seed);
            for turn in &document.turns {
                let key = match turn.family {
                    Family::Codes => turn.question.trim_start_matches("What is the ").trim_end_matches('?'),
                    Family::Places => turn.question.trim_start_matches("Where is ").trim_end_matches('?'),
                    _ => continue,
                };
                let key = if turn.family == Family::Places { format!("{key} is in") } else { key.to_owned() };
                assert_eq!(document.story.matches(&key).count(), 1, "{key} in {}", document.story);
            }
        }
    }

    #[test]
    fn running_totals_add_up() {
        let plan = Plan { only: Some(Family::Sums), turns: 1, ..PLAN };
        for seed in 0..200 {
            let answer = &Document::new(plan, seed).turns[0].answer;
            let mut total = None;
            for sentence in answer.split('.').filter(|sentence| sentence.contains('=')) {
                let words: Vec<&str> = sentence.split_whitespace().collect();
                let number = |at: usize| words[at].parse::<i32>().unwrap();
                let change = if words[3] == "+" { number(4) } else { -number(4) };
                assert_eq!(number(2) + change, number(6), "{answer}");
                assert!(total.is_none_or(|total| total == number(2)), "{answer}");
                total = Some(number(6));
            }
            assert!(answer.ends_with(&format!("The answer is {}.", total.unwrap())), "{answer}");
        }
    }

    #[test]
    fn days_are_told_in_their_order() {
        for seed in 0..100 {
            let story = Document::new(Plan { only: Some(Family::Sums), ..PLAN }, seed).story;
            let places: Vec<usize> =
                crate::corpus::words::DAYS.iter().filter_map(|day| story.find(&format!("On {day} "))).collect();
            assert!(places.len() > 1 && places.is_sorted(), "{story}");
        }
    }

    #[test]
    fn some_documents_are_prose_that_goes_on() {
        let prose: Vec<Document> =
            (0..500).map(|seed| Document::new(PLAN, seed)).filter(|d| d.turns.is_empty()).collect();
        assert!((5..60).contains(&prose.len()), "{}", prose.len());
        for document in prose {
            let messages = document.messages();
            assert_eq!(messages.len(), 2);
            assert!(messages.iter().all(|message| message.content.ends_with('.')));
        }
    }
}
