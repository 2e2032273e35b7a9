//! `mqtt`: how long a command takes until its device has confirmed it, beside a bare client.
//!
//! A plug on its own thread and connection answers a command with its state, both at QoS 1: two
//! hops through the broker. Ours is the whole bus as in a run, from the writer to the confirmed
//! stage. Two bounds are measured beside it in the same run: the client library alone over the
//! same two hops with the same plug, and a bare echo over loopback.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::mqtt::link::Broker;
use bus::{
    BusDevice, BusSpec, DispatchId, Endpoint, Framing, KeepAlives, LinkEvent, PollPeriods, Sink,
    WriteJob, Writer,
};
use limiter::Limiter;
use model::{
    Clock, DeviceIx, DeviceSpec, PointSample, ProcessImage, Rating, Role, Setpoint, Stage,
};
use quantities::{ActivePower, ApparentPower, Bounds, PowerRamp, Voltage};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, Publish, QoS};
use runtime::clock::SystemClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::cadence::quantile;
use super::peer::Serving;
use super::{BenchError, rounded, usage};
use crate::live::in_runtime;

/// Commands of one turn. Chosen: 300, a fraction of a second each.
const COMMANDS: u32 = 300;
/// Turns of each client, in turn, so that a disturbance meets all. Chosen: five.
const TURNS: u32 = 5;
/// Longest time of a turn, for a broker that lets messages wait. Chosen: 5 s, a minute for all.
const TURN_MOST: Duration = Duration::from_secs(5);
/// Commands before counting begins. Chosen: as many as warm the caches of all three processes.
const WARM_UP: u32 = 50;
/// Time in which a client comes or goes. Chosen: a hundred times what it takes on loopback.
const SETTLE: Duration = Duration::from_millis(500);
/// Longest time for one command. Chosen: a thousand times what it takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is asked of a round trip, in milliseconds (issue of the drivers: under 2 ms).
const ASKED_MS: f64 = 2.0;
/// The plug: a Shelly of the first generation has the plainest topics of all.
const PROFILE: &str = "shelly/gen1-plug";
const NAME: &str = "bench";
const COMMAND: &str = "shellies/bench/relay/0/command";
const STATE: &str = "shellies/bench/relay/0";
const ONLINE: &str = "shellies/bench/online";
/// Length of the echo in bytes: about that of a command with its topic.
const ECHO_BYTES: usize = 48;

