//! The far side: how xfer gets there, and what it does there.
//!
//! [`bootstrap`] places the program on a machine and starts it there, [`stdio`] is that program's
//! process, and [`serve`] puts what a session asks to a local endpoint. [`standing`] serves whoever
//! holds a token, on ports of its own.

pub mod binary;
pub mod bootstrap;
mod condition;
mod data_ports;
mod deltas;
mod errands;
mod in_memory;
mod lending;
mod parcels;
mod passage;
pub mod serve;
pub mod standing;
pub mod stdio;
mod stock;
mod surveys;
