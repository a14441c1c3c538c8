//! What is made of the sources, when, how long it is kept and what was promised.

use super::{Kind, Make, Naming, Ty, Type, def, opt, req};
use crate::model::{Compress, Event, LargeFiles, Monitor, Shape, Tls, Worded, words};
use crate::resolve::build::plan;

const COMPRESS: [&str; 2] = words(Compress::TABLE);
const LARGE_FILES: [&str; 2] = words(LargeFiles::TABLE);
const ANY_COUNT: i64 = 1_000_000;

const UNNAMED: Kind =
    Kind { name: "", doc: "", naming: Naming::Unnamed, repeats: false, types: &[], attrs: &[], blocks: &[] };

pub(super) const STAGING: Kind = Kind {
    name: "staging",
    doc: "The folder that artefacts are built in.",
    attrs: &[
        req("path", Ty::Path, "The folder; it stays, its contents do not."),
        def("clear", Ty::Keywords(&["before", "after"]), "[before, after]", "When its contents are cleared."),
    ],
    ..UNNAMED
};

pub(super) const ARCHIVE: Kind = Kind {
    name: "archive",
    doc: "One artefact a run, made of sources and brought to stores.",
    naming: Naming::New,
    attrs: &[
        req(
            "from",
            Ty::RefsOrAll("source"),
            "The sources in it; `all` is every source not declared `separate`.",
        ),
        opt("exclude", Ty::Refs("source"), "Sources that `all` leaves out here."),
        req("to", Ty::Refs("store"), "The stores it is brought to."),
        def(
            "name",
            Ty::FileName,
            "PLAN_ARCHIVE_UTCTIME.tar.gz, `.tar.zst` with zstd, `.age` behind it when encrypted",
            "The file name of the artefact.",
        ),
        def("compress", Ty::Keyword(&COMPRESS), "gzip", "How it is compressed."),
        def(
            "level",
            Ty::Int(0, 19),
            "6, 3 with zstd",
            "How hard it is compressed: 0 (not at all) to 9, 19 with zstd.",
        ),
        opt("encrypt", Ty::Recipients, "The public keys that it is encrypted for."),
        def(
            "self_contained",
            Ty::Bool,
            "false",
            "Whether an incremental is a whole archive and not a difference.",
        ),
        def(
            "large_files",
            Ty::Keyword(&LARGE_FILES),
            "whole",
            "What a difference holds of a large file that changed: the file, or only the blocks that changed.",
        ),
        def(
            "share_blocks",
            Ty::Bool,
            "false",
            "Whether members are padded so that a copy-on-write store shares them.",
        ),
    ],
    ..UNNAMED
};

pub(super) const SEPARATE: Kind = Kind {
    name: "separate",
    doc: "A source kept out of every archive, in its tool's own repository.",
    naming: Naming::OfSource,
    attrs: &[
        req("to", Ty::Refs("store"), "The stores that hold the repository."),
        opt("passphrase", Ty::Secret, "The passphrase of the repository."),
    ],
    blocks: &["keep", "schedule"],
    ..UNNAMED
};

pub(super) const WAL: Kind = Kind {
    name: "wal",
    doc: "The continuous WAL archive of a `basebackup` source.",
    naming: Naming::OfSource,
    attrs: &[
        req("to", Ty::Refs("store"), "The stores that segments are brought to."),
        opt("keep", Ty::Duration, "How far back recovery to any moment is promised."),
        opt("encrypt", Ty::Recipients, "The public keys that segments are encrypted for."),
        def(
            "ack",
            Ty::Keyword(&["all", "any"]),
            "all",
            "How many stores must hold a segment before it counts.",
        ),
    ],
    ..UNNAMED
};

pub(super) const CYCLE: Kind = Kind {
    name: "cycle",
    doc: "Fulls and what follows them.",
    attrs: &[
        def("incrementals", Ty::Int(0, ANY_COUNT), "0", "How many runs follow a full."),
        def("base", Ty::Keyword(&["full", "previous"]), "full", "What they rest on."),
    ],
    ..UNNAMED
};

