//! `ledger-nodes`: one node with many writers beside its disk; four nodes on this machine until an
//! atom is final, beside bare signatures; eight nodes in two groups beside four in one.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ledger_core::payload::{Dispatch, DispatchKind, MeterReading, ReadingQuality, Setpoint};
use ledger_core::{Address, AtomId, Directory, Level, Payload, Role};
use ledger_net::files::{Plan, file_name, init};
use ledger_net::{Event, Node, NodeConfig};
use ledger_node::AtomDraft;
use model::Clock as _;
use runtime::clock::SystemClock;
use serde_json::{Value, json};

use super::ledger_verify::bare;
use super::usage::{cpu, load};
use super::{BenchError, rounded};

/// How long each part is measured.
const MEASURED: Duration = Duration::from_secs(5);

/// Before that, the connections and the caches come alive.
const WARM_UP: Duration = Duration::from_secs(1);

/// Parties that write; each has its home at one node of its group.
const WRITERS: usize = 16;

/// Atoms of one submission, as a control cycle of eight devices makes them.
const AT_ONCE: usize = 8;

/// Most atoms that are not final, of all homes together. Chosen: half a second of the asked rate.
const OPEN_MAX: u64 = 1_000;

/// Bytes of an entry, for the bare disk: what a dispatch takes.
const ENTRY_BYTES: usize = 700;

/// Measures all three parts.
///
/// # Errors
/// No folder, no ports, or a node that does not start.
pub fn measure() -> Result<Value, BenchError> {
    let folder = std::env::temp_dir().join(format!("gridrig-ledger-nodes-{}", std::process::id()));
    std::fs::create_dir_all(&folder)
        .map_err(BenchError::system("there is no folder for the logs"))?;
    let measured = measure_in(&folder);
    let removed = std::fs::remove_dir_all(&folder);
    let measured = measured?;
    removed.map_err(BenchError::system("the logs cannot be removed"))?;
    Ok(measured)
}

fn measure_in(folder: &Path) -> Result<Value, BenchError> {
    let cores = std::thread::available_parallelism()
        .map_err(BenchError::system("the number of cores is not known"))?;
    let load = load();
    let mut one_node = vec![];
    for writers in [1, 10, 100] {
        one_node.push(one(&folder.join(format!("one-{writers}")), writers)?);
    }
    let disk = disk(&folder.join("disk"))?;
    let per_verification = bare(cores)?.per_s;
    let four = several(&folder.join("four"), 4, 1)?;
    // Every replica but the author's home verifies the author's signature.
    let bound = per_verification / 3.0;
    let asked = (0.7 * bound).min(2_000.0);
    let eight = several(&folder.join("eight"), 8, 2)?;
    let of_disk = one_node.last().map_or(0.0, |row| row.per_s) / disk;
    Ok(json!({
        "bench": "ledger-nodes",
        "optimised": !cfg!(debug_assertions),
        "load": load,
        "cores": cores,
        "one_node": one_node.iter().map(One::json).collect::<Vec<_>>(),
        "disk_entries_per_s": disk.round(),
        "share_of_disk_at_100_writers": rounded(of_disk),
        "bare_verifications_per_s": per_verification.round(),
        "four_nodes": four.json(),
        "bound_per_s": bound.round(),
        "asked_per_s": asked.round(),
        "of_asked": rounded(four.per_s / asked),
        "eight_nodes_in_two_groups": eight.json(),
        "sharding": rounded(eight.per_node_cpu_s * 8.0 / (four.per_node_cpu_s * 4.0)),
    }))
}

