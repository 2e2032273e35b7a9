//! The kernel's CAN interface (SocketCAN).
//!
//! Responsible for one raw socket on one interface and for saying in clear text why
//! it cannot be had. Not responsible for bit rate and restart of the controller:
//! those belong to `ip link` and need other rights.

use std::io;
use std::time::Duration;

use profile::can::CanId;
use socketcan::tokio::CanSocket;
use socketcan::{CanDataFrame, CanFrame, EmbeddedFrame, ExtendedId, Id, SocketOptions, StandardId};

use super::LinkError;
use super::codec::{Data, Frame};

/// No such interface (`ENODEV` of Linux `errno.h`).
const ENODEV: i32 = 19;
/// No such device or address (`ENXIO`): what an interface that went away answers.
const ENXIO: i32 = 6;
/// Address family not supported (`EAFNOSUPPORT`): the kernel was built without CAN.
const EAFNOSUPPORT: i32 = 97;
/// Interface is down (`ENETDOWN`).
const ENETDOWN: i32 = 100;
/// Transmit queue is full (`ENOBUFS`): routine, as it holds ten frames by default.
const ENOBUFS: i32 = 105;

/// Waits before a frame is offered again to a full transmit queue.
/// Chosen: 1 to 10 ms, as one frame takes 0.25 ms at 500 kbit/s; 31 ms in all, then it is late.
const RETRY_WAITS: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(8),
    Duration::from_millis(10),
    Duration::from_millis(10),
];

/// Most filters that a socket takes (`CAN_RAW_FILTER_MAX` of the kernel).
const FILTERS_MAX: usize = 512;
/// Flag of an extended identifier in a filter (`CAN_EFF_FLAG`).
const EXTENDED_FLAG: u32 = 0x8000_0000;
/// Bits of an extended and of a standard identifier (`CAN_EFF_MASK`, `CAN_SFF_MASK`).
const EXTENDED_MASK: u32 = 0x1FFF_FFFF;
const STANDARD_MASK: u32 = 0x7FF;

/// A socket on a CAN interface.
pub struct Interface {
    socket: CanSocket,
    name: String,
}

impl Interface {
    /// Opens an interface for these identifiers and for error frames.
    ///
    /// # Errors
    /// When the kernel has no CAN, the interface does not exist, or the socket fails.
    pub fn open(name: &str, ids: &[CanId]) -> Result<Self, LinkError> {
        let socket = CanSocket::open(name).map_err(|e| match e.raw_os_error() {
            // The name is looked up first, so a kernel without CAN says "no such interface":
            // a socket on all interfaces tells the two apart.
            Some(ENODEV | ENXIO) => match CanSocket::open_if(0) {
                Err(e) if e.raw_os_error() == Some(EAFNOSUPPORT) => explained(e, name),
                _ => explained(e, name),
            },
            _ => explained(e, name),
        })?;
        socket
            .set_error_filter_accept_all()
            .map_err(|e| explained(e, name))?;
        if ids.len() <= FILTERS_MAX {
            socket
                .set_filters(&filters(ids))
                .map_err(|e| explained(e, name))?;
        }
        Ok(Self {
            socket,
            name: name.to_owned(),
        })
    }

    /// The next frame. Safe to drop while it waits.
    ///
    /// # Errors
    /// When the interface goes down or away.
    pub async fn receive(&mut self) -> Result<Option<Frame>, LinkError> {
        let frame = self
            .socket
            .read_frame()
            .await
            .map_err(|e| explained(e, &self.name))?;
        Ok(read(&frame))
    }

    /// Sends a frame; waits a little when the transmit queue is full.
    ///
    /// # Errors
    /// When the queue stays full, or the interface is down or away.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        let Frame::Data { id, data } = frame else {
            return Err(LinkError::NotCarried);
        };
        let id = kernel_id(*id).ok_or(LinkError::NotCarried)?;
        let frame = CanDataFrame::new(id, data.as_slice()).ok_or(LinkError::NotCarried)?;
        for wait in RETRY_WAITS {
            match self.socket.write_frame(CanFrame::Data(frame)).await {
                Err(e) if e.raw_os_error() == Some(ENOBUFS) => tokio::time::sleep(wait).await,
                other => return other.map_err(|e| explained(e, &self.name)),
            }
        }
        Err(LinkError::QueueFull {
            interface: self.name.clone(),
        })
    }
}