pub(super) const SCHEDULE: Kind = Kind {
    name: "schedule",
    doc: "When runs are due.",
    attrs: &[
        opt("run", Ty::Schedule, "When a run is due; its level comes from the cycle."),
        opt("full", Ty::Schedule, "When a full is due; excludes `run` and `cycle`."),
        opt("differential", Ty::Schedule, "When a differential is due; excludes `run` and `cycle`."),
        opt("incremental", Ty::Schedule, "When an incremental is due; excludes `run` and `cycle`."),
        def("zone", Ty::Zone, "\"UTC\"", "The time zone of the schedule."),
        opt("jitter", Ty::Duration, "The most by which a start is delayed at random."),
        def("catch_up", Ty::Bool, "true", "Whether a run missed while the machine was off is made up for."),
    ],
    ..UNNAMED
};

pub(super) const KEEP: Kind = Kind {
    name: "keep",
    doc: "How long runs are kept: a run stays if any rule keeps it.",
    attrs: &[
        opt("cycles", Ty::Int(1, ANY_COUNT), "The newest N cycles, each whole."),
        opt("last", Ty::Int(1, ANY_COUNT), "The newest N runs."),
        opt("within", Ty::Duration, "All runs younger than this, counted from the newest."),
        opt("hourly", Ty::Int(1, ANY_COUNT), "One run of each of the last N hours that have one."),
        opt("daily", Ty::Int(1, ANY_COUNT), "One run of each of the last N days that have one."),
        opt("weekly", Ty::Int(1, ANY_COUNT), "One run of each of the last N weeks that have one."),
        opt("monthly", Ty::Int(1, ANY_COUNT), "One run of each of the last N months that have one."),
        opt("yearly", Ty::Int(1, ANY_COUNT), "One run of each of the last N years that have one."),
        opt("full", Ty::Int(1, ANY_COUNT), "The newest N fulls and what rests on them."),
        opt("differential", Ty::Int(1, ANY_COUNT), "The newest N differentials and what they rest on."),
        opt("wal", Ty::Duration, "How far back recovery to any moment is promised."),
        def("prefer", Ty::Keyword(&["newest", "full"]), "newest", "Which run of a period is the one kept."),
    ],
    ..UNNAMED
};

pub(super) const RETRY: Kind = Kind {
    name: "retry",
    doc: "How steps that may be repeated are repeated.",
    attrs: &[
        def("attempts", Ty::Int(1, 1000), "3", "How often a step is tried in all."),
        def(
            "backoff",
            Ty::DurationRange,
            "1s..1m",
            "The first pause and the longest; each is twice the one before.",
        ),
    ],
    ..UNNAMED
};

pub(super) const LIMITS: Kind = Kind {
    name: "limits",
    doc: "What a run may use of the machine.",
    attrs: &[
        opt("jobs", Ty::Int(1, 1024), "Steps at once; left out, as many as there are cores."),
        opt("nice", Ty::Int(-20, 19), "The niceness of the run."),
        opt("bandwidth", Ty::Rate, "Bytes a second to all stores together."),
        opt("timeout", Ty::Duration, "The longest that a run may take."),
    ],
    ..UNNAMED
};

pub(super) const WINDOW: Kind = Kind {
    name: "window",
    doc: "A state that the world is held in while sources are read.",
    naming: Naming::New,
    attrs: &[
        req("around", Ty::RefsOrAll("source"), "The sources that are read inside it."),
        opt("enter", Ty::Args, "The program that opens it."),
        opt(
            "leave",
            Ty::Args,
            "The program that closes it, also after a failure; stopped after ten minutes, or after `timeout` if that is longer.",
        ),
        opt("env", Ty::Env, "Environment variables for both programs; the place for their secrets."),
        opt("run_as", Ty::Account, "The account that both programs run as."),
        opt("timeout", Ty::Duration, "After this long the window is left and the run fails."),
    ],
    ..UNNAMED
};

const EVENTS: [&str; 4] = words(Event::TABLE);
const SHAPES: [&str; 4] = words(Shape::TABLE);
const MONITORS: [&str; 2] = words(Monitor::TABLE);
const TLS: [&str; 3] = words(Tls::TABLE);

