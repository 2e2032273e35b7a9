//! Emulated devices under whatever a client may say: they answer, or leave, and never grow.

use std::sync::{Arc, LazyLock};

use document::Source;
use emulator::bench::STEP;
use emulator::device::{Device, Kind, Nameplate};
use emulator::faces::can::CanBus;
use emulator::faces::modbus::Port;
use emulator::faces::modbus::frame::Framing;
use emulator::faces::modbus::image::{Identity, Image};
use emulator::faces::mqtt::{Firmware, Talker};
use emulator::faces::{slcan, socketcand};
use emulator::plant::breaker::SyncCheck;
use emulator::plant::load::Load;
use emulator::plant::network::Feeder;
use emulator::plant::storage::{Storage, StorageRating};
use emulator::plant::{Forming, Plant, Site};
use emulator::world::{Shared, World};
use model::Point;
use profile::can::CanProfile;
use profile::modbus::ModbusProfile;
use profile::mqtt::{Message, MqttProfile};
use profile::{Profile, Protocol};
use quantities::{Frequency, Voltage};

use crate::choice;

/// The bundled profiles of a protocol.
fn bundled<P>(of: impl Fn(&Protocol) -> Option<P>) -> Vec<(Arc<Profile>, P)> {
    profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .filter_map(|profile| {
            let part = of(&profile.protocol)?;
            Some((profile, part))
        })
        .collect()
}

static MODBUS: LazyLock<Vec<(Arc<Profile>, ModbusProfile)>> = LazyLock::new(|| {
    bundled(|protocol| match protocol {
        Protocol::Modbus(modbus) => Some(modbus.clone()),
        _ => None,
    })
});

/// A device on CAN that takes a setpoint from frames.
const COMMANDED: &str = r#"schema = 1
[profile]
id = "acme/battery"
title = "Acme battery"
version = 1
source = ["Acme manual 1.0"]
protocol = "can"
sign = "generation+"
[can]
bitrate = 500000
[[frame]]
id = 0x201
len_min = 2
period = "100ms"
timeout = "500ms"
signals = [{ name = "ctl.p_set", start = 0, bits = 16, signed = true, unit = "W", scale = 10, range = "-9..9kW" }]
[[control]]
name = "ctl.p_set"
id = 0x200
len = 8
refresh = "200ms"
confirm_within = "1s"
comms_loss = "reverts"
revert = "1s"
safe = "0W"
tolerance = "10W"
range = "-9..9kW"
fields = [
  { start = 0, bits = 4, write = "constant", raw = 1 },
  { start = 8, bits = 16, signed = true, unit = "W", scale = 10, write = "setpoint" },
]
"#;

static CAN: LazyLock<CanProfile> = LazyLock::new(|| {
    let (profile, _) = Profile::parse(Source::new("commanded.toml", COMMANDED)).expect("sound");
    match profile.protocol {
        Protocol::Can(can) => Some(can),
        _ => None,
    }
    .expect("it is for CAN")
});

static MQTT: LazyLock<Vec<(Arc<Profile>, MqttProfile)>> = LazyLock::new(|| {
    bundled(|protocol| match protocol {
        Protocol::Mqtt(mqtt) => Some(mqtt.clone()),
        _ => None,
    })
});

const SITE: Site = Site {
    v_nominal: Voltage::from_volts(230.0),
    f_nominal: Frequency::from_hertz(50.0),
    phases: 3,
};

/// What is rated: 3 kW and 5 kWh. Chosen: any.
const RATED: Nameplate = Nameplate {
    p: 3000.0,
    s: 3000.0,
    capacity_wh: 5000.0,
};

/// A plant with one device, which is a storage or a plug.
fn world(is_plug: bool) -> Shared {
    let sync = SyncCheck::default();
    let mut plant = Plant::new(SITE, Feeder::default(), Forming::default(), sync, 1);
    plant.grid.set_noise(Frequency::ZERO);
    let kind = if is_plug {
        plant.loads.push(Load::new(1000.0, true));
        Kind::Plug(0)
    } else {
        let rating = StorageRating {
            p: RATED.p,
            capacity_wh: RATED.capacity_wh,
            ramp: RATED.p,
        };
        plant.storage.push(Storage::new(rating, 0.5));
        Kind::Storage(0)
    };
    let device = Device::new("dev1".into(), "bus1".into(), kind, RATED);
    let mut world = World::new(plant, vec![device], 1);
    world.step(STEP);
    Shared::new(world)
}