fn filters(ids: &[CanId]) -> Vec<(u32, u32)> {
    ids.iter()
        .map(|id| match id {
            CanId::Standard(id) => (u32::from(*id), EXTENDED_FLAG | STANDARD_MASK),
            CanId::Extended(id) => (EXTENDED_FLAG | id, EXTENDED_FLAG | EXTENDED_MASK),
        })
        .collect()
}

fn kernel_id(id: CanId) -> Option<Id> {
    match id {
        CanId::Standard(id) => StandardId::new(id).map(Id::Standard),
        CanId::Extended(id) => ExtendedId::new(id).map(Id::Extended),
    }
}

/// A kernel frame as ours; `None` for one that cannot be (more than eight bytes).
fn read(frame: &CanFrame) -> Option<Frame> {
    let id = match frame.id() {
        Id::Standard(id) => CanId::Standard(id.as_raw()),
        Id::Extended(id) => CanId::Extended(id.as_raw()),
    };
    match frame {
        CanFrame::Data(frame) => Data::new(frame.data()).map(|data| Frame::Data { id, data }),
        CanFrame::Remote(_) => Some(Frame::Remote { id }),
        CanFrame::Error(frame) => Some(Frame::Error {
            class: frame.error_bits(),
        }),
    }
}

fn explained(error: io::Error, interface: &str) -> LinkError {
    let interface = interface.to_owned();
    match error.raw_os_error() {
        Some(EAFNOSUPPORT) => LinkError::NoKernelCan { interface },
        Some(ENODEV | ENXIO) => LinkError::NoInterface { interface },
        Some(ENETDOWN) => LinkError::Down { interface },
        _ => LinkError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_kernel_tell_what_to_do() {
        for (errno, words) in [
            (97, "this kernel has no CAN: use socketcand://"),
            (19, "no interface can0"),
            (6, "no interface can0"),
            (100, "can0 is down"),
        ] {
            let text = explained(io::Error::from_raw_os_error(errno), "can0").to_string();
            assert!(text.contains(words), "{errno}: {text}");
        }
    }

    #[test]
    fn kernel_frames_and_ours_mean_the_same() {
        for id in [CanId::Standard(0x351), CanId::Extended(0x351)] {
            let kernel = CanDataFrame::new(kernel_id(id).unwrap(), &[1, 2, 3]).unwrap();
            assert_eq!(
                read(&CanFrame::Data(kernel)),
                Some(Frame::Data {
                    id,
                    data: Data::new(&[1, 2, 3]).unwrap()
                })
            );
        }
        let error = socketcan::CanErrorFrame::new_error(0x40, &[]).unwrap();
        assert_eq!(
            read(&CanFrame::Error(error)),
            Some(Frame::Error { class: 0x40 })
        );
        assert_eq!(kernel_id(CanId::Standard(0x800)), None);
    }

    #[test]
    fn filters_tell_standard_from_extended_identifiers() {
        let matches = |id: u32, (wanted, mask): (u32, u32)| id & mask == wanted & mask;
        let both = filters(&[CanId::Standard(0x351), CanId::Extended(0x351)]);
        assert!(matches(0x351, both[0]) && !matches(0x351, both[1]));
        assert!(
            matches(EXTENDED_FLAG | 0x351, both[1]) && !matches(EXTENDED_FLAG | 0x351, both[0])
        );
    }

    /// On a kernel with CAN this opens nothing either, as no interface has such a name.
    #[tokio::test]
    async fn an_interface_that_is_not_there_is_refused_in_clear_text() {
        let Err(error) = Interface::open("nocan99", &[]).map(|_| ()) else {
            panic!("opened")
        };
        assert!(
            matches!(
                error,
                LinkError::NoKernelCan { .. } | LinkError::NoInterface { .. }
            ),
            "{error}"
        );
    }
}