/// Measures through a broker, or through a mosquitto of its own.
///
/// # Errors
/// When there is no broker, or a command is not confirmed.
pub fn measure(broker: Option<(String, u16)>) -> Result<Value, BenchError> {
    let (serving, (host, port)) = match broker {
        Some(broker) => (None, broker),
        None => {
            let port = free_port()?;
            (Some(mosquitto(port)?), ("127.0.0.1".to_owned(), port))
        }
    };
    let load = usage::load();
    let plug = std::thread::spawn({
        let host = host.clone();
        move || in_runtime(false, serve_plug(host, port))
    });
    let turns = in_runtime(false, measure_all(host.clone(), port));
    let turns = turns.map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?;
    // The plug leaves when it is told, or with the process.
    if turns.is_ok() {
        let _ = plug.join();
    }
    let Turns {
        mut ours,
        mut bare,
        mut acknowledged,
        mut echo,
    } = turns?;
    let started = serving.is_some();
    drop(serving);
    let median = median_of(&mut ours);
    let bare_median = median_of(&mut bare);
    Ok(json!({
        "bench": "mqtt",
        "broker": if started { "mosquitto, started for this".to_owned() } else { format!("{host}:{port}") },
        "qos": 1,
        "tcp_nodelay": true,
        "commands": ours.len(),
        "ours_ms": figures(&mut ours),
        "bare_rumqttc_ms": figures(&mut bare),
        "bare_puback_ms": figures(&mut acknowledged),
        "tcp_echo_ms": figures(&mut echo),
        "ratio_to_bare": rounded(median / bare_median),
        "asked_median_ms": ASKED_MS,
        "met": median < ASKED_MS,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}

/// A mosquitto that sends each message at once. By itself it lets a second small message to a client
/// wait for the first one's TCP acknowledgement, which a client at rest delays by 40 ms.
fn mosquitto(port: u16) -> Result<Serving, BenchError> {
    let name = format!("gridrig-bench-{}-{port}.conf", std::process::id());
    let path = std::env::temp_dir().join(name);
    // As root it would give up its rights, and with them this file.
    let text = format!(
        "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
    );
    let failed = "the configuration of mosquitto";
    std::fs::write(&path, text).map_err(BenchError::system(failed))?;
    let arguments = ["-c".to_owned(), path.display().to_string()];
    let serving = Serving::listening("mosquitto", &arguments, port).map_err(BenchError::Run);
    // It has been read by now.
    let _ = std::fs::remove_file(&path);
    serving
}

/// Milliseconds of each.
#[derive(Default)]
struct Turns {
    ours: Vec<f64>,
    bare: Vec<f64>,
    acknowledged: Vec<f64>,
    echo: Vec<f64>,
}

async fn measure_all(host: String, port: u16) -> Result<Turns, BenchError> {
    let mut echo = Echo::connect().await?;
    let mut turns = Turns::default();
    for _ in 0..TURNS {
        // Each is connected in its own turn only: who listens to the other's would disturb it.
        let mut ours = Ours::start(host.clone(), port).await?;
        ours.turn(WARM_UP, &mut Vec::new()).await?;
        ours.turn(COMMANDS, &mut turns.ours).await?;
        ours.end().await;
        let mut bare = Bare::connect(&host, port).await?;
        bare.turn(WARM_UP, &mut Turns::default()).await?;
        bare.turn(COMMANDS, &mut turns).await?;
        bare.end().await;
        echo.turn(COMMANDS, &mut turns.echo).await?;
    }
    Bare::connect(&host, port).await?.dismiss_plug().await?;
    Ok(turns)
}

fn options(name: &str, host: &str, port: u16) -> (AsyncClient, EventLoop) {
    let process = std::process::id();
    let mut options = MqttOptions::new(format!("bench-{name}-{process}"), host, port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 16);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

fn broken(what: &dyn std::fmt::Display) -> BenchError {
    BenchError::Run(format!("the broker: {what}"))
}

/// The plug: says the state that it was told, until it is told nothing.
async fn serve_plug(host: String, port: u16) {
    let (client, mut events) = options("plug", &host, port);
    loop {
        // Whatever goes wrong here is seen by those who wait for an answer.
        let Ok(event) = events.poll().await else {
            return;
        };
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let _ = client.try_subscribe(COMMAND, QoS::AtLeastOnce);
            }
            Event::Incoming(Packet::SubAck(_)) => {
                let _ = client.try_publish(ONLINE, QoS::AtLeastOnce, true, "true");
            }
            Event::Incoming(Packet::Publish(command)) => {
                if command.payload.is_empty() {
                    return;
                }
                let _ = client.try_publish(STATE, QoS::AtLeastOnce, false, command.payload);
            }
            _ => {}
        }
    }
}

/// The client library alone.
struct Bare {
    client: AsyncClient,
    events: EventLoop,
}

impl Bare {
    async fn connect(host: &str, port: u16) -> Result<Self, BenchError> {
        let (client, events) = options("bare", host, port);
        let mut bare = Self { client, events };
        bare.client
            .try_subscribe(STATE, QoS::AtLeastOnce)
            .map_err(|e| broken(&e))?;
        bare.client
            .try_subscribe(ONLINE, QoS::AtLeastOnce)
            .map_err(|e| broken(&e))?;
        // The broker keeps that the plug is there, so this comes whoever was first.
        bare.message(ONLINE).await?;
        Ok(bare)
    }

    async fn end(mut self) {
        // The broker forgets the client at its farewell; without one it does so soon.
        let _ = self.client.try_disconnect();
        let _ = timeout(SETTLE, async { while self.events.poll().await.is_ok() {} }).await;
    }

    async fn event(&mut self) -> Result<Event, BenchError> {
        match timeout(PATIENCE, self.events.poll()).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(e)) => Err(broken(&e)),
            Err(_) => Err(broken(&"it says nothing")),
        }
    }

    async fn message(&mut self, topic: &str) -> Result<Publish, BenchError> {
        loop {
            if let Event::Incoming(Packet::Publish(message)) = self.event().await?
                && message.topic == topic
            {
                return Ok(message);
            }
        }
    }

    async fn turn(&mut self, commands: u32, into: &mut Turns) -> Result<(), BenchError> {
        let end = Instant::now() + TURN_MOST;
        for n in (0..commands).take_while(|_| Instant::now() < end) {
            let word = if n % 2 == 0 { "on" } else { "off" };
            let begin = Instant::now();
            self.client
                .try_publish(COMMAND, QoS::AtLeastOnce, false, word)
                .map_err(|e| broken(&e))?;
            let (mut acknowledged, mut answered) = (None, None);
            while acknowledged.is_none() || answered.is_none() {
                match self.event().await? {
                    Event::Incoming(Packet::PubAck(_)) => acknowledged = Some(begin.elapsed()),
                    Event::Incoming(Packet::Publish(state)) if state.topic == STATE => {
                        answered = Some(begin.elapsed());
                    }
                    _ => {}
                }
            }
            into.acknowledged.extend(acknowledged.map(milliseconds));
            into.bare.extend(answered.map(milliseconds));
        }
        Ok(())
    }

    /// Lets the plug leave, and the broker forget it.
    async fn dismiss_plug(&mut self) -> Result<(), BenchError> {
        for (topic, retain) in [(ONLINE, true), (COMMAND, false)] {
            self.client
                .try_publish(topic, QoS::AtLeastOnce, retain, "")
                .map_err(|e| broken(&e))?;
        }
        let mut left = 2;
        while left > 0 {
            if let Event::Incoming(Packet::PubAck(_)) = self.event().await? {
                left -= 1;
            }
        }
        Ok(())
    }
}

