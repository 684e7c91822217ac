//! Storage in a file of this machine, with the crashes, the full disks and the folders that a machine has.

mod crash;
mod folder;
mod process;
mod room;
pub mod suite;
mod writer;
