//! The kernel's CAN interface (SocketCAN).
//!
//! Responsible for one raw socket on one interface and for saying in clear text why
//! it cannot be had. Not responsible for bit rate and restart of the controller:
//! those belong to `ip link` and need other rights.

use std::io;
use std::time::Duration;

use profile::can::CanId;
use socketcan::tokio::CanFdSocket;
use socketcan::{
    CanAnyFrame, CanDataFrame, CanFdFrame, EmbeddedFrame, ExtendedId, Id, SocketOptions, StandardId,
};

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
/// Invalid argument (`EINVAL`).
const EINVAL: i32 = 22;
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

/// A socket on a CAN interface.
pub struct Interface {
    socket: CanFdSocket,
    name: String,
}

impl Interface {
    /// Opens an interface for these identifiers, each with the bits of it that must fit, and
    /// for error frames. Classic frames and those of CAN FD are both heard.
    ///
    /// # Errors
    /// When the kernel has no CAN, the interface does not exist, or the socket fails.
    pub fn open(name: &str, ids: &[(CanId, u32)]) -> Result<Self, LinkError> {
        let socket = CanFdSocket::open(name).map_err(|e| match e.raw_os_error() {
            // The name is looked up first, so a kernel without CAN says "no such interface":
            // a socket on all interfaces tells the two apart.
            Some(ENODEV | ENXIO) => match CanFdSocket::open_if(0) {
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
        let bytes = data.as_slice();
        let frame: CanAnyFrame = if data.is_fd() {
            CanFdFrame::new(id, bytes)
                .ok_or(LinkError::NotCarried)?
                .into()
        } else {
            CanDataFrame::new(id, bytes)
                .ok_or(LinkError::NotCarried)?
                .into()
        };
        for wait in RETRY_WAITS {
            match self.socket.write_frame(&frame).await {
                Err(e) if e.raw_os_error() == Some(ENOBUFS) => tokio::time::sleep(wait).await,
                // What a classic interface says to a frame that is too long for it.
                Err(e) if data.is_fd() && e.raw_os_error() == Some(EINVAL) => {
                    return Err(LinkError::NotFd {
                        interface: self.name.clone(),
                    });
                }
                other => return other.map_err(|e| explained(e, &self.name)),
            }
        }
        Err(LinkError::QueueFull {
            interface: self.name.clone(),
        })
    }
}

fn filters(ids: &[(CanId, u32)]) -> Vec<(u32, u32)> {
    ids.iter()
        .map(|(id, mask)| match id {
            CanId::Standard(id) => (u32::from(*id), EXTENDED_FLAG | mask),
            CanId::Extended(id) => (EXTENDED_FLAG | id, EXTENDED_FLAG | mask),
        })
        .collect()
}

fn kernel_id(id: CanId) -> Option<Id> {
    match id {
        CanId::Standard(id) => StandardId::new(id).map(Id::Standard),
        CanId::Extended(id) => ExtendedId::new(id).map(Id::Extended),
    }
}

/// A kernel frame as ours; `None` for one that cannot be.
fn read(frame: &CanAnyFrame) -> Option<Frame> {
    let id = |id: Id| match id {
        Id::Standard(id) => CanId::Standard(id.as_raw()),
        Id::Extended(id) => CanId::Extended(id.as_raw()),
    };
    let data = |id: CanId, bytes: &[u8]| Data::new(bytes).map(|data| Frame::Data { id, data });
    match frame {
        CanAnyFrame::Normal(frame) => data(id(frame.id()), frame.data()),
        CanAnyFrame::Fd(frame) => data(id(frame.id()), frame.data()),
        CanAnyFrame::Remote(frame) => Some(Frame::Remote { id: id(frame.id()) }),
        CanAnyFrame::Error(frame) => Some(Frame::Error {
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
                read(&kernel.into()),
                Some(Frame::Data {
                    id,
                    data: Data::new(&[1, 2, 3]).unwrap()
                })
            );
        }
        let error = socketcan::CanErrorFrame::new_error(0x40, &[]).unwrap();
        assert_eq!(read(&error.into()), Some(Frame::Error { class: 0x40 }));
        assert_eq!(kernel_id(CanId::Standard(0x800)), None);
        let id = CanId::Standard(0x351);
        let long = CanFdFrame::new(kernel_id(id).unwrap(), &[9; 64]).unwrap();
        let data = Data::new(&[9; 64]).unwrap();
        assert_eq!(read(&long.into()), Some(Frame::Data { id, data }));
    }

    #[test]
    fn filters_tell_standard_from_extended_identifiers() {
        let matches = |id: u32, (wanted, mask): (u32, u32)| id & mask == wanted & mask;
        let both = filters(&[
            (CanId::Standard(0x351), 0x7FF),
            (CanId::Extended(0x351), 0x1FFF_FFFF),
            (CanId::Extended(0x18FE_F100), 0x03FF_FF00),
        ]);
        assert!(matches(0x351, both[0]) && !matches(0x351, both[1]));
        assert!(
            matches(EXTENDED_FLAG | 0x351, both[1]) && !matches(EXTENDED_FLAG | 0x351, both[0])
        );
        assert!(
            matches(EXTENDED_FLAG | 0x0CFE_F127, both[2]),
            "any source of this PGN"
        );
        assert!(!matches(EXTENDED_FLAG | 0x18FE_F200, both[2]));
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
