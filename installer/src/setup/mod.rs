//! Setting a machine up: facts and answers become a plan, the plan is approved, and what
//! was approved is carried out, however often the power goes in between.

mod network;
pub mod plan;
pub mod refusal;
pub mod roles;