pub(super) const NOTIFY: Kind = Kind {
    name: "notify",
    doc: "Telling people and machines how a run went.",
    naming: Naming::New,
    types: &[
        Type {
            name: "webhook",
            doc: "An HTTP request.",
            attrs: &[
                req("url", Ty::Secret, "The address."),
                def("shape", Ty::Keyword(&SHAPES), "json", "What the request looks like."),
                opt("template", Ty::Template, "Or its body, with `{NAME}` for parts of the message."),
                opt(
                    "token",
                    Ty::Secret,
                    "Sent along as `Authorization: Bearer`, or in the template as `{token}`.",
                ),
                def("on", Ty::Keywords(&EVENTS), "[warning, failure]", "The events that are told."),
            ],
            make: Make::Notify(plan::webhook, &[Event::Warning, Event::Failure]),
        },
        Type {
            name: "healthcheck",
            doc: "A monitor that expects to hear of each run.",
            attrs: &[
                req("url", Ty::Secret, "The address."),
                def("monitor", Ty::Keyword(&MONITORS), "healthchecks", "What listens there."),
                def(
                    "on",
                    Ty::Keywords(&EVENTS),
                    "[start, success, warning, failure]",
                    "The events that are told.",
                ),
            ],
            make: Make::Notify(
                plan::healthcheck,
                &[Event::Start, Event::Success, Event::Warning, Event::Failure],
            ),
        },
        Type {
            name: "email",
            doc: "A letter by SMTP.",
            attrs: &[
                req("to", Ty::Addresses, "Whom to."),
                req("from", Ty::Address, "Whom from."),
                req(
                    "server",
                    Ty::Server,
                    "The server that takes it, with a port where it is not the usual one.",
                ),
                def(
                    "tls",
                    Ty::Keyword(&TLS),
                    "starttls",
                    "`starttls`: from the first command on, port 587; `tls`: from the first byte on, port 465; `plain`: never, port 25.",
                ),
                opt("user", Ty::Str, "The account at the server."),
                opt("password", Ty::Secret, "Its password."),
                def("on", Ty::Keywords(&EVENTS), "[warning, failure]", "The events that are told."),
            ],
            make: Make::Notify(plan::email, &[Event::Warning, Event::Failure]),
        },
        Type {
            name: "command",
            doc: "A program that is run.",
            attrs: &[
                req("run", Ty::Args, "The program and its arguments."),
                opt("env", Ty::Env, "Environment variables for the program; the place for its secrets."),
                def("on", Ty::Keywords(&EVENTS), "[warning, failure]", "The events that are told."),
            ],
            make: Make::Notify(plan::notified, &[Event::Warning, Event::Failure]),
        },
    ],
    ..UNNAMED
};

pub(super) const OBJECTIVE: Kind = Kind {
    name: "objective",
    doc: "What the business was promised.",
    repeats: true,
    attrs: &[
        def("of", Ty::RefsOrAll("source"), "all", "The sources it is promised for."),
        opt("rpo", Ty::Duration, "How much work may be lost at the most."),
        opt("rto", Ty::Duration, "How long it may take until a source is back."),
        opt("copies", Ty::Int(1, 1000), "How many stores must hold a run."),
        opt("offsite", Ty::Int(1, 1000), "How many of them must be offsite."),
    ],
    ..UNNAMED
};

pub(super) const VERIFY: Kind = Kind {
    name: "verify",
    doc: "A rehearsal of a restore.",
    repeats: true,
    attrs: &[
        opt("every", Ty::Duration, "How often it is rehearsed."),
        req("restore", Ty::Ref("source"), "The source that is restored."),
        opt("query", Ty::Str, "A query on the restored database that must answer true."),
        opt("command", Ty::Args, "A program that must end with 0."),
        opt("env", Ty::Env, "Environment variables for the program; the place for its secrets."),
        opt("identity", Ty::Secret, "The private key, where the source is encrypted."),
    ],
    ..UNNAMED
};

pub(super) const POLICY: Kind = Kind {
    name: "policy",
    doc: "Rules that an imported file lays on every plan.",
    repeats: true,
    attrs: &[
        opt(
            "require",
            Ty::Keywords(&["encrypt", "offsite", "verify", "objective", "schedule", "keep"]),
            "What a plan must have.",
        ),
        opt("forbid", Ty::Keywords(&["inline_secrets"]), "What a plan must not have."),
    ],
    ..UNNAMED
};
