//! What the errors of the client programs mean: of the server and who came, or of one thing in it.

use crate::programs::process::ProcessError;

/// Errors of the server, which are not of a database or a table: it goes down, has no place, lets nobody in, or was told to end this.
const OF_THE_WHOLE: [u32; 25] = [
    1021, 1037, 1038, 1040, 1041, 1042, 1043, 1044, 1045, 1053, 1129, 1130, 1135, 1152, 1158, 1159, 1160,
    1161, 1184, 1203, 1226, 1317, 1927, 1928, 1969,
];
/// What a database says in which something was dropped, made anew or locked meanwhile.
const ALTERED: [u32; 10] = [1049, 1051, 1054, 1146, 1205, 1213, 1305, 1356, 1412, 1615];

/// Whether another attempt would fail alike.
pub(super) fn is_lasting(error: &ProcessError) -> bool {
    let full = ["No space left on device", "Disk quota exceeded", "Errcode: 28", "Errcode: 122"];
    is_refusal(error)
        || says(error, &full)
        || says(error, &["command denied", "unknown option", "unknown variable"])
}

/// Refusals of a server that is there: its words, and what they mean.
const REFUSALS: &[(&[&str], &str)] = &[
    (
        &["(using password: NO)"],
        "the server wants a password, or another account of this machine: set `password`, or `run_as`",
    ),
    (
        &["(using password: YES)"],
        "the password is wrong, there is no such account for who comes from here, or it may come by TLS alone: mend `user` or \
         `password`, `create user NAME@'HOST'` there, or write `ssl` into the file that `config` names",
    ),
    (
        &["insecure transport are prohibited", "SSL connection error", "TLS/SSL error", "SSL is required"],
        "the server wants TLS, or the two do not agree on it: give the client its options (`ssl`, `ssl-ca`) in the file that `config` names",
    ),
    (
        &["Could not open required defaults file"],
        "mend `config`: the account that runs the tool must be able to read it",
    ),
    (&["runuser: user"], "there is no such account on this machine: mend `run_as`"),
    (
        &["You must SET PASSWORD", "Your password has expired"],
        "the account's password has expired: `alter user NAME@'HOST' identified by …` there, with `password expire never` for an account \
         that nobody comes as",
    ),
    (
        &["is not allowed to connect"],
        "the server lets nobody in from this host: `create user NAME@'HOST'` there",
    ),
    (&["is blocked because of many connection errors"], "the server blocks this host: `flush hosts` there"),
    (
        &["Access denied"],
        "mend `user`, `password` or `run_as`, or the grants on the server: docs/mariadb.md says which a dump needs",
    ),
];

/// Whether the server is there, and refused who came.
pub(super) fn is_refusal(error: &ProcessError) -> bool {
    REFUSALS.iter().any(|(words, _)| says(error, words))
}

/// What to do about what a program said.
pub(super) fn mend(error: &ProcessError) -> String {
    let known = REFUSALS.iter().find(|(words, _)| says(error, words)).map(|(_, mend)| *mend);
    let known = known.or_else(|| {
        let denied = "the account lacks a right: docs/mariadb.md says which a dump needs";
        let away = "start the server, or mend `socket`, `host` and `port`";
        says(error, &["command denied"]).then_some(denied).or_else(|| {
            says(error, &["Can't connect", "ERROR 2002", "ERROR 2003", "Unknown server host"]).then_some(away)
        })
    });
    known.map(|mend| format!("\n  {mend}")).unwrap_or_default()
}

fn says(error: &ProcessError, words: &[&str]) -> bool {
    said(error).iter().any(|line| words.iter().any(|word| line.contains(word)))
}

fn said(error: &ProcessError) -> &[String] {
    let ProcessError::Status { words, .. } = error else { return &[] };
    words
}

/// The number of the server's error in a line of a program: `ERROR 1356 (HY000) at …`, `Error 1194: …`, `error: 1049: …`, `… (1356)`.
fn number_of(line: &str) -> Option<u32> {
    let behind = ["ERROR ", "Error ", "error: "].iter().filter_map(|word| line.split_once(word));
    let mut behind = behind.filter_map(|(_, rest)| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map(|end| &rest[..end]);
        digits.and_then(|digits| digits.parse().ok())
    });
    let last = line.strip_suffix(')').and_then(|line| line.rsplit_once('(')).map(|(_, digits)| digits);
    last.and_then(|digits| digits.parse().ok()).or_else(|| behind.next())
}

