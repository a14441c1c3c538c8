//! The library that encrypts connections.

use std::sync::Once;

/// Chooses it, once a process: whoever opens a connection calls this first.
pub fn choose() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // Where one was chosen already, that one does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
