//! The virtual machine harness: every end-to-end test of Hearth is a [`scenario`]
//! that starts machines ([`Lab::vm`]), watches their serial console, acts inside
//! as root without changing the image ([`Vm::root_sh`]), plugs disks of every kind
//! ([`Drive`]), cuts their power ([`nbd`]), and wires machines together ([`wire`]).
//! QEMU, its firmware and every other program come from the tools tree, so that
//! any host runs the same. They run through `hearth-image`, which must be built beside
//! the tests (`cargo build`), and need the image named by `HEARTH_TEST_IMAGE`.

pub mod agent;
pub mod answered;
pub mod appliance;
pub mod archive;
pub mod cleanup;
mod drive;
pub mod flashed;
pub mod golden;
pub mod http;
mod keyboard;
mod lab;
pub mod nbd;
pub mod portal;
mod prepared;
pub mod random;
mod screen;
pub mod tpm;
mod transcript;
pub mod visitor;
mod vm;
pub mod wire;
pub mod workstation;

pub use agent::Output;
pub use drive::Drive;
pub use hearth_image::qemu::{Bus, Firmware};
pub use lab::{IMAGE, Lab, scenario};
pub use prepared::prepared;
pub use screen::Screen;
pub use transcript::Transcript;
pub use vm::{Builder, Vm};
