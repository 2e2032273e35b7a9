//! The page for Prometheus. Base units in the names; what is not known is left out, never zero.

use std::fmt::Write as _;

use super::wire::{Device, Known, Line, Quality, State};
use crate::alarm::{AlarmView, Standing};
use crate::view::LiveView;
use model::Mode;

/// A page that is being written.
struct Page(String);

impl Page {
    /// A family of metrics: head once, then its samples; a family without samples is left out.
    fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, String)>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
                .collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help, [(vec![], value as f64)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.family(name, "gauge", help, value.map(|v| (vec![], v)));
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A value that control would use.
fn usable<T: Copy>(known: &Known<T>) -> Option<T> {
    match known.quality {
        Quality::Good | Quality::Held => known.value,
        Quality::Stale | Quality::Unread | Quality::Absent => None,
    }
}

/// The page as it is now.
pub(super) fn page(view: &LiveView, alarms: &[AlarmView]) -> String {
    let state = State::of(view);
    let mut page = Page(String::new());
    run(&mut page, &state);
    bench(&mut page, &state);
    devices(&mut page, &state.devices);
    buses(&mut page, &state);
    let raised = alarms.iter().map(|alarm| {
        let labels = vec![
            ("alarm", alarm.spec.name.clone()),
            ("severity", alarm.spec.severity.name().to_owned()),
        ];
        let is_raised = alarm.standing != Standing::Calm;
        (labels, f64::from(u8::from(is_raised)))
    });
    page.family(
        "gridrig_alarm_raised",
        "gauge",
        "Whether an alarm of the rig is raised.",
        raised,
    );
    page.0
}

fn run(page: &mut Page, state: &State) {
    let c = &state.counters;
    let counters: [(&str, &str, u64); 11] = [
        ("gridrig_cycles_total", "Supervisory cycles.", c.cycles),
        (
            "gridrig_cycles_late_total",
            "Cycles begun more than a fifth of the period late.",
            c.cycles_late,
        ),
        ("gridrig_samples_total", "Samples taken in.", c.samples),
        ("gridrig_dispatches_total", "Setpoints sent.", c.dispatches),
        (
            "gridrig_dispatches_logged_total",
            "Setpoints durable in the ledger.",
            c.dispatches_logged,
        ),
        ("gridrig_trades_total", "Trades.", c.trades),
        (
            "gridrig_telemetry_values_written_total",
            "Values acknowledged by the telemetry sink.",
            c.telemetry_written,
        ),
        (
            "gridrig_telemetry_values_lost_total",
            "Values that the telemetry sink lost.",
            c.telemetry_lost,
        ),
        (
            "gridrig_database_rows_lost_total",
            "Rows (readings, figures, events) that samples.db did not take.",
            c.database_lost,
        ),
        (
            "gridrig_home_assistant_values_written_total",
            "Values that the broker of Home Assistant has acknowledged.",
            c.home_written,
        ),
        (
            "gridrig_home_assistant_values_lost_total",
            "Values that the sink of Home Assistant lost.",
            c.home_lost,
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value);
    }
    page.gauge(
        "gridrig_telemetry_values_waiting",
        "Values that wait for a telemetry server, in memory or in the spool.",
        Some(c.telemetry_waiting as f64),
    );
    let Some(cycle) = &state.cycle else { return };
    page.gauge(
        "gridrig_cycle_late_seconds",
        "How late the latest cycle began.",
        Some(cycle.late_ms / 1e3),
    );
    page.gauge(
        "gridrig_cycle_duration_seconds",
        "How long the latest cycle took.",
        Some(cycle.took_ms / 1e3),
    );
    page.gauge(
        "gridrig_armed",
        "Whether devices may be written to.",
        Some(f64::from(u8::from(cycle.armed))),
    );
    page.family(
        "gridrig_mode",
        "gauge",
        "Operating mode: 1 for the present one.",
        Mode::ALL.iter().map(|mode| {
            (
                vec![("mode", mode.name().to_owned())],
                f64::from(u8::from(mode.name() == cycle.mode)),
            )
        }),
    );
}

fn bench(page: &mut Page, state: &State) {
    if let Some(e) = &state.estimate {
        let gauges: [(&str, &str, Option<f64>); 10] = [
            (
                "gridrig_bus_frequency_hertz",
                "Frequency of the bus.",
                e.f_hz,
            ),
            (
                "gridrig_bus_rocof_hertz_per_second",
                "Rate of change of frequency of the bus.",
                e.rocof_hz_per_s,
            ),
            ("gridrig_bus_voltage_volts", "Voltage of the bus.", e.v_v),
            (
                "gridrig_pcc_active_power_watts",
                "Exchange at the point of common coupling, positive = import.",
                e.pcc_w,
            ),
            (
                "gridrig_storage_active_power_watts",
                "Power of all storage, positive = discharging.",
                e.storage_w,
            ),
            (
                "gridrig_pv_active_power_watts",
                "Power of all photovoltaics.",
                e.pv_w,
            ),
            (
                "gridrig_load_active_power_watts",
                "Power that the loads take.",
                e.load_w,
            ),
            (
                "gridrig_storage_state_of_charge_ratio",
                "Lowest state of charge, 0 to 1.",
                e.soc,
            ),
            (
                "gridrig_breaker_closed",
                "Whether the coupling breaker is closed.",
                e.breaker_closed.map(|c| f64::from(u8::from(c))),
            ),
            (
                "gridrig_grid_frequency_hertz",
                "Frequency on the utility side of the breaker.",
                e.grid_f_hz,
            ),
        ];
        for (name, help, value) in gauges {
            page.gauge(name, help, value);
        }
    }
    if let Some(market) = &state.market {
        page.gauge(
            "gridrig_market_price_eur_per_kwh",
            "Clearing price of the latest interval.",
            market.price_mc_per_kwh.map(|mc| mc as f64 / 1e5),
        );
        page.gauge(
            "gridrig_market_energy_watt_hours",
            "Energy cleared in the latest interval.",
            Some(market.energy_mwh as f64 / 1e3),
        );
    }
    if let Some(ledger) = &state.ledger {
        page.counter(
            "gridrig_ledger_clock_total",
            "Clock of the ledger.",
            ledger.clock,
        );
        page.counter(
            "gridrig_ledger_entries_total",
            "Entries of the ledger.",
            ledger.entries,
        );
    }
}

/// A metric of a device: name, help, and how to read it.
type DeviceMetric = (&'static str, &'static str, fn(&Device) -> Option<f64>);

const DEVICE_METRICS: &[DeviceMetric] = &[
    (
        "gridrig_device_online",
        "Whether the device answers; left out before it was ever heard.",
        |d| match d.link {
            "online" => Some(1.0),
            "offline" => Some(0.0),
            _ => None,
        },
    ),
    (
        "gridrig_device_active_power_watts",
        "Active power, positive = into the bus.",
        |d| usable(&d.p_w),
    ),
    (
        "gridrig_device_reactive_power_vars",
        "Reactive power, positive = into the bus.",
        |d| usable(&d.q_var),
    ),
    ("gridrig_device_voltage_volts", "Voltage of phase 1.", |d| {
        usable(&d.v_v)
    }),
    ("gridrig_device_frequency_hertz", "Frequency.", |d| {
        usable(&d.f_hz)
    }),
    (
        "gridrig_device_state_of_charge_ratio",
        "State of charge, 0 to 1.",
        |d| usable(&d.soc),
    ),
    (
        "gridrig_device_switch_closed",
        "Whether the switch is closed.",
        |d| usable(&d.switch_on).map(|on| f64::from(u8::from(on))),
    ),
    (
        "gridrig_device_sample_age_seconds",
        "Age of the youngest good value.",
        |d| d.age_s,
    ),
];

fn devices(page: &mut Page, devices: &[Device]) {
    for (name, help, read) in DEVICE_METRICS {
        page.family(
            name,
            "gauge",
            help,
            devices.iter().filter_map(|d| {
                let labels = vec![("device", d.name.clone()), ("role", d.role.to_owned())];
                read(d).map(|value| (labels, value))
            }),
        );
    }
    for (name, kind, help, read) in LINE_METRICS {
        page.family(
            name,
            kind,
            help,
            devices.iter().filter_map(|d| {
                let labels = vec![("device", d.name.clone()), ("link", d.bus.clone())];
                let value = read(d.line.as_ref()?)?;
                Some((labels, value))
            }),
        );
    }
}

/// A number of a device's line: name, kind, help, and how to read it.
type LineMetric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Line) -> Option<f64>,
);

