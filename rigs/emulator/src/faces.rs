//! Faces: how devices speak on wires, from profile data with the emulator's own encoders.
//!
//! A face reads values from the shared [`crate::world::World`] when it is asked and
//! hands writes to it. It holds no physics. Modbus and CAN faces serve any byte
//! stream, so sockets, ptys and in-memory pipes are all the same to them.

pub mod can;
pub mod modbus;
pub mod mqtt;
pub mod scpi;
pub mod slcan;
pub mod socketcand;
