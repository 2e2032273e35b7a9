//! What stands in the registers of a unit.

use profile::modbus::{Layout, ModbusProfile, Table};

use super::fixed::FixedImage;
use super::sunspec::SunSpecImage;
use crate::device::Nameplate;
use crate::plant::Site;
use crate::world::World;

/// An exception answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// 1: the function is not known.
    IllegalFunction,
    /// 2: there is no such register, or it cannot be written.
    IllegalAddress,
    /// 3: the quantity or value is not allowed.
    IllegalValue,
    /// 0x0B: a gateway got no answer from the unit.
    GatewayTargetSilent,
    /// Another one, put in by a fault.
    Other(u8),
}

impl Exception {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::IllegalFunction => 1,
            Self::IllegalAddress => 2,
            Self::IllegalValue => 3,
            Self::GatewayTargetSilent => 0x0b,
            Self::Other(code) => code,
        }
    }

    /// Function and data of the answer.
    #[must_use]
    pub fn pdu(self, function: u8) -> Vec<u8> {
        vec![function | 0x80, self.code()]
    }
}

/// The registers of a unit.
#[derive(Clone, Debug)]
pub enum Image {
    /// Registers at fixed addresses, from the profile's points.
    Fixed(FixedImage),
    /// A chain of SunSpec models.
    SunSpec(SunSpecImage),
}

impl Image {
    /// The registers that a profile describes.
    #[must_use]
    pub fn of(profile: &ModbusProfile, identity: &Identity, site: Site) -> Self {
        match &profile.layout {
            Layout::Fixed => Self::Fixed(FixedImage::new(profile, identity.nameplate)),
            Layout::SunSpec { .. } => Self::SunSpec(SunSpecImage::new(profile, identity, site)),
        }
    }

    /// Whether several registers can be written in one request (function 16).
    #[must_use]
    pub fn takes_many(&self) -> bool {
        match self {
            Self::Fixed(image) => image.takes_many(),
            Self::SunSpec(_) => true,
        }
    }

    /// Reads registers, or bits as 0 and 1.
    ///
    /// # Errors
    /// Exception 2 when a register is not there.
    pub fn read(
        &mut self,
        world: &World,
        device: usize,
        table: Table,
        address: u16,
        count: u16,
    ) -> Result<Vec<u16>, Exception> {
        match self {
            Self::Fixed(image) => image.read(world, device, table, address, count),
            Self::SunSpec(image) => image.read(world, device, table, address, count),
        }
    }

    /// Writes registers, or bits as 0 and 1, and lets the device act on them.
    ///
    /// # Errors
    /// Exception 2 when a register is not there or not writable; 3 when the device does
    /// not take the value.
    pub fn write(
        &mut self,
        world: &mut World,
        device: usize,
        table: Table,
        address: u16,
        words: &[u16],
    ) -> Result<(), Exception> {
        if world.ignores_writes(device) {
            return Ok(());
        }
        match self {
            Self::Fixed(image) => image.write(world, device, table, address, words),
            Self::SunSpec(image) => image.write(world, device, table, address, words),
        }
    }
}

/// Who a unit says it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its settings, for a DER to IEEE 1547-2018.
    pub der: Option<der_model::Settings>,
    /// Maker.
    pub maker: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Nameplate.
    pub nameplate: Nameplate,
    /// Whether it is a storage.
    pub is_storage: bool,
}