const LINE_METRICS: &[LineMetric] = &[
    (
        "gridrig_device_requests_total",
        "counter",
        "Requests to the device.",
        |l| Some(l.requests as f64),
    ),
    (
        "gridrig_device_answers_total",
        "counter",
        "Its good answers.",
        |l| Some(l.answers as f64),
    ),
    (
        "gridrig_device_timeouts_total",
        "counter",
        "Requests without an answer in time.",
        |l| Some(l.timeouts as f64),
    ),
    (
        "gridrig_device_corrupt_total",
        "counter",
        "Damaged or foreign answers.",
        |l| Some(l.corrupt as f64),
    ),
    (
        "gridrig_device_exceptions_total",
        "counter",
        "Answers with an exception code.",
        |l| Some(l.exceptions as f64),
    ),
    (
        "gridrig_device_retries_total",
        "counter",
        "Requests sent once more.",
        |l| Some(l.retries as f64),
    ),
    (
        "gridrig_device_late_answers_total",
        "counter",
        "Answers that came too late and were thrown away.",
        |l| Some(l.late as f64),
    ),
    (
        "gridrig_device_expired_total",
        "counter",
        "Setpoints dropped as too late.",
        |l| Some(l.expired as f64),
    ),
    (
        "gridrig_device_busy_seconds_total",
        "counter",
        "Time of its link that the device has taken.",
        |l| Some(l.busy_s),
    ),
    (
        "gridrig_device_round_trip_p50_seconds",
        "gauge",
        "Median of the times from request to answer.",
        |l| l.round_trip_p50_ms.map(|ms| ms / 1e3),
    ),
    (
        "gridrig_device_round_trip_p99_seconds",
        "gauge",
        "Time from request to answer that one in a hundred exceeds.",
        |l| l.round_trip_p99_ms.map(|ms| ms / 1e3),
    ),
];