/// The line of a program that has the server's error, with its number.
fn line(error: &ProcessError) -> Option<(u32, &str)> {
    said(error).iter().find_map(|line| number_of(line).map(|number| (number, line.as_str())))
}

/// What it said first.
pub(super) fn first_words(error: &ProcessError) -> String {
    line(error).map_or_else(|| error.to_string(), |(_, line)| line.to_owned())
}

/// Whether the server is well, and something in it is not.
pub(super) fn is_of_object(error: &ProcessError) -> bool {
    let is_ours = |number: u32| number >= 1000 && !(2000..4000).contains(&number);
    !is_lasting(error)
        && line(error).is_some_and(|(number, _)| is_ours(number) && !OF_THE_WHOLE.contains(&number))
}

/// Whether it says of a view that it cannot be resolved.
pub(super) fn is_of_view(error: &ProcessError) -> bool {
    const LOCKED: [u32; 2] = [1205, 1213];
    is_of_object(error)
        && line(error).is_some_and(|(number, _)| !LOCKED.contains(&number))
        && !is_denied(error)
}

/// Whether the account, or the definer of a view, lacks a right on what is asked for.
pub(super) fn is_denied(error: &ProcessError) -> bool {
    line(error).is_some_and(|(number, _)| [1142, 1143, 1227, 1370].contains(&number))
}

/// Whether what was to be read was altered while it was.
pub(super) fn is_altered(error: &ProcessError) -> bool {
    line(error).is_some_and(|(number, _)| ALTERED.contains(&number))
}

/// Whether a dump failed at this table.
pub(super) fn is_of_table(error: &ProcessError, table: &str) -> bool {
    let quoted = format!("`{}`", table.replace('`', "``"));
    says(error, &[&format!(" {quoted}'"), &format!(" when dumping table {quoted} at row")])
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn error(line: &str) -> ProcessError {
        let (program, status) = ("mariadb-dump".to_owned(), ExitStatus::from_raw(2 << 8));
        ProcessError::Status { program, status, words: vec!["-----".to_owned(), line.to_owned()] }
    }

    #[test]
    fn errors_of_a_table_a_database_and_the_server_are_told_apart() {
        let crashed = error(
            "mariadb-dump: Error 1194: Table 'my' is marked as crashed and should be repaired when dumping table `my` at row: 25",
        );
        assert!(is_of_object(&crashed) && !is_altered(&crashed));
        assert!(is_of_table(&crashed, "my") && !is_of_table(&crashed, "m"));
        let lost = error(
            "mariadb-dump: Couldn't execute 'show create table `a``b`': Got error 194 \"Tablespace is missing for a table\" from storage engine InnoDB (1030)",
        );
        assert!(is_of_object(&lost) && is_of_table(&lost, "a`b"));
        let denied = error(
            "ERROR 1143 (42000) at line 1: SELECT command denied to user 'b'@'localhost' for column 'j' in table 'g'",
        );
        assert!(is_denied(&denied) && !is_of_view(&denied) && !is_of_object(&denied));
        assert!(is_of_view(&error("ERROR 1356 (HY000) at line 1: View 'o.bv' references invalid table(s)")));
        let dropped =
            error("mariadb-dump: Got error: 1049: \"Unknown database 'zzz'\" when selecting the database");
        assert!(is_of_object(&dropped) && is_altered(&dropped));
        for whole in [
            "mariadb-dump: Error 2013: Lost connection to server during query when dumping table `t` at row: 3",
            "mariadb-dump: Got error: 2002: \"Can't connect to local server through socket '/s' (2)\" when trying to connect",
            "mariadb-dump: Couldn't execute 'show events': Server shutdown in progress (1053)",
            "mariadb-dump: Got error: 1045: \"Access denied for user 'b'@'localhost' (using password: YES)\" when trying to connect",
            "mariadb-dump: unknown option '--dump-history'",
            "ERROR 1820 (HY000) at line 1: You must SET PASSWORD before executing this statement",
            "ERROR 1862 (HY000): Your password has expired. To log in you must change it using a client that supports expired passwords.",
        ] {
            assert!(!is_of_object(&error(whole)), "{whole}");
        }
    }
}
