//! Every attribute of the schema is changed once: the difference shows it, and tells what that does to data.

use std::collections::BTreeSet;

use backplan_compiler::diff::{Diff, diff};
use backplan_compiler::finding::Severity;
use backplan_compiler::graph::Occasion;
use backplan_compiler::lower::lower;
use backplan_compiler::model::{Model, StoreId};
use backplan_compiler::schema::{KINDS, Ty};
use backplan_compiler::simulate::{Horizon, simulate};

use crate::common::{compile_files, shown};

const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// What is written beside the declaration that changes.
const SITE: &str = "source site: files { paths = [\"/s\"] }\n";
const TO_X: &str = "archive a { from = [site], to = [x] }\n";
const LOCAL: &str = "store local: dir { path = \"/b\" }\nstore far: dir { path = \"/f\", offsite = true }\n";
const A: &str = "archive a { from = all, to = [local, far] }\n";
const DB: &str = "source db: postgres { driver = basebackup }\n";
const REPOSITORY: &str = "source db: postgres { driver = pgbackrest, stanza = \"m\" }\n";

const MAIL: &str = "from = \"a@b.org\", server = \"m\"";
const MAIL_TO: &str = "to = [\"a@b.org\"], server = \"m\"";
const MAIL_BY: &str = "to = [\"a@b.org\"], from = \"a@b.org\"";
const MAIL_ALL: &str = "to = [\"a@b.org\"], from = \"a@b.org\", server = \"m\"";

