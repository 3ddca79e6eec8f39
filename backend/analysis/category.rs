//! What a token is to a reader: digit, name, end of a sentence. One token may be several things.

use crate::text::TokenClass;
use crate::trace::step::{Origin, TokenRecord};

/// Something a head may care about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// The end of a sentence: `.`, `?`, `。`; not the point in `3.14`.
    SentenceEnd,
    /// A line break.
    Newline,
    /// A mark between clauses: `,` `;` `:` and their kin in other scripts.
    Separator,
    /// A number or a piece of one.
    Digit,
    /// Mathematics and code.
    Operator,
    /// A capitalised word that is not merely the first of its sentence.
    Name,
    /// Any other word.
    Word,
    /// A control token of the model.
    Special,
    /// Part of the prompt.
    Prompt,
    /// What the prompt asks: the system message and the last sentence of each user message.
    Instruction,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 10] = [
        Self::SentenceEnd,
        Self::Newline,
        Self::Separator,
        Self::Digit,
        Self::Operator,
        Self::Name,
        Self::Word,
        Self::Special,
        Self::Prompt,
        Self::Instruction,
    ];
    /// Boundaries of the text: a head that keeps these keeps its gist (the paper's Figure 4, L30H4).
    pub const GIST: [Self; 3] = [Self::SentenceEnd, Self::Newline, Self::Separator];
    /// What the text is about.
    pub const CONTENT: [Self; 3] = [Self::Digit, Self::Operator, Self::Name];

    /// The name in outputs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SentenceEnd => "sentence_end",
            Self::Newline => "newline",
            Self::Separator => "separator",
            Self::Digit => "digit",
            Self::Operator => "operator",
            Self::Name => "name",
            Self::Word => "word",
            Self::Special => "special",
            Self::Prompt => "prompt",
            Self::Instruction => "instruction",
        }
    }

    /// The name in sentences.
    pub fn plural(self) -> &'static str {
        match self {
            Self::SentenceEnd => "sentence ends",
            Self::Newline => "line breaks",
            Self::Separator => "separators",
            Self::Digit => "digits",
            Self::Operator => "operators",
            Self::Name => "names",
            Self::Word => "words",
            Self::Special => "special tokens",
            Self::Prompt => "prompt",
            Self::Instruction => "instruction",
        }
    }

    /// Whether it says where in the text a token stands, not what it is.
    pub fn is_span(self) -> bool {
        matches!(self, Self::Prompt | Self::Instruction)
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The categories of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Categories(u16);

impl Categories {
    /// Whether the token is of this category.
    pub fn has(self, category: Category) -> bool {
        self.0 & category.bit() != 0
    }

    /// Whether it is of any of these.
    pub fn has_any(self, categories: &[Category]) -> bool {
        categories.iter().any(|&category| self.has(category))
    }

    fn add(&mut self, category: Category) {
        self.0 |= category.bit();
    }
}

/// What is known of a token: the columns of `tokens` that matter here.
#[derive(Debug, Clone, Copy)]
pub struct TokenFacts<'a> {
    /// Its text; empty where there is none.
    pub text: &'a str,
    /// Its class.
    pub class: TokenClass,
    /// Whether the user gave it.
    pub in_prompt: bool,
    /// `system`, `user`, ..., where the chat template tells.
    pub role: Option<&'a str>,
}

impl<'a> TokenFacts<'a> {
    /// What a trace tells of a token. Its reader has made sure that the class is a known one.
    pub fn of(token: &'a TokenRecord) -> Self {
        Self {
            text: token.text.as_deref().unwrap_or(""),
            class: TokenClass::named(token.class).unwrap_or(TokenClass::Other),
            in_prompt: token.origin == Origin::Prompt,
            role: token.role,
        }
    }
}

