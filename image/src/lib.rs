//! Builds, checks, boots and flashes the Hearth image. Data flows one way:
//! recipe -> lock -> base -> overlays -> disk. The binary is a thin shell over
//! this library, which the virtual machine tests use as well.

pub mod cache;
pub mod inside;
pub mod interrupt;
pub mod mirrors;
pub mod progress;
pub mod sandbox;
pub mod tools;
