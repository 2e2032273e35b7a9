//! Scenarios: script, runner, checks, report; and the emulated bench itself.
