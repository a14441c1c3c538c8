//! What servers and their tools refuse, known by its SQLSTATE or by their words: what to do about it, and whether another attempt
//! would be refused alike. The one place for that.

use crate::programs::process::ProcessError;
use crate::text::printable;

/// A refusal that everyone meets once.
struct Known {
    /// Any of these is in a line.
    said: &'static [&'static str],
    /// What to do.
    mend: &'static str,
    /// Whether it stays until somebody does it.
    is_lasting: bool,
    /// Whether the server is there, and lets nobody in who comes like this.
    is_refusal: bool,
}

const fn lasting(said: &'static [&'static str], mend: &'static str) -> Known {
    Known { said, mend, is_lasting: true, is_refusal: false }
}

const fn refused(said: &'static [&'static str], mend: &'static str) -> Known {
    Known { said, mend, is_lasting: true, is_refusal: true }
}

/// What lets a role read large objects that are not its own.
pub(super) const MEND_OF_OBJECTS: &str = "large objects are their owners' alone: a superuser lets the role read all of them by `alter role NAME set lo_compat_privileges = on`, or one by \
     `grant select on large object NUMBER to NAME`";
/// What lets a role read tables whose policies hide rows.
pub(super) const MEND_OF_POLICIES: &str = "policies hide rows of the table from the role, and a dump of some is none: let it see all of them, `alter role NAME bypassrls`";
/// The words of a full disk.
const NO_ROOM: &[&str] = &["No space left on device", "Disk quota exceeded"];

const KNOWN: &[Known] = &[
    refused(
        &["Peer authentication failed", "Ident authentication failed"],
        "the server takes this role only from the account of its name: set `run_as` to that account, or `user` to the role of this one; \
         or let the role in by a password (`scram-sha-256` in pg_hba.conf, and `password` of the source)",
    ),
    lasting(
        &[
            "must be superuser or replication role",
            "permission denied to start WAL sender",
            "permission denied to use replication slots",
        ],
        "give the role the right: `alter role NAME with replication`",
    ),
    refused(
        &["no pg_hba.conf entry for replication"],
        "no line of pg_hba.conf lets it in to replicate; let the role in: a line `local replication NAME peer` in pg_hba.conf, in front of any \
         that refuses it (`peer` for a role that is called as the account of `run_as`, else `scram-sha-256`, and `password` of the source), then reload",
    ),
    refused(
        &["no pg_hba.conf entry", "pg_hba.conf rejects"],
        "no line of pg_hba.conf lets it in like this (where the server says `no encryption`, a `hostssl` line is none for it); \
         let the role in: a line in pg_hba.conf, in front of any that refuses it, then reload",
    ),
    refused(
        &["no password supplied"],
        "the server wants a password, and none was given; set `password` of the source, from env, file or exec",
    ),
    refused(
        &["password authentication failed"],
        "the password is wrong, or the role is not there; set `password` of the source to the role's, from env, file or exec",
    ),
    refused(
        &["server does not support SSL", "certificate verify failed", "requires a valid client certificate"],
        "the two do not agree on TLS; mend the server's `ssl` and certificates, or what asks for it here (`PGSSLMODE`, `~/.postgresql`)",
    ),
    lasting(&["permission denied for large object"], MEND_OF_OBJECTS),
    refused(
        &["permission denied for database"],
        "let the role connect to it: `grant connect on database DATABASE to NAME`",
    ),
    lasting(&["would be affected by row-level security policy"], MEND_OF_POLICIES),
    lasting(
        &["permission denied for"],
        "give the role the right that it lacks (`grant pg_read_all_data to NAME`; what roles there are, and their passwords, a superuser \
         alone reads)",
    ),
    // It does not exist, or may not log in.
    refused(
        &["FATAL:  role \""],
        "there is no such role, or it may not log in; name a role that may log in: `user` of the source, or else the account that runs it",
    ),
    // It does not exist, or lets nobody in.
    refused(
        &["FATAL:  database \""],
        "there is no such database; name one that is there and lets the role in: `database` of the source",
    ),
    lasting(NO_ROOM, "make room there: another attempt needs as much"),
    lasting(
        &["max_locks_per_transaction"],
        "a dump locks all tables of its database at once, and the server has no place for so many: raise `max_locks_per_transaction` and restart it",
    ),
    lasting(
        &["checksum error occurred", "invalid page in block"],
        "pages of the cluster are damaged: the server's log names them, `pg_amcheck` finds more",
    ),
    lasting(
        &["server version mismatch", "incompatible server version"],
        "install the client programs of the server's version",
    ),
    lasting(&["if max_replication_slots > 0"], "set `max_replication_slots` and restart the server"),
    Known {
        said: &["all replication slots are in use"],
        mend: "drop the slots that nobody needs (`select * from pg_replication_slots`), or raise `max_replication_slots`",
        is_lasting: false,
        is_refusal: false,
    },
    Known {
        said: &["exceeds max_wal_senders"],
        mend: "end what streams and is not needed (`select * from pg_stat_replication`), or raise `max_wal_senders`",
        is_lasting: false,
        is_refusal: false,
    },
    Known {
        said: &["Is the server running", "Connection refused"],
        mend: "start the server, or mend `host` and `port`",
        is_lasting: false,
        is_refusal: false,
    },
];

