use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::*;
use model::*;
use profile::modbus::*;

struct C(std::time::Instant);
impl Clock for C {
    fn now(&self) -> Instant {
        Instant::START + self.0.elapsed()
    }
    fn utc(&self) -> UtcTime {
        UtcTime::default()
    }
}
#[derive(Default)]
struct S {
    good: AtomicU64,
    bad: AtomicU64,
    events: AtomicU64,
    jitter: std::sync::Mutex<Vec<u64>>,
}
impl Sink for S {
    fn sample(&self, s: PointSample) {
        if s.sample.reading.good().is_some() {
            self.good.fetch_add(1, Ordering::Relaxed);
        } else {
            self.bad.fetch_add(1, Ordering::Relaxed);
        }
        if s.device.0 == 0 && s.point == Point::ActivePower {
            self.jitter
                .lock()
                .unwrap()
                .push(s.sample.measured_at.as_nanos());
        }
    }
    fn event(&self, e: LinkEvent) {
        if self.events.fetch_add(1, Ordering::Relaxed) < 3 {
            eprintln!("{e:?}");
        }
    }
}
fn cpu() -> f64 {
    let mut t = String::new();
    std::fs::File::open("/proc/thread-self/schedstat")
        .unwrap()
        .read_to_string(&mut t)
        .unwrap();
    t.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}
fn main() {
    let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = l.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for s in l.incoming() {
            let mut s = s.unwrap();
            s.set_nodelay(true).unwrap();
            std::thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn(move || {
                    let mut b = [0; 12];
                    while s.read_exact(&mut b).is_ok() {
                        let n = b[11];
                        let mut r = vec![b[0], b[1], 0, 0, 0, 3 + 2 * n, b[6], 3, 2 * n];
                        r.extend(std::iter::repeat_n(1, usize::from(2 * n)));
                        if s.write_all(&r).is_err() {
                            break;
                        }
                    }
                })
                .unwrap();
        }
    });
    let enc = Encoding {
        data: DataType::U16,
        order: WordOrder::BigFirst,
        factor: 1.0,
        scale: None,
        not_implemented: None,
    };
    let p = ModbusProfile {
        unit: 1,
        timeout: Duration::from_millis(500),
        min_gap: Duration::ZERO,
        late_window: Duration::from_millis(500),
        connect_delay: Duration::ZERO,
        max_regs: 125,
        max_gap: 0,
        serial: None,
        layout: Layout::Fixed,
        identify: None,
        points: (0..10)
            .zip(Point::ALL)
            .map(|(a, p)| RegisterPoint {
                point: *p,
                address: Address::Fixed {
                    table: Table::Holding,
                    address: a,
                },
                encoding: enc,
                range: (-1e9, 1e9),
                poll: Poll::Fast,
            })
            .collect(),
        controls: vec![],
    };
    let profile = Arc::new(profile::Profile {
        id: "x/y".into(),
        title: String::new(),
        version: 1,
        source: vec![],
        protocol: profile::Protocol::Modbus(p),
    });
    let sink = Arc::new(S::default());
    let clock = Arc::new(C(std::time::Instant::now()));
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let handles: Vec<_> = (0..100)
                .map(|i| {
                    start(
                        BusSpec {
                            id: format!("b{i}").into(),
                            endpoint: Endpoint::Tcp {
                                host: "127.0.0.1".into(),
                                port,
                            },
                            rtu: false,
                            timeout: None,
                            min_gap: None,
                            seed: i,
                        },
                        vec![BusDevice {
                            ix: DeviceIx(i as u16),
                            id: "d".into(),
                            profile: profile.clone(),
                            unit: None,
                            topic: None,
                            revert: None,
                            poll: PollPeriods {
                                fast: Duration::from_millis(20),
                                normal: Duration::from_secs(1),
                                slow: Duration::from_secs(60),
                            },
                        }],
                        clock.clone(),
                        sink.clone(),
                    )
                })
                .collect();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (c, g) = (cpu(), sink.good.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_secs(10)).await;
            let (c, g) = (cpu() - c, sink.good.load(Ordering::Relaxed) - g);
            println!(
                "cpu {c:.2} s per 10 s, {} transactions, {:.1} us each, bad {}",
                g / 10,
                c * 1e7 / g as f64,
                sink.bad.load(Ordering::Relaxed)
            );
            println!("{:?}", handles[0].stats.report());
            let t = sink.jitter.lock().unwrap().clone();
            let mut d: Vec<_> = t.windows(2).map(|w| (w[1] - w[0]) / 1000).collect();
            d.sort();
            println!(
                "period us p1 {} p50 {} p99 {} max {}",
                d[d.len() / 100],
                d[d.len() / 2],
                d[d.len() * 99 / 100],
                d[d.len() - 1]
            );
        });
}
