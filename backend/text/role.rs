//! The part that each token plays in a conversation.

use std::fmt;
use std::ops::Range;

use super::chat::Speaker;
use super::tokenizer::Encoded;

/// Whose words a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The instructions.
    System,
    /// The person.
    User,
    /// The model's answer.
    Assistant,
    /// What the model writes before it answers.
    Think,
    /// What the chat template put around them.
    Template,
}

impl Role {
    /// The name written to the trace, e.g. `"assistant"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Think => "think",
            Self::Template => "template",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Speaker> for Role {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::System => Self::System,
            Speaker::User => Self::User,
            Speaker::Assistant => Self::Assistant,
        }
    }
}

/// Where a message's content is in the text of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSpan {
    /// Whose message it is.
    pub role: Role,
    /// Its bytes in the text.
    pub bytes: Range<usize>,
}

/// Tells the role of every token of a prompt.
///
/// A token has the role of the content that it starts in, or that it reaches into with more than white space; every other
/// token belongs to the template. White space does not count because `<|user|>` may swallow the line break after it and
/// with it the indentation of a message.
pub fn prompt_roles(rendered: &str, contents: &[ContentSpan], tokens: &[Encoded]) -> Vec<Role> {
    let role_of = |token: &Encoded| {
        let content = contents.iter().find(|content| belongs(rendered, &token.bytes, &content.bytes));
        content.map_or(Role::Template, |content| content.role)
    };
    tokens.iter().map(role_of).collect()
}

fn belongs(rendered: &str, token: &Range<usize>, content: &Range<usize>) -> bool {
    let shared = token.start.max(content.start)..token.end.min(content.end);
    let shares_words = || rendered.get(shared.clone()).is_none_or(|text| !text.trim().is_empty());
    !shared.is_empty() && (content.contains(&token.start) || shares_words())
}

const THINK: &str = "<think>";
const END_OF_THINK: &str = "</think>";

/// Tells the role of generated tokens, one at a time.
///
/// The thinking block includes its two tags. If `<think>` is spelled in several tokens, those before the last one count
/// as answer, because only the last one shows what they meant.
#[derive(Debug, Clone)]
pub struct GeneratedRoles {
    thinking: bool,
    /// The last text seen, long enough for a tag that is not finished.
    tail: String,
}

impl GeneratedRoles {
    /// Starts after `prompt`: inside the thinking block if it ends with an open `<think>`.
    pub fn after(prompt: &str) -> Self {
        Self { thinking: prompt.trim_end().ends_with(THINK), tail: String::new() }
    }

    /// Returns the role of the next token from its share of the text.
    pub fn next(&mut self, share: &str, special: bool) -> Role {
        let was_thinking = self.thinking;
        let saw_tag = self.read(share);
        match (saw_tag, special, was_thinking) {
            // Some tokenizers list the tags among their special tokens.
            (true, _, _) => Role::Think,
            (_, true, _) => Role::Template,
            (_, _, true) => Role::Think,
            _ => Role::Assistant,
        }
    }

    /// Follows the tags that `share` completes and tells whether there was one.
    fn read(&mut self, share: &str) -> bool {
        self.tail.push_str(share);
        let mut saw_tag = false;
        loop {
            let tag = if self.thinking { END_OF_THINK } else { THINK };
            let Some(start) = self.tail.find(tag) else {
                break;
            };
            self.tail.drain(..start + tag.len());
            self.thinking = !self.thinking;
            saw_tag = true;
        }
        let unfinished = self.tail.len().saturating_sub(END_OF_THINK.len() - 1);
        self.tail.drain(..self.tail.floor_char_boundary(unfinished));
        saw_tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: Range<usize>) -> Encoded {
        Encoded { id: 0, bytes }
    }

    fn roles(prompt: &str, shares: &[&str]) -> Vec<Role> {
        let mut roles = GeneratedRoles::after(prompt);
        shares.iter().map(|share| roles.next(share, share.starts_with("<|"))).collect()
    }

    #[test]
    fn tokens_that_reach_into_a_content_belong_to_it() {
        let text = "<u>\n  hi you<e>";
        let contents = [ContentSpan { role: Role::User, bytes: 4..12 }];
        let tokens = [0..0, 0..6, 3..7, 6..8, 8..12, 11..15, 12..15].map(token);
        let expected = [Role::Template, Role::Template, Role::User, Role::User, Role::User, Role::User, Role::Template];
        assert_eq!(prompt_roles(text, &contents, &tokens), expected);
    }

    #[test]
    fn every_token_of_one_character_belongs_to_its_content() {
        let contents = [ContentSpan { role: Role::System, bytes: 1..5 }];
        assert_eq!(
            prompt_roles("a🙂b", &contents, &[token(1..5), token(1..5), token(5..6)]),
            [Role::System, Role::System, Role::Template]
        );
    }

    #[test]
    fn thinking_lasts_from_tag_to_tag() {
        use Role::{Assistant, Template, Think};
        assert_eq!(roles("user: hi", &["a", "b", "<|im_end|>"]), [Assistant, Assistant, Template]);
        let shares = ["<think>", "\n", "hm", "</think>", "\n\n", "yes", "<|im_end|>"];
        assert_eq!(roles("", &shares), [Think, Think, Think, Think, Assistant, Assistant, Template]);
    }

    #[test]
    fn an_open_tag_at_the_end_of_the_prompt_counts() {
        use Role::{Assistant, Think};
        assert_eq!(roles("<think>\n", &["hm", "</think>", "yes"]), [Think, Think, Assistant]);
        assert_eq!(roles("<think>\n\n</think>\n\n", &["yes"]), [Assistant]);
        assert_eq!(roles("<think> aloud", &["yes"]), [Assistant]);
    }

    #[test]
    fn tags_may_be_spelled_in_several_tokens() {
        use Role::{Assistant, Think};
        let shares = ["é", "<", "think", ">", "é", "", "</", "think", ">\n", "é"];
        let expected = [Assistant, Assistant, Assistant, Think, Think, Think, Think, Think, Think, Assistant];
        assert_eq!(roles("", &shares), expected);
    }

    #[test]
    fn one_token_may_hold_a_whole_block() {
        assert_eq!(roles("", &["<think></think>", "yes"]), [Role::Think, Role::Assistant]);
    }

    #[test]
    fn the_memory_of_the_state_machine_is_bounded() {
        let mut roles = GeneratedRoles::after("");
        for _ in 0..100 {
            roles.next("🙂 some long text without a tag", false);
            assert!(roles.tail.len() <= END_OF_THINK.len() + 3, "{}", roles.tail);
        }
    }
}
