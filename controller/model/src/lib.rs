//! The shared nouns: time, device, sample, process image, proposal, command, event.
