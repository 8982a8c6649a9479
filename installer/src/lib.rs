//! Hearth's shared library: what the appliance does to itself, and the types
//! that the workstation (`hearth-image`) and the appliance (`hearth`) must agree
//! on. Nothing here knows how an image is built.

pub mod adopt;
pub mod answers;
pub mod approval;
pub mod ask;
pub mod audit;
pub mod beneath;
pub mod bootchain;
pub mod claim;
pub mod ddns;
pub mod digest;
pub mod durable;
pub mod encryption;
pub mod exit;
pub mod facts;
pub mod flash;
pub mod gpt;
mod ioctl;
pub mod layout;
pub mod machine;
pub mod manifest;
pub mod nearest;
pub mod notify;
pub mod page;
pub mod passphrase;
pub mod render;
pub mod repair;
pub mod reset;
pub mod run;
pub mod selector;
pub mod setup;
pub mod shipped;
pub mod status;
pub mod truth;
pub mod units;
pub mod users;
pub mod web;
