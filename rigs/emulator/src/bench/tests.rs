use model::Role;
use quantities::StateOfCharge;
use quantities::{Frequency, Voltage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::day::DayCurve;
use crate::device::Metered;
use crate::plant::breaker::SyncCheck;
use crate::plant::load::Load;
use crate::plant::network::Feeder;
use crate::plant::{Forming, Site};

fn device(id: &str, role: Role, profile: &str, bus: &str) -> DeviceSpec {
    DeviceSpec {
        id: id.into(),
        role,
        profile: profile::bundled(profile).expect(profile),
        bus: bus.into(),
        unit: None,
        topic: Some(id.into()),
        battery: None,
        emulate: Emulate::default(),
    }
}

fn spec() -> BenchSpec {
    let bus = |id: &str, kind| BusSpec {
        id: id.into(),
        kind,
        port: None,
        interface: "can0".into(),
    };
    BenchSpec {
        site: Site {
            v_nominal: Voltage::from_volts(230.0),
            f_nominal: Frequency::from_hertz(50.0),
            phases: 1,
        },
        feeder: Feeder::default(),
        network: None,
        forming: Forming::default(),
        sync: SyncCheck::default(),
        relay: true,
        buses: vec![
            bus("lan1", BusKind::ModbusTcp),
            bus("rs1", BusKind::ModbusRtu),
            bus("can0", BusKind::Can),
            bus("can1", BusKind::SerialCan),
            bus("mq", BusKind::Mqtt),
        ],
        devices: vec![
            device("inv1", Role::Pv, "sunspec/inverter", "lan1"),
            device("ess1", Role::Ess, "sunspec/storage-inverter", "lan1"),
            device("met1", Role::Pcc, "eastron/sdm630", "rs1"),
            device("bms1", Role::Battery, "pylontech/lv-can", "can0"),
            device("plug1", Role::Load, "tasmota/plug", "mq"),
            device("plug2", Role::Load, "shelly/gen2-plug", "mq"),
            device("bms2", Role::Battery, "victron/lv-can", "can1"),
        ],
        day: None,
        course: None,
        seed: 5,
    }
}

const READ_MARKER: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0x9c, 0x40, 0, 2];