/// A row: kind, attribute, what else must be in the block, the attribute before and after, and the consequence that is told;
/// none where nothing that is kept, promised or told depends on it.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("store.dir", "path", "", "path = \"/b\"", "path = \"/c\"", "store_moved"),
    ("store.dir", "offsite", "path = \"/b\"", "offsite = true", "", "offsite_lost"),
    ("store.dir", "bandwidth", "path = \"/b\"", "bandwidth = 1MiB/s", "", ""),
    ("store.dir", "immutable", "path = \"/b\"", "immutable = 30d", "immutable = 7d", "protection_lost"),
    ("store.dir", "append_only", "path = \"/b\"", "append_only = true", "", "protection_lost"),
    ("store.dir", "absent", "path = \"/b\"", "absent = fail", "absent = warn", "absence_allowed"),
    ("store.s3", "bucket", "region = \"r\"", "bucket = \"b\"", "bucket = \"c\"", "store_moved"),
    (
        "store.s3",
        "prefix",
        "region = \"r\", bucket = \"b\"",
        "prefix = \"x\"",
        "prefix = \"y\"",
        "store_moved",
    ),
    ("store.s3", "region", "bucket = \"b\"", "region = \"r\"", "region = \"q\"", ""),
    ("store.s3", "endpoint", "region = \"r\", bucket = \"b\"", "", "endpoint = \"https://e\"", "store_moved"),
    (
        "store.s3",
        "access_key",
        "region = \"r\", bucket = \"b\", secret_key = env(\"S\")",
        "access_key = env(\"A\")",
        "access_key = env(\"B\")",
        "",
    ),
    (
        "store.s3",
        "secret_key",
        "region = \"r\", bucket = \"b\", access_key = env(\"S\")",
        "secret_key = env(\"A\")",
        "secret_key = env(\"B\")",
        "",
    ),
    ("store.s3", "storage_class", "region = \"r\", bucket = \"b\"", "", "storage_class = \"GLACIER\"", ""),
    ("store.s3", "path_style", "region = \"r\", bucket = \"b\"", "", "path_style = true", ""),
    ("store.s3", "ca_file", "region = \"r\", bucket = \"b\"", "", "ca_file = \"/ca\"", ""),
    ("store.azblob", "container", "", "container = \"b\"", "container = \"c\"", "store_moved"),
    ("store.azblob", "prefix", "container = \"b\"", "", "prefix = \"y\"", "store_moved"),
    ("store.azblob", "account", "container = \"b\"", "account = \"x\"", "account = \"y\"", "store_moved"),
    ("store.azblob", "key", "container = \"b\"", "key = env(\"A\")", "key = env(\"B\")", ""),
    ("store.azblob", "endpoint", "container = \"b\"", "", "endpoint = \"https://e\"", "store_moved"),
    ("store.gcs", "bucket", "", "bucket = \"b\"", "bucket = \"c\"", "store_moved"),
    ("store.gcs", "prefix", "bucket = \"b\"", "", "prefix = \"y\"", "store_moved"),
    ("store.gcs", "credential", "bucket = \"b\"", "credential = env(\"A\")", "credential = env(\"B\")", ""),
    ("store.gcs", "endpoint", "bucket = \"b\"", "", "endpoint = \"https://e\"", "store_moved"),
    ("store.sftp", "host", "path = \"/b\"", "host = \"h\"", "host = \"i\"", "store_moved"),
    ("store.sftp", "port", "path = \"/b\", host = \"h\"", "port = 22", "port = 2222", "store_moved"),
    ("store.sftp", "user", "path = \"/b\", host = \"h\"", "user = \"u\"", "user = \"v\"", "store_moved"),
    ("store.sftp", "key", "path = \"/b\", host = \"h\"", "", "key = \"/k\"", ""),
    ("store.sftp", "path", "host = \"h\"", "path = \"/b\"", "path = \"/c\"", "store_moved"),
    ("store.sftp", "known_hosts", "path = \"/b\", host = \"h\"", "", "known_hosts = \"/k\"", ""),
    ("staging", "path", "", "path = \"/t\"", "path = \"/u\"", "staging_cleared"),
    ("staging", "clear", "path = \"/t\"", "clear = []", "clear = [before]", "staging_cleared"),
    ("source.files", "after", "paths = [\"/p\"]", "after = [site]", "", "order_lost"),
    ("source.files", "optional", "paths = [\"/p\"]", "", "optional = true", "source_optional"),
    ("source.files", "strict", "paths = [\"/p\"]", "", "strict = true", "source_strict"),
    ("source.files", "timeout", "paths = [\"/p\"]", "timeout = 2h", "timeout = 1h", "time_limited"),
    ("source.files", "paths", "", "paths = [\"/p\", \"/q\"]", "paths = [\"/p\"]", "path_removed"),
    ("source.files", "exclude", "paths = [\"/p\"]", "", "exclude = [\"*.log\"]", "left_out"),
    ("source.files", "exclude_caches", "paths = [\"/p\"]", "", "exclude_caches = true", "left_out"),
    ("source.files", "one_file_system", "paths = [\"/p\"]", "", "one_file_system = true", "left_out"),
    ("source.files", "max_file_size", "paths = [\"/p\"]", "", "max_file_size = 1GiB", "left_out"),
    ("source.files", "compare", "paths = [\"/p\"]", "compare = checksum", "", "compare_changed"),
    ("source.files", "root", "paths = [\"/p\"]", "", "root = \"/snap\"", "path_removed"),
    ("source.postgres", "driver", "", "driver = basebackup", "driver = dump", "driver_changed"),
    ("source.postgres", "host", "driver = dump", "host = \"a\"", "host = \"b\"", "source_reads_other"),
    ("source.postgres", "port", "driver = dump", "", "port = 5433", "source_reads_other"),
    ("source.postgres", "user", "driver = dump", "user = \"a\"", "user = \"b\"", "source_asked_otherwise"),
    (
        "source.postgres",
        "password",
        "driver = dump, user = \"a\"",
        "password = env(\"A\")",
        "password = env(\"B\")",
        "",
    ),
    ("source.postgres", "database", "driver = dump", "", "database = \"a\"", "source_reads_other"),
    (
        "source.postgres",
        "data_dir",
        "driver = pgbackrest, stanza = \"m\", staging = \"/r\"",
        "data_dir = \"/a\"",
        "data_dir = \"/b\"",
        "source_reads_other",
    ),
    (
        "source.postgres",
        "stanza",
        "driver = pgbackrest, staging = \"/r\"",
        "stanza = \"m\"",
        "stanza = \"n\"",
        "source_reads_other",
    ),
    (
        "source.postgres",
        "staging",
        "driver = pgbackrest, stanza = \"m\"",
        "staging = \"/r\"",
        "staging = \"/q\"",
        "repository_moved",
    ),
    (
        "source.postgres",
        "config",
        "driver = pgbackrest, stanza = \"m\", staging = \"/r\"",
        "",
        "config = \"/c\"",
        "source_asked_otherwise",
    ),
    ("source.postgres", "run_as", "driver = dump", "run_as = \"postgres\"", "", "source_asked_otherwise"),
    ("source.postgres", "backup_mode", "driver = probackup, staging = \"/r\"", "", "backup_mode = page", ""),
    ("source.postgres", "jobs", "driver = pgbackrest, stanza = \"m\", staging = \"/r\"", "", "jobs = 2", ""),
    ("source.mariadb", "host", "driver = dump", "host = \"a\"", "host = \"b\"", "source_reads_other"),
    ("source.mariadb", "port", "driver = dump, host = \"a\"", "", "port = 3307", "source_reads_other"),
    ("source.mariadb", "socket", "driver = dump", "socket = \"/s\"", "socket = \"/t\"", "source_reads_other"),
    ("source.mariadb", "user", "driver = dump", "user = \"a\"", "user = \"b\"", "source_asked_otherwise"),
    (
        "source.mariadb",
        "password",
        "driver = dump, user = \"a\"",
        "password = env(\"A\")",
        "password = env(\"B\")",
        "",
    ),
    ("source.mariadb", "config", "driver = dump", "", "config = \"/c\"", "source_asked_otherwise"),
    ("source.mariadb", "databases", "driver = dump", "", "databases = [\"a\"]", "source_reads_other"),
    ("source.mariadb", "exclude", "driver = dump", "", "exclude = [\"a\"]", "source_reads_other"),
    ("source.mariadb", "run_as", "driver = dump", "run_as = \"mysql\"", "", "source_asked_otherwise"),
    ("source.sqlite", "path", "", "path = \"/a\"", "path = \"/b\"", "source_reads_other"),
    ("source.command", "run", "as = \"d\"", "run = [\"a\"]", "run = [\"b\"]", "command_changed"),
    ("source.command", "as", "run = [\"a\"]", "as = \"d\"", "as = \"e\"", "source_stored_as"),
    ("source.command", "env", "run = [\"a\"], as = \"d\"", "env = [\"A=1\"]", "", "source_asked_otherwise"),
    (
        "source.command",
        "run_as",
        "run = [\"a\"], as = \"d\"",
        "run_as = \"nobody\"",
        "",
        "source_asked_otherwise",
    ),
    ("archive", "from", "to = [local]", "from = [site, other]", "from = [site]", "source_unreached"),
    ("archive", "exclude", "from = all, to = [local]", "", "exclude = [other]", "source_unreached"),
    ("archive", "to", "from = all", "to = [local, far]", "to = [local]", "copies_lost"),
    (
        "archive",
        "name",
        "from = all, to = [local]",
        "",
        "name = \"${time(\"%s\")}.tar.gz\"",
        "artefacts_renamed",
    ),
    ("archive", "compress", "from = all, to = [local]", "", "compress = zstd", "artefacts_form"),
    ("archive", "level", "from = all, to = [local]", "", "level = 9", ""),
    ("archive", "encrypt", "from = all, to = [local]", "encrypt = [\"KEY\"]", "", "encryption_lost"),
    ("archive", "self_contained", "from = all, to = [local]", "self_contained = true", "", "artefacts_form"),
    ("archive", "large_files", "from = all, to = [local]", "", "large_files = blocks", "artefacts_form"),
    ("archive", "share_blocks", "from = all, to = [local]", "share_blocks = true", "", ""),
    ("separate", "to", "", "to = [local, far]", "to = [local]", "copies_lost"),
    ("separate", "passphrase", "to = [local]", "passphrase = env(\"A\")", "", "encryption_lost"),
    ("separate", "full", "to = [local]", "keep { full = 4 }", "keep { full = 1 }", "fewer_points"),
    (
        "separate",
        "run",
        "to = [local]",
        "schedule { run = hourly }",
        "schedule { run = weekly on sun at 02:30 }",
        "rpo_worse",
    ),
    ("wal", "to", "", "to = [local, far]", "to = [local]", "copies_lost"),
    ("wal", "keep", "to = [local]", "keep = 30d", "keep = 7d", "points_lost"),
    ("wal", "encrypt", "to = [local]", "encrypt = [\"KEY\"]", "", "encryption_lost"),
    ("wal", "ack", "to = [local, far]", "", "ack = any", "copies_lost"),
    ("cycle", "incrementals", "", "incrementals = 3", "incrementals = 4", "cycle_changed"),
    ("cycle", "base", "incrementals = 3", "", "base = previous", "cycle_changed"),
    ("schedule", "run", "", "run = hourly", "run = daily at 02:30", "rpo_worse"),
    (
        "schedule",
        "full",
        "differential = daily at 02:30",
        "full = weekly on sun at 02:00",
        "full = monthly on 1 at 02:00",
        "schedule_changed",
    ),
    (
        "schedule",
        "differential",
        "full = weekly on sun at 02:00",
        "differential = daily at 02:30",
        "",
        "rpo_worse",
    ),
    (
        "schedule",
        "incremental",
        "full = weekly on sun at 02:00",
        "incremental = daily at 02:30",
        "",
        "rpo_worse",
    ),
    (
        "schedule",
        "zone",
        "run = daily at 12:30",
        "zone = \"UTC\"",
        "zone = \"Asia/Tokyo\"",
        "timezone_changed",
    ),
    ("schedule", "jitter", "run = daily at 02:30", "", "jitter = 12h", "rpo_worse"),
    ("schedule", "catch_up", "run = daily at 02:30", "", "catch_up = false", "catch_up_ends"),
    ("keep", "cycles", "", "cycles = 4", "cycles = 2", "fewer_points"),
    ("keep", "last", "", "last = 4", "last = 2", "fewer_points"),
    ("keep", "within", "last = 1", "within = 7d", "within = 2d", "fewer_points"),
    ("keep", "hourly", "last = 1", "hourly = 7", "", "fewer_points"),
    ("keep", "daily", "last = 1", "daily = 7", "", "fewer_points"),
    ("keep", "weekly", "last = 1", "weekly = 7", "", "fewer_points"),
    ("keep", "monthly", "last = 1", "monthly = 7", "", "fewer_points"),
    ("keep", "yearly", "last = 1", "yearly = 7", "", "fewer_points"),
    ("keep", "full", "last = 1", "full = 7", "", "fewer_points"),
    ("keep", "differential", "last = 1", "differential = 7", "", "fewer_points"),
    ("keep", "wal", "last = 1", "wal = 7d", "wal = 2d", "points_lost"),
    ("keep", "prefer", "daily = 7", "prefer = full", "", "kept_otherwise"),
    ("retry", "attempts", "", "attempts = 5", "attempts = 1", "fewer_attempts"),
    ("retry", "backoff", "", "backoff = 1s..2s", "backoff = 1s..3s", ""),
    ("limits", "jobs", "", "jobs = 1", "jobs = 2", ""),
    ("limits", "nice", "", "nice = 1", "nice = 2", ""),
    ("limits", "bandwidth", "", "bandwidth = 1MiB/s", "bandwidth = 2MiB/s", ""),
    ("limits", "timeout", "", "", "timeout = 1h", "time_limited"),
    (
        "window",
        "around",
        "enter = [\"a\"], leave = [\"b\"]",
        "around = [site, other]",
        "around = [site]",
        "window_removed",
    ),
    ("window", "enter", "around = all, leave = [\"b\"]", "enter = [\"a\"]", "", "window_weaker"),
    (
        "window",
        "leave",
        "around = all, enter = [\"a\"]",
        "leave = [\"b\"]",
        "leave = [\"c\"]",
        "window_changed",
    ),
    (
        "window",
        "run_as",
        "around = all, enter = [\"a\"], leave = [\"b\"]",
        "run_as = \"nobody\"",
        "",
        "window_changed",
    ),
    (
        "window",
        "timeout",
        "around = all, enter = [\"a\"], leave = [\"b\"]",
        "timeout = 2h",
        "timeout = 1h",
        "time_limited",
    ),
    ("window", "env", "around = all, enter = [\"a\"], leave = [\"b\"]", "env = [\"A=1\"]", "", ""),
    ("notify.command", "env", "run = [\"a\"]", "env = [\"A=1\"]", "", ""),
    ("verify", "env", "restore = db, every = 7d, command = [\"a\"]", "env = [\"A=1\"]", "", ""),
    ("notify.webhook", "url", "", "url = env(\"A\")", "url = env(\"B\")", "notify_moved"),
    ("notify.webhook", "on", "url = env(\"A\")", "", "on = [failure]", "warnings_untold"),
    ("notify.webhook", "shape", "url = env(\"A\")", "", "shape = slack", ""),
    ("notify.webhook", "template", "url = env(\"A\")", "", "template = '{\"a\": \"{text}\"}'", ""),
    ("notify.webhook", "token", "url = env(\"A\")", "token = env(\"A\")", "", ""),
    ("notify.healthcheck", "monitor", "url = env(\"A\")", "", "monitor = kuma", ""),
    ("notify.email", "to", MAIL, "to = [\"a@b.org\"]", "to = [\"c@b.org\"]", "notify_moved"),
    ("notify.email", "from", MAIL_TO, "from = \"a@b.org\"", "from = \"c@b.org\"", ""),
    ("notify.email", "server", MAIL_BY, "server = \"m\"", "server = \"n\"", ""),
    ("notify.email", "tls", MAIL_ALL, "", "tls = plain", ""),
    ("notify.email", "user", MAIL_ALL, "user = \"a\"", "user = \"b\"", ""),
    ("notify.email", "password", MAIL_ALL, "password = env(\"A\")", "password = env(\"B\")", ""),
    ("notify.email", "on", MAIL_ALL, "", "on = [failure]", "warnings_untold"),
    ("notify.healthcheck", "url", "", "url = env(\"A\")", "url = env(\"B\")", "notify_moved"),
    ("notify.healthcheck", "on", "url = env(\"A\")", "", "on = [start, success, warning]", "nobody_told"),
    ("notify.command", "run", "", "run = [\"a\"]", "run = [\"b\"]", "notify_moved"),
    ("notify.command", "on", "run = [\"a\"]", "", "on = [failure]", "warnings_untold"),
    ("objective", "of", "copies = 1", "", "of = [site]", "promise_weaker"),
    ("objective", "rpo", "of = all", "rpo = 25h", "rpo = 49h", "promise_weaker"),
    ("objective", "rto", "of = all, copies = 1", "rto = 1h", "rto = 2h", "promise_weaker"),
    ("objective", "copies", "of = all", "copies = 2", "copies = 1", "promise_weaker"),
    ("objective", "offsite", "of = all, copies = 1", "offsite = 1", "", "promise_weaker"),
    ("verify", "every", "restore = db", "every = 7d", "every = 30d", "rehearsal_weaker"),
    ("verify", "restore", "every = 7d", "restore = db", "restore = site", "rehearsal_removed"),
    ("verify", "query", "restore = db, every = 7d", "query = \"select true\"", "", "rehearsal_weaker"),
    ("verify", "command", "restore = db, every = 7d", "command = [\"a\"]", "", "rehearsal_weaker"),
    ("verify", "identity", "restore = db, every = 7d", "identity = env(\"A\")", "", ""),
    ("policy", "require", "forbid = [inline_secrets]", "require = [keep]", "", "policy_removed"),
    ("policy", "forbid", "require = [keep]", "forbid = [inline_secrets]", "", "policy_removed"),
];

