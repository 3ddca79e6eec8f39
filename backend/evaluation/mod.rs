//! How well a model answers under a bounded cache: every policy and budget on the same held-out documents.
//!
//! The answer is fed as it should be, token by token, and every next-token distribution on the way is compared with it.
//! A document counts as right when the most likely token is the expected one at every step, which is exactly when greedy
//! generation would have written the answer word for word, the end included.

pub mod exam;
pub mod score;
pub mod sequence;

pub use exam::{Cell, Exam, ExamError, Outcome, Protocol};
pub use score::{Estimate, Marked, Row, rows};
