//! Builds, checks, boots and flashes the Hearth image. Data flows one way:
//! recipe -> lock -> base -> overlays -> disk. The binary is a thin shell over
//! this library, which the virtual machine tests use as well.

pub mod base;
pub mod boot;
pub mod build;
pub mod cache;
pub mod compress;
pub mod debugfs;
pub mod disk;
pub mod disks;
pub mod ext4;
pub mod fetch;
pub mod flash;
pub mod freshness;
pub mod hashing;
pub mod inside;
pub mod interrupt;
pub mod layer;
pub mod layout;
pub mod lock;
pub mod mirrors;
pub mod outputs;
pub mod presets;
pub mod program;
pub mod progress;
pub mod qemu;
pub mod recipe;
pub mod resolve;
pub mod sandbox;
pub mod sbom;
pub mod sign;
pub mod sparse;
pub mod store;
pub mod sums;
pub mod tomlfile;
pub mod tools;
pub mod treecopy;
pub mod treehash;
pub mod verify;