/// A plan with this declaration, as whole as `body` needs it.
fn text(of: &str, body: &str) -> String {
    let body = body.replace("KEY", KEY);
    let (kind, ty) = of.split_once('.').unwrap_or((of, ""));
    let other = "source other: files { paths = [\"/o\"] }\n";
    let usual = format!("plan t\n{LOCAL}{SITE}");
    let daily = "schedule { run = daily at 02:30 }\n";
    match kind {
        "store" => format!("plan t\nstore x: {ty} {{ {body} }}\n{SITE}{TO_X}"),
        "source" => format!("{usual}{A}source x: {ty} {{ {body} }}\n"),
        "archive" => format!("{usual}{other}archive a {{ {body} }}\n"),
        "separate" => format!("{usual}{A}{daily}{REPOSITORY}separate db {{ {body} }}\n"),
        "wal" => format!("{usual}{A}{DB}wal db {{ {body} }}\n"),
        "keep" => format!(
            "{usual}{A}{DB}wal db {{ to = [local] }}\ncycle {{ incrementals = 3 }}\nkeep {{ {body} }}\n"
        ),
        "window" => format!("{usual}{A}{other}window x {{ {body} }}\n"),
        "notify" => format!("{usual}{A}notify x: {ty} {{ {body} }}\n"),
        "objective" => format!("{usual}{A}{other}{daily}objective {{ {body} }}\n"),
        "verify" => format!("{usual}{A}{DB}{daily}verify {{ {body} }}\n"),
        "policy" => format!("{usual}{A}keep {{ last = 3 }}\npolicy {{ {body} }}\n"),
        _ => format!("{usual}{A}{kind} {{ {body} }}\n"),
    }
}

