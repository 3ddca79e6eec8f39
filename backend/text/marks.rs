//! Finds what a message became in the text of a prompt, by rendering it once more with marks around it.
//!
//! Searching for the content alone goes wrong for the message `user`, which a template also writes as a heading. The marks
//! are noncharacters, which no text contains.

use std::ops::Range;

use super::chat::{Message, Speaker};
use super::role::{ContentSpan, Role};

const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';

/// Messages whose index is written behind the opening mark, as one private-use character.
const INDICES: Range<u32> = 0xf_0000..0xf_ffff;

/// The bytes of a message's content that every template keeps.
///
/// Templates trim contents, and those of reasoning models drop what an assistant thought in earlier turns.
fn kept_bytes(message: &Message) -> Range<usize> {
    let content = message.content.as_str();
    let answer = match message.role {
        Speaker::Assistant => content.rsplit_once("</think>").map_or(content, |(_, answer)| answer),
        Speaker::System | Speaker::User => content,
    };
    // The answer is the end of the content, so counting from the end finds it.
    let start = content.len() - answer.trim_start().len();
    start..start + answer.trim().len()
}

fn kept_part(message: &Message) -> &str {
    &message.content[kept_bytes(message)]
}

/// Puts marks around the kept part of every message; none if they could be mistaken.
pub(super) fn mark(messages: &[Message]) -> Option<Vec<Message>> {
    let marked = messages.iter().zip(INDICES).map(|(message, index)| {
        if message.content.contains([OPEN, CLOSE]) {
            return None;
        }
        let kept = kept_bytes(message);
        let mut content = message.content.clone();
        if !kept.is_empty() {
            content.insert(kept.end, CLOSE);
            content.insert(kept.start, char::from_u32(index)?);
            content.insert(kept.start, OPEN);
        }
        Some(Message { role: message.role, content })
    });
    marked.collect::<Option<Vec<Message>>>().filter(|marked| marked.len() == messages.len())
}

/// Takes the marks out of `marked` again and tells where they were.
///
/// None unless the rest is exactly `rendered` and every message that says something was found.
pub(super) fn read_marks(marked: &str, rendered: &str, messages: &[Message]) -> Option<Vec<ContentSpan>> {
    let mut plain = String::with_capacity(marked.len());
    let mut spans = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut chars = marked.chars();
    while let Some(c) = chars.next() {
        match (c, open) {
            (OPEN, None) => {
                let message = u32::from(chars.next()?).checked_sub(INDICES.start)? as usize;
                open = Some((message, plain.len()));
            }
            (CLOSE, Some((message, start))) => {
                let role = Role::from(messages.get(message)?.role);
                spans.push((message, ContentSpan { role, bytes: start..plain.len() }));
                open = None;
            }
            (OPEN | CLOSE, _) => return None,
            _ => plain.push(c),
        }
    }
    let all_found = messages
        .iter()
        .enumerate()
        .all(|(index, message)| kept_part(message).is_empty() || spans.iter().any(|(found, _)| *found == index));
    (plain == rendered && open.is_none() && all_found).then(|| spans.into_iter().map(|(_, span)| span).collect())
}

/// Searches `rendered` for the messages' contents, in order; none if one of them cannot be found.
///
/// For templates that treat a marked content differently, e.g. because they look at its first characters.
pub(super) fn search(rendered: &str, messages: &[Message]) -> Option<Vec<ContentSpan>> {
    let mut from = 0;
    let spans = messages.iter().map(|message| {
        let spellings = [message.content.as_str(), message.content.trim(), kept_part(message)];
        let bytes = spellings.iter().find_map(|content| {
            let start = from + rendered[from..].find(content)?;
            Some(start..start + content.len())
        })?;
        from = bytes.end;
        Some(ContentSpan { role: message.role.into(), bytes })
    });
    spans.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(content: &str) -> Message {
        Message::new(Speaker::User, content)
    }

    #[test]
    fn marks_hug_what_templates_keep() {
        let marked = mark(&[user(" hi\n"), Message::new(Speaker::Assistant, "<think>hm</think>\n\nyes ")])
            .expect("no marks yet");
        assert_eq!(marked[0].content, " \u{fdd0}\u{f0000}hi\u{fdd1}\n");
        assert_eq!(marked[1].content, "<think>hm</think>\n\n\u{fdd0}\u{f0001}yes\u{fdd1} ");
        assert!(mark(&[user("has a \u{fdd1} of its own")]).is_none());
    }

    #[test]
    fn reading_needs_all_messages_and_the_same_text() {
        let messages = [user("user"), user("")];
        let marked = "user:\u{fdd0}\u{f0000}user\u{fdd1}!";
        let spans = read_marks(marked, "user:user!", &messages).expect("all there");
        assert_eq!(spans, [ContentSpan { role: Role::User, bytes: 5..9 }]);
        assert!(read_marks(marked, "user:user?", &messages).is_none());
        assert!(read_marks("user:!", "user:!", &messages).is_none());
        assert!(read_marks("user:\u{fdd1}!", "user:!", &messages).is_none());
    }

    #[test]
    fn the_search_goes_forward_and_gives_up_honestly() {
        let messages = [user("a"), user(" b\n")];
        let spans = search("b: a, a: b", &messages).expect("both there");
        assert_eq!(spans.iter().map(|span| span.bytes.clone()).collect::<Vec<_>>(), [3..4, 9..10]);
        assert!(search("b: a", &messages).is_none());
    }
}
