//! Builds, checks, boots and flashes the Hearth image. Data flows one way:
//! recipe -> lock -> base -> overlays -> disk. The binary is a thin shell over
//! this library, which the virtual machine tests use as well.

pub mod cache;
pub mod inside;
pub mod debugfs;
pub mod fetch;
pub mod interrupt;
pub mod lock;
pub mod mirrors;
pub mod progress;
pub mod recipe;
pub mod resolve;
pub mod sandbox;
pub mod store;
pub mod tomlfile;
pub mod tools;