fn model(text: &str) -> Result<Model, String> {
    let (set, compiled) = compile_files(&[("t.plan", text)]);
    compiled.model.ok_or_else(|| format!("{text}\n{}", shown(&set, &compiled.findings)))
}

/// What is wrong with a row; `None`: the difference is as it says.
fn wrong(row: &Row) -> Option<String> {
    let (of, attr, rest, old, new, told) = *row;
    let body = |change: &str| {
        [rest, change].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    };
    let plans = [old, new].map(|change| model(&text(of, &body(change))));
    let [Ok(before), Ok(after)] = &plans else {
        return Some(format!("{of}.{attr}: {}", plans.into_iter().find_map(Result::err)?));
    };
    let Diff { consequences, declarations, .. } = match diff(before, after) {
        Ok(diff) => diff,
        Err(error) => return Some(format!("{of}.{attr}: {error:?}")),
    };
    let names: Vec<&str> = consequences.iter().map(|one| one.name).collect();
    let attributes = declarations.iter().flat_map(|one| &one.attributes).map(|one| one.attribute);
    if attributes.count() == 0 {
        return Some(format!("{of}.{attr}: the difference is not shown"));
    }
    let as_said = if told.is_empty() { names.is_empty() } else { names.contains(&told) };
    (!as_said).then(|| format!("{of}.{attr}: `{told}` is not among {names:?}"))
}

