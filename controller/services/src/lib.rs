//! Static characteristics of frequency and voltage services.
