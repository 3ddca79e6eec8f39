//! From a trace to facts about its heads, their scores and their roles. Slices in, values out.

pub mod agreement;
pub mod category;
pub mod compare;
pub mod depth;
pub mod diagnosis;
pub mod enrichment;
pub mod evidence;
pub mod facts;
pub mod features;
pub mod kept;
pub mod modes;
mod name;
pub mod place;
pub mod reading;
pub mod retention;
pub mod roles;
pub mod statistics;
pub mod survival;