#[test]
fn no_attribute_changes_without_a_word() {
    let mut missing = BTreeSet::new();
    for kind in KINDS {
        let types: Vec<_> =
            if kind.types.is_empty() { vec![None] } else { kind.types.iter().map(Some).collect() };
        for ty in types {
            let of = ty.map_or(kind.name.to_owned(), |ty| format!("{}.{}", kind.name, ty.name));
            for attr in kind.attributes(ty) {
                // What all types of a kind have is tried with one of them.
                let is_common = kind.attrs.iter().any(|common| common.name == attr.name);
                let is_row = |row: &&Row| {
                    let same_kind =
                        if is_common { row.0.split('.').next() == Some(kind.name) } else { row.0 == of };
                    same_kind && row.1 == attr.name
                };
                // Of one word there is no other.
                let is_fixed = matches!(attr.ty, Ty::Keyword([_]));
                if !is_fixed && !ROWS.iter().any(|row| is_row(&row)) {
                    missing.insert(format!("{of}.{}", attr.name));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no row says what a change of these means: {missing:?}");
    let wrong: Vec<String> = ROWS.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Numbers at their ends, by what an attribute takes: the smallest, the largest, what is beyond, and what is none.
fn ends(ty: Ty) -> Vec<String> {
    let numbers = ["0", "1", "-1", "1.5", "2147483647", "2147483648", "4294967295", "4294967296"];
    let huge =
        ["9223372036854775807", "9223372036854775808", "18446744073709551616", "99999999999999999999999"];
    let all = numbers.into_iter().chain(huge);
    let units: &[&str] = match ty {
        Ty::Int(..) => &[""],
        Ty::Duration | Ty::DurationRange => &["s", "m", "h", "d", "w", "years", ""],
        Ty::Size => &["B", "KB", "TiB", ""],
        Ty::Rate => &["B/s", "TiB/s", ""],
        _ => &[],
    };
    let mut ends: Vec<String> =
        all.flat_map(|number| units.iter().map(move |unit| format!("{number}{unit}"))).collect();
    if let Ty::Int(least, most) = ty {
        ends.extend(
            [least, most].iter().flat_map(|end| [-1, 0, 1].map(|by| end.saturating_add(by).to_string())),
        );
    }
    if matches!(ty, Ty::DurationRange) {
        let ranges: Vec<String> =
            ends.iter().flat_map(|end| [format!("{end}..{end}"), format!("1s..{end}")]).collect();
        ends.extend(ranges);
    }
    ends
}

/// What is wrong where an attribute has this value; `None`: the plan is refused with the place, or good for everything.
fn at_its_end(of: &str, attr: &str, rest: &str, value: &str) -> Option<String> {
    let parts = [rest.to_owned(), format!("{attr} = {value}")];
    let body =
        parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(", ");
    let text = text(of, &body);
    let (set, compiled) = compile_files(&[("t.plan", &text)]);
    let Some(model) = &compiled.model else {
        let at = text.find(&format!("{attr} = {value}")).unwrap();
        let is_told = |finding: &backplan_compiler::finding::Finding| {
            let start = finding.primary.place.span.start;
            finding.severity == Severity::Error && start >= at && start <= at + attr.len() + 3 + value.len()
        };
        let told = compiled.findings.iter().any(is_told);
        return (!told).then(|| format!("{of}.{attr} = {value}:\n{}", shown(&set, &compiled.findings)));
    };
    let occasion = Occasion { now: Some("2027-03-01T02:30:00Z".parse().unwrap()), ..Occasion::default() };
    if let Err(error) = lower(model, &occasion) {
        return Some(format!("{of}.{attr} = {value}: {error:?}"));
    }
    let day = "2027-03-01T00:00:00Z".parse().unwrap();
    let simulation = simulate(model, Horizon { runs: 500, ..Horizon::around(model, day, day) });
    let lives = (0..model.stores.len()).map(|store| simulation.lives(StoreId(store)).len());
    (lives.max() > Some(1000)).then(|| format!("{of}.{attr} = {value}: too many runs"))
}

#[test]
fn every_number_at_its_ends_is_refused_where_it_stands_or_good_for_everything() {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for kind in KINDS {
        let types: Vec<_> =
            if kind.types.is_empty() { vec![None] } else { kind.types.iter().map(Some).collect() };
        for (ty, attr) in types.into_iter().flat_map(|ty| kind.attributes(ty).map(move |attr| (ty, attr))) {
            let of = ty.map_or(kind.name.to_owned(), |ty| format!("{}.{}", kind.name, ty.name));
            let same = |row: &&Row| row.1 == attr.name && row.0.split('.').next() == Some(kind.name);
            let own = ROWS.iter().find(|row| same(row) && row.0 == of).or_else(|| ROWS.iter().find(same));
            let Some(row) = own else { continue };
            for value in ends(attr.ty) {
                tried += 1;
                wrong.extend(at_its_end(row.0, attr.name, row.2, &value));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!(tried > 800, "{tried}");
}