/// One node, some writers.
struct One {
    writers: usize,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl One {
    fn json(&self) -> Value {
        json!({
            "writers": self.writers,
            "per_s": self.per_s.round(),
            "p50_ms": rounded(self.p50_ms),
            "p99_ms": rounded(self.p99_ms),
        })
    }
}

/// Several nodes.
struct Several {
    nodes: usize,
    groups: usize,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Final atoms for each second of CPU.
    per_node_cpu_s: f64,
}

impl Several {
    fn json(&self) -> Value {
        json!({
            "nodes": self.nodes,
            "groups": self.groups,
            "final_per_s": self.per_s.round(),
            "final_p50_ms": rounded(self.p50_ms),
            "final_p99_ms": rounded(self.p99_ms),
            "final_per_cpu_s": rounded(self.per_node_cpu_s),
        })
    }
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    let found = sorted.get(at.min(sorted.len().saturating_sub(1)));
    found.map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
}

fn failed(what: impl std::fmt::Display) -> BenchError {
    BenchError::Run(what.to_string())
}

/// A universe on free ports of loopback.
fn universe(folder: &Path, nodes: usize, groups: usize) -> Result<Vec<NodeConfig>, BenchError> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> = (0..nodes)
        .map(bind)
        .collect::<Result<_, _>>()
        .map_err(BenchError::system("there are no free ports"))?;
    let addresses: Vec<SocketAddr> = held.iter().filter_map(|l| l.local_addr().ok()).collect();
    drop(held);
    let each = (nodes / groups) as u64;
    let plan = Plan {
        name: "bench".to_owned(),
        created_utc_ns: SystemClock::start().utc().unix_nanos(),
        addresses,
        parties: (0..WRITERS)
            .map(|n| {
                (
                    format!("writer-{n:02}"),
                    vec![Role::Dispatcher, Role::Meter],
                )
            })
            .collect(),
        admin_threshold: 1,
        replicas: match groups {
            1 => vec![],
            _ => (0..groups as u64)
                .map(|group| (group * each..(group + 1) * each).collect())
                .collect(),
        },
    };
    let mut n: u8 = 0;
    let mut entropy = |bytes: &mut [u8; 32]| {
        n += 1;
        *bytes = [n; 32];
        Ok(())
    };
    let made = init(folder, &plan, &mut entropy).map_err(|e| failed(e.0))?;
    let read = |path: &PathBuf| NodeConfig::load(path).map_err(|e| failed(e.0[0].message.clone()));
    made.configs.iter().map(read).collect()
}

fn start(
    config: &NodeConfig,
    on_event: impl FnMut(Event) + Send + 'static,
) -> Result<Node, BenchError> {
    let clock = SystemClock::start();
    let wall = Arc::new(move || clock.utc().unix_nanos());
    Node::start(config, wall, on_event).map_err(|e| failed(e.into_diagnostic().message))
}

/// What a writer says: by turns a dispatch and a reading, about things of its own shard.
fn draft(author: &str, subject: &str, n: u64, now: i64) -> AtomDraft {
    let payload = match n % 2 {
        0 => Payload::Dispatch(Dispatch {
            device: subject.to_owned(),
            kind: DispatchKind::Power,
            setpoint: Setpoint {
                p_milliwatts: Some(n as i64),
                ..Setpoint::NONE
            },
            authority_epoch: 1,
            valid_from_utc_ns: now,
            valid_until_utc_ns: now + 100_000_000,
            cause: None,
            why: "bench".to_owned(),
        }),
        _ => Payload::MeterReading(MeterReading {
            participant: subject.to_owned(),
            interval_start_utc_ns: now,
            interval_ns: 1_000_000_000,
            energy_milliwatt_hours: Some(n as i64),
            quality: ReadingQuality::Valid,
        }),
    };
    AtomDraft::new(author, payload)
}

fn one(folder: &Path, writers: usize) -> Result<One, BenchError> {
    let configs = universe(folder, 1, 1)?;
    let node = start(&configs[0], |_| {})?;
    let clock = SystemClock::start();
    let began = Instant::now();
    let waits: Vec<Duration> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..writers)
            .map(|writer| {
                let (node, clock) = (&node, &clock);
                scope.spawn(move || {
                    let author = format!("writer-{:02}", writer % WRITERS);
                    let mut waits = vec![];
                    let mut n = 0;
                    while began.elapsed() < WARM_UP + MEASURED {
                        let (now, asked) = (clock.utc().unix_nanos(), Instant::now());
                        let mut ticket = node.submit(now, vec![draft(&author, "inverter", n, now)]);
                        if ticket.wait(Duration::from_secs(10)).is_ok() && began.elapsed() > WARM_UP
                        {
                            waits.push(asked.elapsed());
                        }
                        n += 1;
                    }
                    waits
                })
            })
            .collect();
        let waits = hands
            .into_iter()
            .map(|hand| hand.join().unwrap_or_default());
        waits.flatten().collect()
    });
    node.close()
        .map_err(|e| failed(e.into_diagnostic().message))?;
    let mut sorted = waits;
    sorted.sort_unstable();
    Ok(One {
        writers,
        per_s: sorted.len() as f64 / MEASURED.as_secs_f64(),
        p50_ms: percentile(&sorted, 0.5),
        p99_ms: percentile(&sorted, 0.99),
    })
}

/// Entries per second that the bare disk takes in synchronised batches of a hundred.
fn disk(path: &Path) -> Result<f64, BenchError> {
    let failed = BenchError::system("the bare disk cannot be written");
    let write = || -> std::io::Result<f64> {
        let mut file = std::fs::File::create(path)?;
        let batch = vec![0x5a; 100 * ENTRY_BYTES];
        let (began, mut batches) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(2) {
            file.write_all(&batch)?;
            file.sync_data()?;
            batches += 1;
        }
        Ok(f64::from(batches) * 100.0 / began.elapsed().as_secs_f64())
    };
    write().map_err(failed)
}

