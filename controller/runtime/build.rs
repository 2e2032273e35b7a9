//! Takes the library that draws the page's charts out of the crate that carries it.
//!
//! The crate is needed here only: nothing of it but that one file gets into the binary. A test holds the
//! file against the digest of the one that its makers have published.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?;
    let library = PathBuf::from(out).join("chart.umd.js");
    std::fs::write(library, rustlavel_chart::plugin::CHART_JS)?;
    Ok(())
}