#[test]
fn a_rig_that_does_not_fit_together_is_refused_with_the_device() {
    type Spoil = fn(&mut BenchSpec);
    let rows: [(Spoil, &str); 5] = [
        (
            |s| s.devices[0].bus = "lan9".into(),
            "device `inv1` hangs on bus `lan9`",
        ),
        (
            |s| s.devices[0].bus = "can0".into(),
            "does not speak the protocol of bus `can0`",
        ),
        (
            |s| s.devices[4].topic = None,
            "device `plug1` needs a `topic`",
        ),
        (
            |s| drop(s.devices.remove(1)),
            "battery `bms1` has no storage inverter",
        ),
        (
            |s| {
                s.devices[2].role = Role::Meter;
                s.devices[2].emulate.measures = Some("ghost".into());
            },
            "device `met1` refers to `ghost`",
        ),
    ];
    for (spoil, expected) in rows {
        let mut spec = spec();
        spoil(&mut spec);
        let error = Bench::new(spec)
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_memory_the_same_faces_answer_and_an_hour_passes_at_once() {
    let mut bench = Bench::new(spec()).expect("fits");
    let mut dials = BTreeMap::new();
    let mut links: BTreeMap<Arc<str>, MemoryLink> = BTreeMap::new();
    for bus in ["lan1", "rs1", "can0", "can1"] {
        let (dial, dialled) = unbounded_channel();
        dials.insert(bus, dial);
        links.insert(bus.into(), MemoryLink::Streams(dialled));
    }
    let (dial_broker, dialled) = unbounded_channel();
    links.insert("mq".into(), MemoryLink::Broker(dialled));
    bench.start_memory(links).expect("links fit");

    let (mut near, far) = tokio::io::duplex(4096);
    dials["lan1"].send(far).expect("served");
    near.write_all(&READ_MARKER).await.expect("open");
    let mut answer = [0_u8; 13];
    near.read_exact(&mut answer).await.expect("answered");
    assert_eq!(answer[9..], *b"SunS");

    let (mut can, far) = tokio::io::duplex(4096);
    dials["can0"].send(far).expect("served");
    let mut hello = [0_u8; 6];
    can.read_exact(&mut hello).await.expect("greeted");
    assert_eq!(&hello, b"< hi >");

    let (say, heard) = unbounded_channel();
    let (deliver, mut delivered) = unbounded_channel();
    dial_broker.send((heard, deliver)).expect("served");
    say.send(ToBroker::Subscribe("#".into())).expect("served");
    let mut topics = Vec::new();
    for _ in 0..2 {
        topics.push(delivered.recv().await.expect("kept wills").topic);
    }
    assert_eq!(topics, ["plug2/online", "tele/plug1/LWT"]);

    let handle = bench.handle();
    handle.set("inv1.available", 1000.0).expect("a signal");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let now = handle.world().lock().plant.now();
    assert!(now >= Duration::from_secs(3599), "{now:?}");
    assert!((handle.get("inv1.p").expect("told") - 1000.0).abs() < 1.0);
    // Wrong links are refused by name.
    let mut other = Bench::new(spec()).expect("fits");
    let error = other.start_memory(BTreeMap::new()).expect_err("no links");
    assert!(matches!(error, BenchError::NoLink { bus } if &*bus == "lan1"));
}

#[tokio::test]
async fn in_real_time_every_bus_is_reached_at_the_address_it_tells() {
    let mut bench = Bench::new(spec()).expect("fits");
    let addresses = bench.start_real().await.expect("started");
    assert_eq!(addresses.len(), 5);
    for found in addresses {
        match found.address {
            Address::ModbusTcp(address) => {
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("open");
                stream.write_all(&READ_MARKER).await.expect("open");
                let mut answer = [0_u8; 13];
                stream.read_exact(&mut answer).await.expect("answered");
                assert_eq!(answer[9..], *b"SunS");
            }
            Address::Serial(path) => {
                // Twice, since a client may leave and come back.
                for _ in 0..2 {
                    let builder = tokio_serial::new(&path, 9600);
                    let mut port = tokio_serial::SerialStream::open(&builder).expect("a pty");
                    let mut frame = vec![1, 4, 0, 0x46, 0, 2];
                    let sum = crate::faces::modbus::frame::checksum(&frame);
                    frame.extend(sum.to_le_bytes());
                    port.write_all(&frame).await.expect("open");
                    let mut answer = [0_u8; 9];
                    port.read_exact(&mut answer).await.expect("answered");
                    assert_eq!(answer[..3], [1, 4, 4]);
                }
            }
            Address::Slcan(path) => {
                let builder = tokio_serial::new(&path, 115_200);
                let mut port = tokio_serial::SerialStream::open(&builder).expect("a pty");
                port.write_all(b"S6\rO\r").await.expect("open");
                let mut answer = [0_u8; 3];
                port.read_exact(&mut answer).await.expect("answered");
                assert!(answer.starts_with(b"\r\r"), "{answer:?}");
                assert!(b"tT".contains(&answer[2]), "the battery speaks: {answer:?}");
            }
            Address::Socketcand(address, interface) => {
                assert_eq!(&*interface, "can0");
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("open");
                let mut hello = [0_u8; 6];
                stream.read_exact(&mut hello).await.expect("greeted");
                assert_eq!(&hello, b"< hi >");
            }
            Address::Scpi(_) => panic!("this bench has no instrument"),
            Address::Broker(address) => {
                let host = address.ip().to_string();
                let options = rumqttc::MqttOptions::new("test", host, address.port());
                let (client, mut events) = rumqttc::AsyncClient::new(options, 16);
                let qos = rumqttc::QoS::AtLeastOnce;
                client.subscribe("tele/plug1/LWT", qos).await.expect("up");
                let told = async {
                    loop {
                        let event = events.poll().await.expect("a broker");
                        if let rumqttc::Event::Incoming(rumqttc::Packet::Publish(p)) = event {
                            return p.payload.to_vec();
                        }
                    }
                };
                let limit = Duration::from_secs(20);
                let payload = tokio::time::timeout(limit, told).await.expect("told");
                assert_eq!(payload, b"Online");
            }
        }
    }
}

#[test]
fn a_day_that_moves_what_is_not_there_is_refused() {
    let mut spec = spec();
    let mut day = DayCurve::empty(Duration::from_secs(240), 0.5, 1);
    day.events.push(crate::day::DayEvent {
        at: Duration::ZERO,
        every: None,
        signal: "ghost.p".into(),
        value: 1.0,
    });
    spec.day = Some(day);
    let error = Bench::new(spec).map(|_| ()).expect_err("refused");
    assert!(error.to_string().contains("`ghost.p`"), "{error}");
}

#[test]
fn meters_batteries_and_plugs_find_the_part_they_belong_to() {
    let mut spec = spec();
    spec.devices[3].emulate.soc = Some(StateOfCharge::from_fraction(0.8));
    let mut meter = device("lm1", Role::Meter, "eastron/sdm120", "rs1");
    meter.emulate.measures = Some("inv1".into());
    spec.devices.push(meter);
    let bench = Bench::new(spec).expect("fits");
    let handle = bench.handle();
    assert_eq!(handle.get("ess1.soc"), Ok(0.8));
    let kinds: Vec<Kind> = handle
        .world()
        .lock()
        .devices()
        .iter()
        .map(|d| d.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            Kind::Pv(0),
            Kind::Storage(0),
            Kind::Pcc,
            Kind::Battery(0),
            Kind::Plug(0),
            Kind::Plug(1),
            Kind::Battery(0),
            Kind::Meter(Metered::Pv(0)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_recorded_course_moves_load_sun_and_utility_when_its_rows_come() {
    let course = |text: &str| {
        let source = document::Source::new("course.csv", text);
        Some(Course::parse(&source).expect("a course"))
    };
    let mut wrong = spec();
    wrong.course = course("t [s], ghost.p [W]\n0,1\n");
    let error = Bench::new(wrong).map(|_| ()).expect_err("refused");
    assert!(error.to_string().contains("ghost"), "{error}");

    let mut spec = spec();
    spec.course = course(
        "t [s], plug1.p [-W], inv1.available [kW], grid.f [Hz]\n0,300,1.5,50\n2,700,0.5,49.9\n",
    );
    let mut bench = Bench::new(spec).expect("fits");
    bench.run_plant();
    let handle = bench.handle();
    for (f, sun, drawn) in [(50.0, 1500.0, 300.0), (49.9, 500.0, 700.0)] {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let told = handle.get("grid.f").expect("told");
        // The utility's frequency is noisy by some millihertz.
        assert!((told - f).abs() < 0.03, "{told}");
        assert_eq!(handle.get("inv1.available"), Ok(sun));
        let world = handle.world();
        let set = world.lock().plant.loads.first().map(Load::nominal);
        assert_eq!(set, Some(drawn));
    }
}
