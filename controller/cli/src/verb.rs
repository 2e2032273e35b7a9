//! The verbs, in the order of the help page.

mod arming;
pub mod bench;
pub mod check;
pub mod completions;
mod contact;
pub mod curve;
pub mod dash;
pub mod demo;
pub mod der;
pub mod device;
pub mod doctor;
pub mod explain;
pub mod init;
pub mod ledger;
mod live;
pub mod man;
pub mod market;
pub mod migrate;
pub mod plant;
pub mod replay;
pub mod report;
pub mod run;
pub mod scan;
pub mod service;
pub mod sim;
pub mod telemetry;
pub mod test;
pub mod top;

use clap::Subcommand;

use crate::problem::Outcome;
use crate::terminal::Terminal;

macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident => $module:ident;)+) => {
        /// What gridrig shall do.
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($(#[$doc])* $variant($module::Arguments),)+
            /// Show what would be written to the running bench, ask, and allow it.
            Arm(arming::Arm),
            /// Bring what was touched to rest and write nothing more.
            Disarm(arming::Tell),
            /// Bring the running bench to its safe state.
            Safe(arming::Tell),
            /// Have the running bench to oneself, give it back, or see who has it.
            Lock(arming::Lock),
        }

        impl Verb {
            /// Does it.
            pub fn run(self, terminal: &Terminal) -> Outcome {
                match self {
                    $(Self::$variant(arguments) => $module::run(arguments, terminal),)+
                    Self::Arm(arguments) => arming::arm(&arguments, terminal),
                    Self::Disarm(arguments) => arming::disarm(&arguments, terminal),
                    Self::Safe(arguments) => arming::safe(&arguments, terminal),
                    Self::Lock(arguments) => arming::lock(&arguments, terminal),
                }
            }
        }
    };
}

verbs! {
    /// An emulated bench over real protocols, with controller, market, ledger and live page.
    Demo => demo;
    /// The daemon on a bench; read-only until it is armed.
    Run => run;
    /// Only the wire emulators of a rig.
    Sim => sim;
    /// Show a running bench in the terminal: mode, powers, devices, dispatches with their reasons.
    Top => top;
    /// Run scenarios and judge them.
    Test => test;
    /// Open the report of a run, compare two runs, put the parts of one together, or export its samples.
    Report => report;
    /// Check rigs, profiles and scenarios, on paper or on the live bench.
    Check => check;
    /// Upgrade files of earlier forms and show the change; make a scenario's matrix of a test of SVP.
    Migrate => migrate;
    /// List, read, watch, record or write single points of devices.
    Device => device;
    /// Measure what this machine can do for a bench, and say what stands in its way.
    Doctor => doctor;
    /// Look for devices, only reading, and propose a rig.
    Scan => scan;
    /// Make the keys and tokens of a bench that others reach, once.
    Init => init;
    /// Clear a book offline, or recompute the market of a run.
    Market => market;
    /// Drive the model of a DER to IEEE 1547-2018 through a series, offline.
    Der => der;
    /// What a service of a market or a grid code asks for at a frequency or a voltage.
    Service => service;
    /// Solve the network of an emulated bench.
    Plant => plant;
    /// Recompute every control cycle of a run from its journal.
    Replay => replay;
    /// Dashboards and data source of Grafana, made from a rig.
    Dash => dash;
    /// Make the bucket of a telemetry server, with its retention and means of a minute.
    Telemetry => telemetry;
    /// Show or verify the ledger of a run.
    Ledger => ledger;
    /// Explain a code of an error.
    Explain => explain;
    /// Measure parts of gridrig on this machine.
    Bench => bench;
    /// Print what lets a shell complete the words of gridrig.
    Completions => completions;
    /// Print the manual page, or write the pages of all verbs to a folder.
    Man => man;
}

impl Default for Verb {
    /// `gridrig` alone is the demo.
    fn default() -> Self {
        Self::Demo(demo::Arguments::default())
    }
}