/// Hands the stages of commands on, with their time.
struct Stages(mpsc::UnboundedSender<(DispatchId, Result<Instant, String>)>);

impl Sink for Stages {
    fn sample(&self, _: PointSample) {}

    fn event(&self, event: LinkEvent) {
        let said = match event {
            LinkEvent::Confirmed {
                dispatch,
                stage: Stage::Register,
                ..
            } => (dispatch, Ok(Instant::now())),
            LinkEvent::Missed { dispatch, why, .. } => (dispatch, Err(why)),
            _ => return,
        };
        // Nobody listens any more after the last turn.
        let _ = self.0.send(said);
    }
}

/// Our bus.
struct Ours {
    writer: Writer,
    bus: bus::BusHandle,
    clock: Arc<SystemClock>,
    limiter: Limiter,
    stages: mpsc::UnboundedReceiver<(DispatchId, Result<Instant, String>)>,
    dispatched: u64,
}

impl Ours {
    async fn start(host: String, port: u16) -> Result<Self, BenchError> {
        let profile = profile::bundled(PROFILE)
            .ok_or_else(|| BenchError::Run(format!("there is no profile {PROFILE}")))?;
        let spec = BusSpec {
            id: "bench".into(),
            endpoint: Endpoint::Broker(Broker {
                host,
                port,
                login: None,
                trust: None,
                status: None,
            }),
            framing: Framing::Tcp,
            timeout: Some(Duration::from_secs(60)),
            min_gap: None,
            seed: 7,
        };
        let device = BusDevice {
            ix: DeviceIx(0),
            id: NAME.into(),
            profile,
            unit: None,
            topic: Some(NAME.to_owned()),
            revert: None,
            poll: PollPeriods {
                fast: PATIENCE,
                normal: PATIENCE,
                slow: PATIENCE,
            },
            limits: Vec::new(),
            keep_alives: KeepAlives::default(),
        };
        let clock = Arc::new(SystemClock::start());
        let (said, stages) = mpsc::unbounded_channel();
        let bus = bus::start(
            spec,
            vec![device],
            Arc::<SystemClock>::clone(&clock),
            Arc::new(Stages(said)),
        );
        // It connects and subscribes first.
        tokio::time::sleep(SETTLE).await;
        Ok(Self {
            writer: bus.arm(),
            bus,
            clock,
            limiter: Limiter::new(
                vec![plug()],
                limiter::Fences::of(Voltage::from_volts(230.0)),
            ),
            stages,
            dispatched: 0,
        })
    }

