//! What of a server's plugins a dump of it needs where it is loaded: the ways in of its accounts, the keys of its encrypted tables, its
//! engines. A dump has none of them, and names them.

use super::client::Client;
use crate::programs::process::ProcessError;

/// What keeps the keys of encrypted tables in a file: whatever kept the original's, a server that is thrown away needs some key alone.
pub(crate) const KEYS: &str = "file_key_management";
/// What keeps keys elsewhere is called alike.
const KEEPS_KEYS: &str = "key_management";
/// What a server that is thrown away loads, by how its library is called; what ends with `_` is how some begin. A manifest names them, which may
/// come from anywhere: nothing that reads other files, reaches other servers, writes logs or refuses passwords is among them.
const HARMLESS: &[&str] =
    &["auth_", "provider_", "type_", "ha_archive", "ha_blackhole", "ha_mroonga", "ha_oqgraph", "ha_rocksdb"];

/// The libraries of the plugins that a server has loaded, parted by spaces, as a manifest has them; `None`: it has none.
///
/// # Errors
/// When the server does not answer.
pub(super) fn of_server(client: &Client<'_>) -> Result<Option<String>, ProcessError> {
    let names: Vec<String> =
        client.plugins()?.iter().filter_map(|name| library(name)).map(str::to_owned).collect();
    Ok((!names.is_empty()).then(|| names.join(" ")))
}

/// The libraries that a server needs which loads a dump, of those that a manifest names.
pub(crate) fn needed(listed: &str) -> Vec<String> {
    let mut needed: Vec<String> = Vec::new();
    for name in listed.split_whitespace().filter_map(library) {
        let is_harmless = |known: &&str| match known.ends_with('_') {
            true => name.starts_with(*known),
            false => name == *known,
        };
        let name = if name.ends_with(KEEPS_KEYS) { KEYS } else { name };
        let is_new = !needed.iter().any(|other| other == name);
        if is_new && (name == KEYS || HARMLESS.iter().any(is_harmless)) {
            needed.push(name.to_owned());
        }
    }
    needed
}

/// The name of a library without its ending: one that leads nowhere but into the folder of plugins.
pub(crate) fn library(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".so").unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_what_a_dump_needs_and_nothing_that_does_more() {
        let listed = "auth_ed25519 auth_ed25519.so ../../tmp/auth_x auth_;rm auth_a=b ha_connect ha_spider server_audit ha_archive \
                      ha_archive_of_mine hashicorp_key_management simple_password_check file_key_management provider_lz4";
        let wanted = ["auth_ed25519", "ha_archive", KEYS, "provider_lz4"];
        assert_eq!(needed(listed), wanted);
        assert!(needed("").is_empty() && library(".so").is_none());
    }
}