/// Steps of the plant after a client has spoken. Chosen: half a second, the fastest change of power.
const STEPS: usize = 10;

/// Whatever was said, the device holds numbers, and none beyond its rating.
fn is_sane(world: &Shared) {
    let mut world = world.lock();
    // Setpoints and their timers have room to act.
    for _ in 0..STEPS {
        world.step(STEP);
    }
    for point in [Point::ActivePower, Point::ReactivePower] {
        let value = world.value(0, point);
        assert!(
            value.is_none_or(|v| v.abs() <= RATED.s * 1.001),
            "{point} is {value:?}"
        );
    }
}

/// Runs something that waits for nobody but its own timers.
fn alone<R>(future: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("a runtime without sockets needs nothing of the system")
        .block_on(future)
}

/// Longest answer to one byte of a client, in bytes, and to one that says nothing at all.
/// Chosen: a read of eight bytes is answered by 260, a command of eight by a remark of 50; a greeting.
const ANSWER_PER_BYTE: usize = 64;
const ANSWER_LEAST: usize = 64;

fn is_bounded(said: &[u8], answered: &[u8]) {
    let most = ANSWER_LEAST + ANSWER_PER_BYTE * said.len();
    assert!(answered.len() <= most, "{} bytes", answered.len());
}

/// A client of any bundled Modbus device, over TCP or a serial line: whatever it writes, it is
/// answered in frames, and the device holds what it can.
pub fn modbus_unit(bytes: &[u8]) {
    let Some((number, said)) = choice(bytes, 2 * MODBUS.len()) else {
        return;
    };
    let (_, modbus) = &MODBUS[number / 2];
    let framing = [Framing::Tcp, Framing::Rtu][number % 2];
    let world = world(false);
    let identity = Identity {
        der: None,
        maker: "gridrig".into(),
        model: "fuzz".into(),
        serial: "1".into(),
        nameplate: RATED,
        is_storage: true,
    };
    let mut port = Port::new(world.clone());
    port.add(1, 0, Image::of(modbus, &identity, SITE));
    let mut stream = tokio::io::join(said, Vec::new());
    let left = alone(Arc::new(port).serve(&mut stream, framing));
    assert!(left.is_ok(), "memory does not break");
    let (_, answered) = stream.into_inner();
    is_bounded(said, &answered);
    is_sane(&world);
}

/// A client of the emulated CAN bus, over socketcand or a serial adapter.
pub fn can_client(bytes: &[u8]) {
    let Some((number, said)) = choice(bytes, 2) else {
        return;
    };
    let world = world(false);
    let mut bus = CanBus::new(world.clone());
    bus.add(0, CAN.clone());
    let bus = Arc::new(bus);
    let mut stream = tokio::io::join(said, Vec::new());
    let left = alone(async {
        match number {
            0 => socketcand::serve(bus, "can0".into(), &mut stream).await,
            _ => slcan::serve(bus, &mut stream).await,
        }
    });
    assert!(left.is_ok(), "memory does not break");
    let (_, answered) = stream.into_inner();
    is_bounded(said, &answered);
    is_sane(&world);
}

/// Longest answer of a plug, in bytes. Chosen: some times the longest status there is.
const TOLD_MAX: usize = 16 << 10;

/// A message to any bundled MQTT device on each of its topics, of which a wildcard is filled with the
/// first line: what it says has a plain topic and an end.
pub fn mqtt_command(bytes: &[u8]) {
    let Some((number, said)) = choice(bytes, MQTT.len()) else {
        return;
    };
    let (profile, mqtt) = &MQTT[number];
    let world = world(mqtt.commands.iter().all(|c| c.point == Point::SwitchOn));
    let firmware = Firmware::of(profile, mqtt);
    let mut talker = Talker::new(world.clone(), 0, "a1/b2", firmware);
    let end = said.iter().position(|byte| *byte == b'\n');
    let (word, payload) = match end {
        Some(end) => (&said[..end], &said[end + 1..]),
        None => (&said[..0], said),
    };
    let word = String::from_utf8_lossy(word);
    let mut told = talker.greet();
    for filter in talker.filters() {
        let topic = filter.replace(['#', '+'], &word);
        let payload = payload.to_vec();
        told.extend(talker.hear(&Message {
            topic,
            payload,
            retain: false,
        }));
    }
    told.extend(talker.tick());
    for message in told {
        assert!(message.payload.len() <= TOLD_MAX, "{}", message.topic);
    }
    is_sane(&world);
}