    async fn end(self) {
        drop((self.writer, self.bus));
        tokio::time::sleep(SETTLE).await;
    }

    async fn turn(&mut self, commands: u32, into: &mut Vec<f64>) -> Result<(), BenchError> {
        let image = ProcessImage::unread(1);
        let end = Instant::now() + TURN_MOST;
        for n in (0..commands).take_while(|_| Instant::now() < end) {
            let now = self.clock.now();
            let wish = Setpoint::Switch { on: n % 2 == 0 };
            let verdict = self
                .limiter
                .approve(now, DeviceIx(0), wish, &image)
                .map_err(|e| BenchError::Run(e.to_string()))?;
            let dispatch = DispatchId(self.dispatched);
            self.dispatched += 1;
            let begin = Instant::now();
            self.writer
                .write(WriteJob {
                    dispatch,
                    device: DeviceIx(0),
                    setpoint: verdict.approved,
                    valid_until: now + PATIENCE,
                    urgent: false,
                })
                .map_err(|e| BenchError::Run(e.to_string()))?;
            loop {
                match timeout(PATIENCE, self.stages.recv()).await {
                    Ok(Some((of, Ok(at)))) if of == dispatch => {
                        into.push(milliseconds(at - begin));
                        break;
                    }
                    Ok(Some((of, Err(why)))) if of == dispatch => return Err(BenchError::Run(why)),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => {
                        return Err(BenchError::Run("a command was not confirmed".to_owned()));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A plug that may be switched at any time.
fn plug() -> DeviceSpec {
    DeviceSpec {
        id: NAME.into(),
        role: Role::Load,
        rating: Rating {
            p: Bounds::between(ActivePower::from_watts(-3000.0), ActivePower::ZERO),
            s_max: ApparentPower::from_volt_amperes(3000.0),
            ramp: PowerRamp::from_watts_per_second(1e6),
            soc: Bounds::unbounded(),
            capacity: None,
            source: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
        },
        shed: None,
        battery: None,
        takes_power: false,
        takes_reactive: false,
        takes_ceiling: false,
        takes_switch: true,
        safe_p: ActivePower::ZERO,
        safe_on: Some(false),
        forming: model::Forming::Droops,
        sample_age_max: Duration::from_secs(60),
    }
}

/// Bytes there and back over loopback: no broker, no protocol.
struct Echo(TcpStream);

impl Echo {
    async fn connect() -> Result<Self, BenchError> {
        let failed = "an echo over loopback";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(BenchError::system(failed))?;
        let address = listener.local_addr().map_err(BenchError::system(failed))?;
        // A thread of its own, as broker and plug have theirs.
        std::thread::spawn(move || in_runtime(false, answer(listener)));
        let stream = TcpStream::connect(address)
            .await
            .map_err(BenchError::system(failed))?;
        stream
            .set_nodelay(true)
            .map_err(BenchError::system(failed))?;
        Ok(Self(stream))
    }

    async fn turn(&mut self, times: u32, into: &mut Vec<f64>) -> Result<(), BenchError> {
        let failed = "an echo over loopback";
        let mut bytes = [b'x'; ECHO_BYTES];
        for _ in 0..times {
            let begin = Instant::now();
            self.0
                .write_all(&bytes)
                .await
                .map_err(BenchError::system(failed))?;
            self.0
                .read_exact(&mut bytes)
                .await
                .map_err(BenchError::system(failed))?;
            into.push(milliseconds(begin.elapsed()));
        }
        Ok(())
    }
}

async fn answer(listener: TcpListener) {
    let Ok((mut stream, _)) = listener.accept().await else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let mut bytes = [0; ECHO_BYTES];
    // It ends when the other side does.
    while stream.read_exact(&mut bytes).await.is_ok() {
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn free_port() -> Result<u16, BenchError> {
    let failed = "a port of loopback";
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(BenchError::system(failed))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median_of(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    quantile(times, 0.5)
}

fn figures(times: &mut [f64]) -> Value {
    let p50 = median_of(times);
    let [p99, max] = [0.99, 1.0].map(|share| quantile(times, share));
    json!({ "p50": rounded(p50), "p99": rounded(p99), "max": rounded(max) })
}