/// The categories of every token, in order. Names and decimal points need the neighbours.
pub fn categorise(tokens: &[TokenFacts<'_>]) -> Vec<Categories> {
    let mut found = vec![Categories::default(); tokens.len()];
    for (index, token) in tokens.iter().enumerate() {
        let own = match token.class {
            TokenClass::SentenceEnd if !is_decimal_point(tokens, index) => Some(Category::SentenceEnd),
            TokenClass::Newline => Some(Category::Newline),
            TokenClass::Punctuation if is_separator(token.text) => Some(Category::Separator),
            TokenClass::Digit => Some(Category::Digit),
            TokenClass::Operator => Some(Category::Operator),
            TokenClass::Word => Some(Category::Word),
            TokenClass::Special => Some(Category::Special),
            _ => None,
        };
        if let Some(category) = own {
            found[index].add(category);
        }
        if token.in_prompt {
            found[index].add(Category::Prompt);
        }
    }
    super::name::names(tokens, &found).into_iter().for_each(|index| {
        // A name is no longer just a word.
        found[index].0 &= !Category::Word.bit();
        found[index].add(Category::Name);
    });
    instruction(tokens, &found).into_iter().for_each(|index| found[index].add(Category::Instruction));
    found
}

/// `3` `.` `14`: a point between digits, without white space.
fn is_decimal_point(tokens: &[TokenFacts<'_>], index: usize) -> bool {
    let ends_in_digit = |token: &TokenFacts<'_>| token.text.ends_with(char::is_numeric);
    let starts_with_digit = |token: &TokenFacts<'_>| token.text.starts_with(char::is_numeric);
    tokens[index].text == "."
        && index.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(ends_in_digit)
        && tokens.get(index + 1).is_some_and(starts_with_digit)
}

/// Commas, colons, semicolons and dashes, alone: brackets and quotes do not part clauses.
fn is_separator(text: &str) -> bool {
    let core = text.trim();
    !core.is_empty() && core.chars().all(|c| ",;:،؛、，；：–—".contains(c))
}

/// The system message, and of each run of user tokens the last sentence: what is asked.
fn instruction(tokens: &[TokenFacts<'_>], found: &[Categories]) -> Vec<usize> {
    let mut marked: Vec<usize> = (0..tokens.len()).filter(|&index| tokens[index].role == Some("system")).collect();
    let mut end = tokens.len();
    while end > 0 {
        if tokens[end - 1].role != Some("user") {
            end -= 1;
            continue;
        }
        let start = (0..end).rev().take_while(|&index| tokens[index].role == Some("user")).last().unwrap_or(end);
        let ends_sentence = |index: usize| found[index].has_any(&[Category::SentenceEnd, Category::Newline]);
        // The last token that is not itself an end, then back to the end before it.
        let body = (start..end).rev().find(|&index| !ends_sentence(index)).unwrap_or(start);
        let first = (start..body).rev().find(|&index| ends_sentence(index)).map_or(start, |index| index + 1);
        marked.extend(first..end);
        end = start;
    }
    marked
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::text::classify;

    /// Tokens of a text, one for every piece.
    pub fn facts<'a>(pieces: &[&'a str]) -> Vec<TokenFacts<'a>> {
        let fact = |text: &&'a str| TokenFacts {
            text,
            class: classify(text, text.starts_with("<|")),
            in_prompt: false,
            role: None,
        };
        pieces.iter().map(fact).collect()
    }

    /// The pieces of `category`.
    pub fn of(category: Category, pieces: &[&str]) -> Vec<String> {
        let found = categorise(&facts(pieces));
        pieces.iter().zip(found).filter(|(_, own)| own.has(category)).map(|(text, _)| text.trim().to_owned()).collect()
    }

    #[test]
    fn a_point_between_digits_ends_no_sentence() {
        let pieces = ["It", " is", " 3", ".", "14", ".", " So", " x", " =", " 2", ".", "\n"];
        assert_eq!(of(Category::SentenceEnd, &pieces).len(), 2);
        assert_eq!(of(Category::Newline, &pieces).len(), 1);
    }

    #[test]
    fn separators_part_clauses_in_any_script() {
        let pieces = ["a", ",", " b", ":", " (", "猫", "、", "犬", "，", "です", "。", " —", "\\frac", "{", ";"];
        assert_eq!(of(Category::Separator, &pieces), [",", ":", "、", "，", "—", ";"]);
        assert_eq!(of(Category::SentenceEnd, &pieces), ["。"]);
        assert_eq!(of(Category::Operator, &pieces), ["\\frac"]);
    }

    #[test]
    fn the_instruction_is_the_system_message_and_the_last_sentence_of_the_user() {
        let pieces = ["Be", " brief", ".", "Tom", " ran", ".", " Where", " to", "?", "\n", "Home", "."];
        let roles = ["system"; 3].iter().chain(&["user"; 7]).chain(&["assistant"; 2]).copied();
        let tokens: Vec<_> =
            facts(&pieces).into_iter().zip(roles).map(|(fact, role)| TokenFacts { role: Some(role), ..fact }).collect();
        let found = categorise(&tokens);
        let asked: Vec<_> =
            pieces.iter().zip(&found).filter(|(_, own)| own.has(Category::Instruction)).map(|(p, _)| *p).collect();
        assert_eq!(asked, ["Be", " brief", ".", " Where", " to", "?", "\n"]);
    }

    #[test]
    fn every_category_has_a_bit_and_a_name_of_its_own() {
        let bits: u32 = Category::ALL.iter().map(|category| u32::from(category.bit())).sum();
        assert_eq!(bits.count_ones() as usize, Category::ALL.len());
        let names: std::collections::BTreeSet<_> = Category::ALL.iter().map(|category| category.as_str()).collect();
        assert_eq!(names.len(), Category::ALL.len());
    }
}
