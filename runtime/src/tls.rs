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

/// Whether requests without it may go to another server first, and with it.
pub fn is_proxied() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
