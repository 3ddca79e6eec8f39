//! The built-in model's world: seeded stories with facts among filler, questions about them, and their answers.
//!
//! One document is one chat. Its first message tells a story in which facts of four families stand among sentences that
//! nobody asks about; each turn asks for one fact and answers it. A document is a function of its seed, so a held-out
//! set is a range of seeds that training never used. Every word, digit and punctuation mark is one token of the
//! built-in tokenizer, invented words excepted.

pub mod document;
pub mod fact;
pub mod filler;
pub mod words;

pub use document::{Document, Plan, Turn};
pub use fact::Family;
