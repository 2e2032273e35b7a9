//! `ledger-nodes`: one node with many writers beside its disk and its signatures; four nodes on this
//! machine until an atom is final, beside bare signatures; eight nodes in two groups beside the same
//! eight in one, and beside four.
//!
//! Other work on the machine stretches seconds and, by its caches, also seconds of CPU. So what an
//! atom costs is also said in bare verifications, measured by [`Beside`] in the very same seconds.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ledger_core::payload::{Dispatch, DispatchKind, MeterReading, ReadingQuality, Setpoint};
use ledger_core::{Address, AtomId, Directory, Level, Payload, Role, SecretKey};
use ledger_net::files::{Plan, file_name, init};
use ledger_net::{Event, Node, NodeConfig};
use ledger_node::AtomDraft;
use model::Clock as _;
use runtime::clock::SystemClock;
use serde_json::{Value, json};

use super::beside::Beside;
use super::ledger_verify::bare;
use super::usage::{cpu, cpu_of_thread, load};
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

/// Most that is asked of four nodes, in final atoms a second. Chosen: by who asked for it.
const ASKED_PER_S: f64 = 2_000.0;

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
    let signing = signing()?;
    // A dispatch bears the signature of its author, made here, and then the batch goes to the disk.
    let bound_of_one = 1.0 / (1.0 / disk + 1.0 / signing);
    let at_100 = one_node.last().map_or(0.0, |row| row.per_s);
    let per_verification = bare(cores)?.per_s;
    let cores = cores.get() as f64;
    let four = several(&folder.join("four"), 4, 1)?;
    // Every replica but the author's home verifies the author's signature.
    let bound = per_verification / 3.0;
    let bound_by_cpu = cores / four.verification_cpu_s / 3.0;
    let asked_of = |bound: f64| (0.7 * bound).min(ASKED_PER_S);
    let in_two = several(&folder.join("two"), 8, 2)?;
    let in_one = several(&folder.join("one"), 8, 1)?;
    Ok(json!({
        "bench": "ledger-nodes",
        "optimised": !cfg!(debug_assertions),
        "load": load,
        "cores": cores,
        "one_node": one_node.iter().map(One::json).collect::<Vec<_>>(),
        "disk_entries_per_s": disk.round(),
        "signatures_made_per_s_by_a_core": signing.round(),
        "bound_of_one_node_per_s": bound_of_one.round(),
        "share_of_disk_at_100_writers": rounded(at_100 / disk),
        "share_of_bound_at_100_writers": rounded(at_100 / bound_of_one),
        "bare_verifications_per_s": per_verification.round(),
        "four_nodes": four.json(cores),
        "bound_per_s": bound.round(),
        "asked_per_s": asked_of(bound).round(),
        "of_asked": rounded(four.per_s / asked_of(bound)),
        "of_asked_by_cpu": rounded(four.of_cores(cores) / asked_of(bound_by_cpu)),
        "eight_nodes_in_two_groups": in_two.json(cores),
        "eight_nodes_in_one_group": in_one.json(cores),
        // The same eight node-cores, in two groups and in one.
        "sharding": rounded(in_one.verifications() / in_two.verifications()),
        // Twice the node-cores of one group of four: two would be perfect.
        "doubling": rounded(2.0 * four.verifications() / in_two.verifications()),
    }))
}

/// One node, some writers.
struct One {
    writers: usize,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Seconds of CPU of a dispatch.
    cpu_s: f64,
}

impl One {
    fn json(&self) -> Value {
        json!({
            "writers": self.writers,
            "per_s": self.per_s.round(),
            "p50_ms": rounded(self.p50_ms),
            "p99_ms": rounded(self.p99_ms),
            "cpu_us": rounded(self.cpu_s * 1e6),
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
    /// Seconds of CPU of a final atom, all nodes together.
    cpu_s: f64,
    /// Seconds of CPU of a bare verification in the same seconds.
    verification_cpu_s: f64,
}

impl Several {
    /// What a final atom costs, in bare verifications.
    fn verifications(&self) -> f64 {
        self.cpu_s / self.verification_cpu_s
    }

    /// Final atoms a second if the cores did nothing else.
    fn of_cores(&self, cores: f64) -> f64 {
        cores / self.cpu_s
    }

    fn json(&self, cores: f64) -> Value {
        json!({
            "nodes": self.nodes,
            "groups": self.groups,
            "final_per_s": self.per_s.round(),
            "final_p50_ms": rounded(self.p50_ms),
            "final_p99_ms": rounded(self.p99_ms),
            "cpu_us_of_a_final_atom": rounded(self.cpu_s * 1e6),
            "cpu_us_of_a_bare_verification": rounded(self.verification_cpu_s * 1e6),
            "a_final_atom_in_verifications": rounded(self.verifications()),
            "cores_alone_would_carry_per_s": self.of_cores(cores).round(),
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
        0 => dispatch(subject, n, now),
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

fn dispatch(device: &str, n: u64, now: i64) -> Payload {
    Payload::Dispatch(Dispatch {
        device: device.to_owned(),
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
    })
}

fn one(folder: &Path, writers: usize) -> Result<One, BenchError> {
    let configs = universe(folder, 1, 1)?;
    let node = start(&configs[0], |_| {})?;
    let clock = SystemClock::start();
    let (began, cpu_before) = (Instant::now(), cpu());
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
                        let draft = AtomDraft::new(&author, dispatch("inverter", n, now));
                        let mut ticket = node.submit(now, vec![draft]);
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
    let spent = cpu() - cpu_before;
    let all = node.status().clock;
    node.close()
        .map_err(|e| failed(e.into_diagnostic().message))?;
    let mut sorted = waits;
    sorted.sort_unstable();
    Ok(One {
        writers,
        per_s: sorted.len() as f64 / MEASURED.as_secs_f64(),
        p50_ms: percentile(&sorted, 0.5),
        p99_ms: percentile(&sorted, 0.99),
        cpu_s: spent.as_secs_f64() / all.max(1) as f64,
    })
}

/// Signatures per second that one core makes with a key that is a secret.
fn signing() -> Result<f64, BenchError> {
    let key = SecretKey::from_bytes(&[7; 32]).map_err(failed)?;
    let (mut digest, mut made) = ([0x5a; 32], 0_u64);
    let before = cpu_of_thread();
    let mut spent = Duration::ZERO;
    while spent < Duration::from_secs(1) {
        for _ in 0..64 {
            digest[..8].copy_from_slice(&made.to_be_bytes());
            std::hint::black_box(key.sign(&digest).map_err(failed)?);
            made += 1;
        }
        spent = cpu_of_thread() - before;
    }
    Ok(made as f64 / spent.as_secs_f64())
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
    let mut beside = None;
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
        beside = Some(Beside::start());
        is_measured.store(true, Ordering::Relaxed);
        times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waits
            .clear();
    });
    let spent = cpu() - cpu_before;
    let beside = beside
        .ok_or_else(|| failed("nothing was measured"))?
        .stop()?;
    let mut waits = std::mem::take(&mut times.lock().unwrap_or_else(PoisonError::into_inner).waits);
    // Their logs are removed afterwards, so nobody may still write.
    for node in running {
        let closed = node.close();
        let _head = closed.map_err(|e| failed(e.into_diagnostic().message))?;
    }
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
        cpu_s: spent.saturating_sub(beside.spent).as_secs_f64() / waits.len() as f64,
        verification_cpu_s: beside.verification.as_secs_f64(),
    })
}
