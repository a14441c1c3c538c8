//! Names that a server gives, which may hold anything but a zero byte, as the tools' arguments and files on disk take them.

use std::borrow::Cow;
use std::fmt::Write;

/// What stands in the files of a dump before the first database, and may be no database's.
pub const GLOBALS: &str = "globals.sql";
/// What the file of a database's dump ends with; a folder's name ends with nothing.
const ENDING: &str = ".dump";

/// A database as an option that takes a connection string wants it. Without this, a database called `host=elsewhere` would be
/// a place to go to.
pub fn connection_to(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What makes a program's last option lead to a database of any name: the whole command line.
pub fn lead(mut argv: Vec<String>, database: &[u8]) -> Vec<String> {
    match std::str::from_utf8(database) {
        Ok(name) => {
            argv.push(format!("--dbname={}", connection_to(name)));
            argv
        }
        // A name that is no text is handed on by a shell, which makes it of its numbers; what it ends with stays as well.
        Err(_) => {
            let numbers = database.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "\\0{byte:03o}");
                text
            });
            let script = "PGDATABASE=$(printf '%b.' \"$0\"); PGDATABASE=${PGDATABASE%.}; export PGDATABASE; exec \"$@\"";
            ["sh", "-c", script, &numbers].map(str::to_owned).into_iter().chain(argv).collect()
        }
    }
}

/// The name of a database's dump: a file, or a folder. No two databases have the same, and it leads nowhere.
pub fn of_dump(database: &[u8], is_folder: bool) -> String {
    let shown = shown(database);
    let name = match shown.strip_prefix('.') {
        Some(rest) => Cow::Owned(format!("%2E{rest}")),
        None => shown,
    };
    match is_folder {
        true if name == GLOBALS => GLOBALS.replace('.', "%2E"),
        true => name.into_owned(),
        false => format!("{name}{ENDING}"),
    }
}

/// The database that a dump of this name is of.
pub fn dumped(name: &str, is_folder: bool) -> Vec<u8> {
    let name = if is_folder { name } else { name.strip_suffix(ENDING).unwrap_or(name) };
    let bytes = name.as_bytes();
    let (mut found, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let coded = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let coded = coded.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        found.push(coded.unwrap_or(bytes[at]));
        at += if coded.is_some() { 3 } else { 1 };
    }
    found
}

/// A name for people and for files: on one line, with no slash, and not the same as another's.
pub fn shown(database: &[u8]) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '%' | '/');
    match std::str::from_utf8(database) {
        Ok(name) if name.chars().all(is_plain) => return Cow::Borrowed(name),
        _ => {}
    }
    let mut text = String::with_capacity(database.len() + 8);
    for chunk in database.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_plain(c) {
                true => text.push(c),
                false => code(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        code(&mut text, chunk.invalid());
    }
    Cow::Owned(text)
}

/// Names in one label, parted by spaces.
pub fn listed<'a>(databases: impl IntoIterator<Item = &'a [u8]>) -> String {
    let names = databases.into_iter().map(|name| shown(name).replace(' ', "%20"));
    names.collect::<Vec<_>>().join(" ")
}

fn code(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_connection_string() {
        assert_eq!(connection_to("shop"), "dbname='shop'");
        assert_eq!(connection_to(r"it's \ host=x"), r"dbname='it\'s \\ host=x'");
        let argv = lead(vec!["psql".to_owned()], b"\xFFa\n");
        assert_eq!(argv[3..], [r"\0377\0141\0012", "psql"]);
    }

    #[test]
    fn a_database_of_any_name_has_a_file_of_its_own_and_is_found_again() {
        assert_eq!(of_dump(b"shop", false), "shop.dump");
        assert_eq!(of_dump(b"shop", true), "shop");
        assert_eq!(of_dump(b"../a%b/c", false), "%2E.%2Fa%25b%2Fc.dump");
        assert_eq!(of_dump(b"globals.sql", true), "globals%2Esql");
        assert_eq!(of_dump(b"a\nb \xC3\xBC\xFF", false), "a%0Ab \u{FC}%FF.dump");
        for name in
            [&b"a%2Fb"[..], b"..", b"a.dump", b"globals.sql", b"%", b"%2", b"-x", b"\xFF", b"caf\xC3\xA9\r"]
        {
            for is_folder in [false, true] {
                let file = of_dump(name, is_folder);
                assert_eq!(dumped(&file, is_folder), name, "{file}");
                assert!(!file.contains('/') && !file.starts_with('.') && file != GLOBALS);
            }
        }
        assert_eq!(listed([&b"a b"[..], b"c"]), "a%20b c");
    }
}
