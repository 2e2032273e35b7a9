//! The emulated plant and the faces of its devices on real protocols.
