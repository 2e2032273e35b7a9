//! Whole-house tests: tidy, contracts, scenarios, replay, interop peers, browser.
