//! The emulated meter and storage on a thread of their own, and the tap before the storage.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use bus::{BusSpec, Endpoint};
use model::Clock;
use runtime::clock::SystemClock;
use runtime::rig::Rig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_modbus::client::{self, Reader};
use tokio_modbus::slave::Slave;

use super::tape::Tape;
use crate::bench::EmulatedBench;
use crate::benches::BenchError;
use crate::benches::virtual_time::told;
use crate::live::in_runtime;

/// The bus of the storage, in the order of the rig.
const STORAGE: usize = 1;

/// Bare round trips that are timed. Chosen: five for each of a hundred.
const ROUND_TRIPS: usize = 500;

/// Where SunSpec begins in a device, and how many registers its first model has with its head.
const SUNSPEC: (u16, u16) = (40_000, 70);

/// Bytes of the head of a Modbus TCP frame, and the functions that write: one register, and several.
const HEAD: usize = 7;
const WRITES: [u8; 2] = [6, 16];

/// The wire; it ends with this.
pub(super) struct Wire {
    buses: Vec<BusSpec>,
    handle: emulator::bench::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Started = (Vec<BusSpec>, emulator::bench::Handle);

impl Wire {
    /// Starts both devices of a rig; every write that comes to the second one is put on the tape.
    pub(super) fn start(
        rig: Arc<Rig>,
        seed: u64,
        clock: SystemClock,
        tape: Tape,
    ) -> Result<Self, BenchError> {
        let (stop, stopped) = oneshot::channel();
        let (tell, started) = mpsc::channel::<Result<Started, BenchError>>();
        let thread = std::thread::Builder::new()
            .name("wire".into())
            .spawn(move || {
                let told_too = tell.clone();
                let ended = in_runtime(false, async move {
                    let begun = begin(&rig, seed, clock, tape).await;
                    match begun {
                        Ok((bench, buses)) => {
                            // Whoever started it waits for this.
                            let _heard = tell.send(Ok((buses, bench.handle())));
                            let _ended = stopped.await;
                        }
                        Err(fault) => {
                            let _heard = tell.send(Err(fault));
                        }
                    }
                });
                if let Err(faults) = ended {
                    let _heard = told_too.send(Err(BenchError::Run(told(&faults))));
                }
            })
            .map_err(BenchError::system("no thread for the emulated devices"))?;
        let (buses, handle) = started
            .recv()
            .map_err(|_| BenchError::Run("the emulated devices ended at once".into()))??;
        Ok(Self {
            buses,
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// How its buses are opened; the storage's by way of the tap.
    pub(super) fn buses(&self) -> Vec<BusSpec> {
        self.buses.clone()
    }

    /// Steps the frequency of the utility.
    pub(super) fn set_frequency(&self, f_hz: f64) -> Result<(), BenchError> {
        self.handle
            .set("grid.f", f_hz)
            .map_err(|e| BenchError::Run(e.to_string()))
    }

    /// Times of reads of the meter by the client library alone, one after another, in milliseconds.
    pub(super) async fn round_trips_ms(&self) -> Result<Vec<f64>, BenchError> {
        let failed = "the emulated meter is not there";
        let Some(address) = self.buses.first().and_then(address_of) else {
            return Err(BenchError::Run(failed.into()));
        };
        let stream = TcpStream::connect(address)
            .await
            .map_err(BenchError::system(failed))?;
        stream
            .set_nodelay(true)
            .map_err(BenchError::system(failed))?;
        let mut context = client::tcp::attach_slave(stream, Slave(1));
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let begin = Instant::now();
            match context.read_holding_registers(SUNSPEC.0, SUNSPEC.1).await {
                Ok(Ok(_)) => times.push(begin.elapsed().as_secs_f64() * 1e3),
                other => return Err(BenchError::Run(format!("the meter says {other:?}"))),
            }
        }
        Ok(times)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // It may have ended by itself.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn address_of(spec: &BusSpec) -> Option<SocketAddr> {
    match &spec.endpoint {
        Endpoint::Tcp { host, port } => format!("{host}:{port}").parse().ok(),
        _ => None,
    }
}

async fn begin(
    rig: &Rig,
    seed: u64,
    clock: SystemClock,
    tape: Tape,
) -> Result<(EmulatedBench, Vec<BusSpec>), BenchError> {
    let (bench, mut buses) = EmulatedBench::start_real(rig, seed)
        .await
        .map_err(|faults| BenchError::Run(told(&faults)))?;
    let failed = "no port for the tap";
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(BenchError::system(failed))?;
    let own = listener.local_addr().map_err(BenchError::system(failed))?;
    let storage = buses.get_mut(STORAGE);
    let Some((spec, device)) = storage.and_then(|spec| address_of(spec).map(|a| (spec, a))) else {
        return Err(BenchError::Run("the storage has no address".into()));
    };
    spec.endpoint = Endpoint::Tcp {
        host: own.ip().to_string(),
        port: own.port(),
    };
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if let Ok(device) = TcpStream::connect(device).await {
                tokio::spawn(tap(client, device, clock, tape.clone()));
            }
        }
    });
    Ok((bench, buses))
}

/// Passes bytes on in both directions until one side ends, and notes the writes that go by.
async fn tap(client: TcpStream, device: TcpStream, clock: SystemClock, tape: Tape) {
    // A refusal costs only time.
    client.set_nodelay(true).ok();
    device.set_nodelay(true).ok();
    let (mut asked, mut answered) = client.into_split();
    let (mut from_device, mut to_device) = device.into_split();
    let back = async move {
        let _ = tokio::io::copy(&mut from_device, &mut answered).await;
    };
    let forth = async move {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = asked.read(&mut buffer).await {
            let at = clock.now();
            // The driver sends each request at once and as a whole, and waits for its answer.
            if buffer[..count]
                .get(HEAD)
                .is_some_and(|function| WRITES.contains(function))
            {
                tape.wrote(at);
            }
            if to_device.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = back => {}
        () = forth => {}
    }
}