/// When atoms were submitted and when they became final; whichever is heard of first waits here.
#[derive(Default)]
struct Times {
    submitted: HashMap<AtomId, Instant>,
    finals: HashMap<AtomId, Instant>,
    waits: Vec<Duration>,
}

fn several(folder: &Path, nodes: usize, groups: usize) -> Result<Several, BenchError> {
    let configs = universe(folder, nodes, groups)?;
    let universe = &configs[0].universe;
    let id = universe.id().map_err(failed)?;
    let directory = Directory::new(universe, id);
    // Each writer lives at a node of its group, and speaks of things of that group.
    let mut homes: Vec<Vec<(String, String)>> = vec![vec![]; nodes];
    for (n, party) in universe.parties.iter().enumerate() {
        let address = Address::of_key(&id, &party.key);
        let replicas = directory.replicas(&address);
        let home = replicas[n % replicas.len()];
        let subject = (0..)
            .map(|at| format!("inverter-{n}-{at}"))
            .find(|name| directory.replicas(&Address::of_name(&id, name)) == replicas);
        let key = file_name(&party.name);
        if home != 0 {
            std::fs::rename(configs[0].keys.join(&key), configs[home].keys.join(&key))
                .map_err(BenchError::system("a key cannot be moved"))?;
        }
        homes[home].push((party.name.clone(), subject.unwrap_or_default()));
    }
    let open = Arc::new(AtomicU64::new(0));
    let times: Arc<Mutex<Times>> = Arc::default();
    let is_measured = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut running = vec![];
    for config in &configs {
        let (times, is_measured) = (Arc::clone(&times), Arc::clone(&is_measured));
        let open = Arc::clone(&open);
        let mine: std::collections::BTreeSet<String> = homes[config.me]
            .iter()
            .map(|(author, _)| author.clone())
            .collect();
        let is_home = !mine.is_empty();
        let on_event = move |event: Event| {
            let Event::Reached {
                atom,
                level: Level::Final,
            } = event
            else {
                return;
            };
            if !is_home {
                return;
            }
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            // Only the home has submitted it; others' finals are of no interest.
            if let Some(submitted) = times.submitted.remove(&atom) {
                open.fetch_sub(1, Ordering::Relaxed);
                if is_measured.load(Ordering::Relaxed) {
                    times.waits.push(submitted.elapsed());
                }
            } else {
                times.finals.entry(atom).or_insert_with(Instant::now);
            }
        };
        running.push(start(config, on_event)?);
    }
    let clock = SystemClock::start();
    let began = Instant::now();
    let mut cpu_before = Duration::ZERO;
    std::thread::scope(|scope| {
        for (home, authors) in homes.iter().enumerate() {
            let (node, times, clock, open) = (&running[home], &times, &clock, &open);
            scope.spawn(move || {
                let mut n = 0;
                while began.elapsed() < WARM_UP + MEASURED {
                    for (author, subject) in authors {
                        if open.load(Ordering::Relaxed) > OPEN_MAX {
                            std::thread::sleep(Duration::from_millis(1));
                            continue;
                        }
                        let (now, asked) = (clock.utc().unix_nanos(), Instant::now());
                        let drafts = (0..AT_ONCE as u64)
                            .map(|k| draft(author, subject, n + k, now))
                            .collect();
                        n += AT_ONCE as u64;
                        open.fetch_add(AT_ONCE as u64, Ordering::Relaxed);
                        let mut ticket = node.submit(now, drafts);
                        let Ok(receipts) = ticket.wait(Duration::from_secs(10)) else {
                            return;
                        };
                        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                        for receipt in receipts {
                            match times.finals.remove(&receipt.atom_id) {
                                Some(at) => {
                                    open.fetch_sub(1, Ordering::Relaxed);
                                    times.waits.push(at.saturating_duration_since(asked));
                                }
                                None => {
                                    times.submitted.insert(receipt.atom_id, asked);
                                }
                            }
                        }
                    }
                    if authors.is_empty() {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(WARM_UP);
        cpu_before = cpu();
        is_measured.store(true, Ordering::Relaxed);
        times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waits
            .clear();
    });
    let spent = cpu() - cpu_before;
    let mut waits = std::mem::take(&mut times.lock().unwrap_or_else(PoisonError::into_inner).waits);
    drop(running);
    waits.sort_unstable();
    if waits.is_empty() {
        return Err(failed("no atom became final"));
    }
    Ok(Several {
        nodes,
        groups,
        per_s: waits.len() as f64 / MEASURED.as_secs_f64(),
        p50_ms: percentile(&waits, 0.5),
        p99_ms: percentile(&waits, 0.99),
        per_node_cpu_s: waits.len() as f64 / spent.as_secs_f64(),
    })
}
