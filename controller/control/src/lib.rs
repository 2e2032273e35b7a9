//! The deterministic control core: image in, approved setpoints out.
