//! One traced generation, whoever asks for it: what is asked becomes a model, a policy and tokens; the run is recorded
//! and watched as it goes.

pub mod load;
pub mod offer;
pub mod place;
pub mod policy;
pub mod prompt;
pub mod ready;
pub mod request;
pub mod session;