/// Classes of SQLSTATE that stay: no such database or role, no right, no room on the disk, damaged data, a feature or setting that the
/// server has not.
const STAY: &[&str] = &["28", "3D", "42", "0A", "53100", "55000", "XX001", "XX002"];

/// What a program said in one line, without its own name: what the server told it, where it shows that, else its first error.
pub fn in_short(words: &[String]) -> Option<String> {
    let behind = |mark: &str| words.iter().find_map(|line| Some(line.split_once(mark)?.1));
    let said = behind("Error message from server: ").or_else(|| behind("error: "));
    said.or_else(|| words.last().map(String::as_str)).map(|said| printable(said.as_bytes()))
}

/// Whether the disk is full of who reads: no other database of the server would fare better.
pub fn is_of_room(words: &[String]) -> bool {
    words.iter().any(|line| NO_ROOM.iter().any(|said| line.contains(said)))
}

/// What to do about it.
pub fn advice(words: &[String]) -> Option<&'static str> {
    known(words).map(|known| known.mend)
}

/// What to do about it, to stand behind the words.
pub fn mend(words: &[String]) -> String {
    advice(words).map(|mend| format!("\n  {mend}")).unwrap_or_default()
}

/// Whether the server is there, and refused who came.
pub fn is_refusal(words: &[String]) -> bool {
    known(words).is_some_and(|known| known.is_refusal)
}

/// Whether another attempt would fail alike.
pub fn is_lasting(words: &[String]) -> bool {
    known(words).is_some_and(|known| known.is_lasting)
        || words
            .iter()
            .filter_map(|line| state(line))
            .any(|state| STAY.iter().any(|stay| state.starts_with(stay)))
}

/// Whether a program was refused as its role lacks a right.
pub fn is_of_rights(error: &ProcessError) -> bool {
    let ProcessError::Status { words, .. } = error else { return false };
    words.iter().filter_map(|line| state(line)).any(|state| state == "42501")
}

fn known(words: &[String]) -> Option<&'static Known> {
    KNOWN.iter().find(|known| words.iter().any(|line| known.said.iter().any(|said| line.contains(said))))
}

/// `ERROR:  42501: permission denied`, as `psql` writes it with `VERBOSITY=verbose`, in whatever language.
fn state(line: &str) -> Option<&str> {
    let mut parts = line.split(":  ").skip(1).filter_map(|part| part.split_once(": "));
    let is_state = |text: &str| {
        text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    };
    parts.find(|(state, _)| is_state(state)).map(|(state, _)| state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_from_what_passes() {
        let said = |line: &str| vec![line.to_owned()];
        for line in [
            "pg_basebackup: error: connection to server on socket \"/s/.s.PGSQL.5432\" failed: FATAL:  no pg_hba.conf entry for \
             replication connection from host \"[local]\", user \"a\", no encryption",
            "psql: error: connection to server failed: FATAL:  password authentication failed for user \"a\"",
            "pg_basebackup: error: could not write to file \"x\": No space left on device",
            "pg_basebackup: error: checksum error occurred",
            "pg_dumpall: error: query failed: ERROR:  permission denied for table pg_authid",
            "psql: error: connection to server failed: FATAL:  role \"absent\" does not exist",
            "pg_dump: error: connection to server failed: FATAL:  database \"nope\" does not exist",
            "pg_dump: detail: Error message from server: ERROR:  query would be affected by row-level security policy for table \"r\"",
            "pg_dump: hint: You might need to increase max_locks_per_transaction.",
            "ERROR:  42501: must be superuser or replication role to use replication slots",
            "psql:x:1: FEHLER:  42501: keine Berechtigung für Tabelle t",
            "ERROR:  55000: replication slots can only be used if max_replication_slots > 0",
        ] {
            assert!(is_lasting(&said(line)), "{line}");
        }
        for line in [
            "ERROR:  53400: all replication slots are in use",
            "FATAL:  number of requested standby connections exceeds max_wal_senders (currently 0)",
            "psql: error: connection to server failed: Connection refused",
            "FATAL:  57P03: the database system is starting up",
            "pg_dump: error: server closed the connection unexpectedly",
        ] {
            assert!(!is_lasting(&said(line)), "{line}");
        }
        assert!(
            mend(&said("ERROR:  53400: all replication slots are in use")).contains("max_replication_slots")
        );
        assert_eq!(mend(&said("nothing that is known")), "");
        for (line, wanted) in [
            ("permission denied for large object 4711", "lo_compat_privileges"),
            ("permission denied for database \"other\"", "grant connect"),
            ("query would be affected by row-level security policy for table \"r\"", "bypassrls"),
            ("permission denied for schema s", "pg_read_all_data"),
        ] {
            assert!(mend(&said(&format!("pg_dump: error: x: ERROR:  {line}"))).contains(wanted), "{line}");
        }
        let failed = [
            "pg_dump: error: Dumping the contents of table \"r\" failed: PQgetResult() failed.",
            "pg_dump: detail: Error message from server: ERROR:  no",
            "pg_dump: detail: Command was: COPY public.r (i) TO stdout;",
        ]
        .map(str::to_owned);
        assert_eq!(in_short(&failed).as_deref(), Some("ERROR:  no"));
        assert!(in_short(&failed[..1]).is_some_and(|said| said.starts_with("Dumping the contents")));
        assert_eq!(in_short(&[]), None);
    }
}
