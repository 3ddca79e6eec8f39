//! What tokens say: their text, the part they play in a conversation, and the kind of text they are.
//!
//! A prompt takes this road: [`ChatTemplate::prompt`] turns messages into text, [`TextTokenizer::encode`] turns text into
//! tokens, [`Prompt::roles`] tells whose words each token is. On the way back [`TextShares`] gives every token its share
//! of the decoded text and [`GeneratedRoles`] its role. [`classify`] needs the text of one token and nothing else.

pub mod class;

#[cfg(feature = "generate")]
pub mod chat;
#[cfg(feature = "generate")]
mod jinja;
#[cfg(feature = "generate")]
mod marks;
#[cfg(feature = "generate")]
pub mod role;
#[cfg(all(test, feature = "generate"))]
mod samples;
#[cfg(feature = "generate")]
mod spelling;
#[cfg(feature = "generate")]
pub mod stream;
#[cfg(feature = "generate")]
pub mod tokenizer;
#[cfg(feature = "generate")]
mod utf8;

pub use class::{TokenClass, classify};

#[cfg(feature = "generate")]
pub use chat::{ChatError, ChatTemplate, Message, Prompt, Speaker};
#[cfg(feature = "generate")]
pub use role::{ContentSpan, GeneratedRoles, Role};
#[cfg(feature = "generate")]
pub use stream::TextShares;
#[cfg(feature = "generate")]
pub use tokenizer::{Encoded, Specials, TextTokenizer, TokenizerError};
