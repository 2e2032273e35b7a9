//! The edge: clock, control thread, dispatch, configuration, journal, telemetry, web.