/// A counter of a bus: name, help, and how to read it.
type BusMetric = (&'static str, &'static str, fn(&super::wire::Bus) -> u64);

const BUS_METRICS: &[BusMetric] = &[
    ("gridrig_link_requests_total", "Requests sent.", |b| {
        b.requests
    }),
    ("gridrig_link_answers_total", "Good answers.", |b| b.answers),
    (
        "gridrig_link_timeouts_total",
        "Requests without an answer in time.",
        |b| b.timeouts,
    ),
    (
        "gridrig_link_corrupt_total",
        "Damaged or foreign answers.",
        |b| b.corrupt,
    ),
    (
        "gridrig_link_exceptions_total",
        "Answers with an exception code.",
        |b| b.exceptions,
    ),
    (
        "gridrig_link_expired_total",
        "Setpoints dropped as too late.",
        |b| b.expired,
    ),
    (
        "gridrig_link_reconnects_total",
        "Connections opened again.",
        |b| b.reconnects,
    ),
    (
        "gridrig_link_bus_offs_total",
        "Times that the CAN controller has left its bus.",
        |b| b.bus_offs,
    ),
    (
        "gridrig_link_bus_errors_total",
        "Error frames of the CAN controller, bus-off left out.",
        |b| b.bus_errors,
    ),
];

fn buses(page: &mut Page, state: &State) {
    let label = |name: &str| vec![("link", name.to_owned())];
    for (name, help, read) in BUS_METRICS {
        page.family(
            name,
            "counter",
            help,
            state.buses.iter().map(|b| (label(&b.name), read(b) as f64)),
        );
    }
    page.family(
        "gridrig_link_busy_ratio",
        "gauge",
        "Share of the time in which the link is in use.",
        state
            .buses
            .iter()
            .map(|b| (label(&b.name), b.busy_percent / 100.0)),
    );
}
