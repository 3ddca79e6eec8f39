//! Which words are names, judged by their capitals.
//!
//! A word is a name when it starts with a capital where grammar asks for none: in the middle of a sentence. A word that
//! opens a sentence is one if the text also writes it so in the middle of another, and never in lower case. All pieces of
//! a split word count. `I` and other single letters do not, nor do scripts without capitals; German nouns, weekdays and
//! words of code such as `CamelCase` do.

use std::collections::HashSet;
use std::ops::Range;

use super::category::{Categories, Category, TokenFacts};
use crate::text::TokenClass;

/// A word, its tokens and whether it opens a sentence.
struct Spelled {
    tokens: Range<usize>,
    text: String,
    opens: bool,
}

/// Positions of the tokens that belong to names.
pub(super) fn names(tokens: &[TokenFacts<'_>], found: &[Categories]) -> Vec<usize> {
    let words = words(tokens, found);
    let with = |keep: fn(&Spelled) -> bool| -> HashSet<&str> {
        words.iter().filter(|word| keep(word)).map(|word| word.text.as_str()).collect()
    };
    let inner = with(|word| !word.opens && is_capitalised(&word.text));
    let lower = with(|word| word.text.starts_with(char::is_lowercase));
    let is_name = |word: &&Spelled| {
        is_capitalised(&word.text)
            && (!word.opens
                || (inner.contains(word.text.as_str()) && !lower.contains(word.text.to_lowercase().as_str())))
    };
    words.iter().filter(is_name).flat_map(|word| word.tokens.clone()).collect()
}

fn is_capitalised(text: &str) -> bool {
    text.starts_with(char::is_uppercase) && text.chars().nth(1).is_some_and(char::is_alphabetic)
}

fn words(tokens: &[TokenFacts<'_>], found: &[Categories]) -> Vec<Spelled> {
    let mut words: Vec<Spelled> = Vec::new();
    let mut opens = true;
    for (index, token) in tokens.iter().enumerate() {
        match token.class {
            TokenClass::Word => {
                let text = token.text.trim_start().trim_start_matches(['(', '"', '\'', '“', '‘', '_', '*']);
                let continues = words.last().is_some_and(|word| word.tokens.end == index)
                    && token.text.starts_with(char::is_alphanumeric)
                    && tokens[index - 1].text.ends_with(char::is_alphanumeric);
                match words.last_mut().filter(|_| continues) {
                    Some(word) => {
                        word.tokens.end = index + 1;
                        word.text.push_str(text.trim_end());
                    }
                    None => words.push(Spelled { tokens: index..index + 1, text: text.trim_end().to_owned(), opens }),
                }
                opens = token.text.contains('\n');
            }
            // Quotes, brackets, list numbers and blanks leave the start of a sentence where it was; a colon makes one.
            TokenClass::SentenceEnd => opens |= found[index].has(Category::SentenceEnd),
            TokenClass::Newline | TokenClass::Special => opens = true,
            TokenClass::Punctuation => opens |= token.text.contains([':', '：', '\n']),
            TokenClass::Digit | TokenClass::Operator => opens &= token.text.trim_end_matches('.').len() < 4,
            TokenClass::Space | TokenClass::Other => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::category::tests::of;

    #[test]
    fn capitals_inside_a_sentence_are_names_and_at_its_start_only_if_they_are_elsewhere() {
        let pieces =
            ["Mia", " met", " Tom", ".", " Tom", " ran", ".", " The", " dog", " saw", " Mia", " and", " I", "."];
        assert_eq!(of(Category::Name, &pieces), ["Mia", "Tom", "Tom", "Mia"]);
    }

    #[test]
    fn a_word_also_written_small_is_no_name_at_the_start_of_a_sentence() {
        let pieces = ["He", " said", " Will", " will", " go", ".", " Will", " ran", "."];
        assert_eq!(of(Category::Name, &pieces), ["Will"]);
    }

    #[test]
    fn all_pieces_of_a_split_name_count() {
        let pieces = [" near", " K", "önig", "sberg", " in", " Prussia", "n", " lands"];
        assert_eq!(of(Category::Name, &pieces), ["K", "önig", "sberg", "Prussia", "n"]);
    }

    #[test]
    fn scripts_without_capitals_and_latex_have_no_names() {
        assert!(of(Category::Name, &["東京", "は", "大", "きい", "。", "\\Delta", " x"]).is_empty());
    }

    #[test]
    fn after_a_quote_or_a_list_number_a_capital_still_opens_the_sentence() {
        assert!(
            of(Category::Name, &["He", " said", ":", " \"", "Go", "\".", "\n", "1", ".", " Boil", " it", "."])
                .is_empty()
        );
    }
}
