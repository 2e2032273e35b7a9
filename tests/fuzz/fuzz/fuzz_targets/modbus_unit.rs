//! The target `modbus_unit` of the table in `tests/fuzz/src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run("modbus_unit", bytes));
