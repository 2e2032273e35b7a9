//! Opening a link, and saying clearly why it did not open.

use std::io;
use std::time::Duration;

use profile::modbus::{Parity, SerialSettings};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio_serial::{DataBits, FlowControl, SerialPortBuilderExt, SerialStream, StopBits};

use crate::Endpoint;

/// Longest wait for a TCP connection.
/// Chosen: two lost SYN packets (1 s and 2 s apart) are survived; more is an absent host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Buffer of an in-memory stream in bytes.
/// Chosen: sixteen of the longest frames (260 bytes).
const MEMORY_BYTES: usize = 4096;

/// What stops a link from opening: what, why, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// A TCP server was not reached.
    #[error(
        "cannot connect to {address}: {reason}; check address, port, cable and whether the server takes another client"
    )]
    Tcp {
        /// Host and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// A serial port does not exist.
    #[error(
        "serial port {path} does not exist; plug the adapter in and name it by its link in /dev/serial/by-id"
    )]
    NoPort {
        /// Its path.
        path: String,
    },
    /// A serial port may not be opened.
    #[error(
        "no permission to open serial port {path}; add this user to the group that owns it (often dialout)"
    )]
    NoPermission {
        /// Its path.
        path: String,
    },
    /// A serial port is in use.
    #[error("serial port {path} is in use by another program; end that program")]
    InUse {
        /// Its path.
        path: String,
    },
    /// A serial port did not open for another reason.
    #[error(
        "cannot open serial port {path} with {baud} baud: {reason}; check that it is a serial port and supports these settings"
    )]
    Serial {
        /// Its path.
        path: String,
        /// Bits per second.
        baud: u32,
        /// What the system says.
        reason: String,
    },
    /// The far end of an in-memory stream has gone.
    #[error("the in-memory device has gone")]
    MemoryGone,
    /// The endpoint is not one for Modbus.
    #[error("Modbus does not run over this kind of endpoint; give the bus tcp or serial")]
    NotModbus,
}

/// An open link.
#[derive(Debug)]
pub(crate) enum Opened {
    Tcp(TcpStream),
    Serial(SerialStream),
    Memory(DuplexStream),
}

/// Opens the endpoint and waits for `warm_up`.
pub(crate) async fn dial(endpoint: Endpoint, warm_up: Duration) -> Result<Opened, DialError> {
    let opened = match endpoint {
        Endpoint::Tcp { host, port } => Opened::Tcp(connect(&host, port).await?),
        Endpoint::Serial { path, settings } => Opened::Serial(open(&path, settings)?),
        Endpoint::Memory(far_ends) => {
            let (near, far) = tokio::io::duplex(MEMORY_BYTES);
            far_ends.send(far).map_err(|_| DialError::MemoryGone)?;
            Opened::Memory(near)
        }
        _ => return Err(DialError::NotModbus),
    };
    if !warm_up.is_zero() {
        tokio::time::sleep(warm_up).await;
    }
    Ok(opened)
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let failed = |reason: String| DialError::Tcp {
        address: format!("{host}:{port}"),
        reason,
    };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port)))
        .await
        .map_err(|_| failed(format!("no answer within {CONNECT_TIMEOUT:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    // Requests are small and each waits for its answer: coalescing only delays them.
    stream
        .set_nodelay(true)
        .map_err(|error| failed(error.to_string()))?;
    Ok(stream)
}

fn open(path: &str, settings: SerialSettings) -> Result<SerialStream, DialError> {
    let parity = match settings.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop_bits = if settings.stop_bits == 2 {
        StopBits::Two
    } else {
        StopBits::One
    };
    // No modem line is touched: pseudo terminals and three-wire adapters refuse them (ENOTTY).
    tokio_serial::new(path, settings.baud)
        .data_bits(DataBits::Eight)
        .parity(parity)
        .stop_bits(stop_bits)
        .flow_control(FlowControl::None)
        .open_native_async()
        .map_err(|error| explain(path, settings.baud, &error))
}

fn explain(path: &str, baud: u32, error: &tokio_serial::Error) -> DialError {
    let path = path.to_owned();
    match error.kind() {
        tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => DialError::NoPort { path },
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            DialError::NoPermission { path }
        }
        // The library says "no device" for a port that somebody else has locked.
        tokio_serial::ErrorKind::NoDevice => DialError::InUse { path },
        _ => DialError::Serial {
            path,
            baud,
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(path: &str) -> Endpoint {
        Endpoint::Serial {
            path: path.to_owned(),
            settings: SerialSettings {
                baud: 9600,
                parity: Parity::None,
                stop_bits: 1,
            },
        }
    }

    #[tokio::test]
    async fn a_serial_port_that_does_not_open_is_explained() {
        let path = "/dev/no-such-port";
        let error = dial(serial(path), Duration::ZERO)
            .await
            .expect_err("it does not exist");
        assert_eq!(
            error,
            DialError::NoPort {
                path: path.to_owned()
            }
        );
        let error = dial(serial("/dev/null"), Duration::ZERO)
            .await
            .expect_err("no serial port");
        assert!(matches!(error, DialError::Serial { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_refused_connection_names_the_address() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let endpoint = Endpoint::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let error = dial(endpoint, Duration::ZERO)
            .await
            .expect_err("nobody listens");
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}")),
            "{error}"
        );
    }
}
