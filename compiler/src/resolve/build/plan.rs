//! When, for how long, with what, and what was promised.

use super::super::Resolver;
use super::super::block::Block;
use super::super::declare::Declared;
use super::source_ids;
use crate::codes;
use crate::finding::Finding;
use crate::model::{
    Body, Cycle, Due, Email, Event, Keep, Level, Limits, Monitor, Notify, NotifyKind, Objective, Policy,
    Retry, Schedule, Shape, SourceId, Staging, Tls, Verify, When, Window, Worded,
};
use crate::schema::Make;
use crate::sources::Place;
use crate::template::Template;

const LEVELS: [&str; 3] = ["full", "differential", "incremental"];
const RULES: [&str; 11] = [
    "cycles",
    "last",
    "within",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "full",
    "differential",
    "wal",
];

impl<'a> Resolver<'a> {
    pub(super) fn staging(&mut self, block: &mut Block<'a>) -> Option<Staging> {
        let clear = block.keywords("clear");
        let clears = |word| clear.as_ref().is_none_or(|words| words.iter().any(|(found, _)| *found == word));
        Some(Staging {
            place: block.head,
            clear_before: clears("before"),
            clear_after: clears("after"),
            path: block.path("path")?,
        })
    }

    pub(super) fn cycle(&mut self, block: &mut Block<'a>) -> Option<Cycle> {
        Some(Cycle {
            place: block.head,
            incrementals: block.int("incrementals").unwrap_or(0),
            follow: match block.keyword("base") {
                Some("previous") => Level::Incremental,
                _ => Level::Differential,
            },
        })
    }

    pub(super) fn schedule_block(&mut self, block: &mut Block<'a>) -> Option<Schedule> {
        let levels: Vec<&str> = LEVELS.into_iter().filter(|level| block.wrote(level)).collect();
        if let (true, Some(level)) = (block.wrote("run"), levels.first()) {
            let message = format!("`run` and `{level}` exclude each other");
            let help = "`run` leaves the level to `cycle`; `full`, `differential` and `incremental` say it themselves";
            self.conflict(block.place(level), block.place("run"), message, help);
        } else if !block.wrote("run") && levels.is_empty() {
            self.empty_block(block.head, "this schedule says no time", "add `run = daily at 02:30`");
        }
        let run: Option<When> = block.when("run");
        let (full, differential, incremental) =
            (block.when("full"), block.when("differential"), block.when("incremental"));
        let due = match run {
            Some(when) => Due::Run(when),
            None => Due::Levels { full, differential, incremental },
        };
        Some(Schedule {
            place: block.head,
            due,
            zone: block.str("zone").unwrap_or_else(|| "UTC".into()),
            jitter: block.amount("jitter"),
            catch_up: block.bool("catch_up").unwrap_or(true),
        })
    }

    /// Levels by schedule and levels by cycle exclude each other.
    pub(super) fn check_cycle(&mut self, cycle: &Cycle, schedule: &Schedule) {
        if matches!(
            schedule.due,
            Due::Levels { full: None, differential: None, incremental: None } | Due::Run(_)
        ) {
            return;
        }
        let message = "`cycle` and a schedule by level exclude each other";
        let help = "write `schedule { run = … }` with a cycle, or leave `cycle` out";
        self.conflict(cycle.place, schedule.place, message, help);
    }

    pub(super) fn keep(&mut self, block: &mut Block<'a>) -> Option<Keep> {
        if !RULES.iter().any(|rule| block.wrote(rule)) {
            let help = "add a rule, such as `daily = 7`; no `keep` at all keeps everything";
            self.empty_block(block.head, "this `keep` keeps nothing", help);
        }
        Some(Keep {
            place: block.head,
            cycles: block.int("cycles"),
            last: block.int("last"),
            within: block.amount("within"),
            hourly: block.int("hourly"),
            daily: block.int("daily"),
            weekly: block.int("weekly"),
            monthly: block.int("monthly"),
            yearly: block.int("yearly"),
            full: block.int("full"),
            differential: block.int("differential"),
            wal: block.amount("wal"),
            prefer_full: block.keyword("prefer") == Some("full"),
        })
    }

    pub(super) fn retry(&mut self, block: &mut Block<'a>) -> Option<Retry> {
        let default = Retry::default();
        let (backoff_first, backoff_most) =
            block.range("backoff").unwrap_or((default.backoff_first, default.backoff_most));
        Some(Retry {
            attempts: block.int("attempts").unwrap_or(default.attempts),
            backoff_first,
            backoff_most,
        })
    }

    pub(super) fn limits(&mut self, block: &mut Block<'a>) -> Option<Limits> {
        Some(Limits {
            jobs: block.int("jobs"),
            nice: block.int("nice"),
            bandwidth: block.amount("bandwidth"),
            timeout: block.amount("timeout"),
        })
    }

    pub(super) fn window(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Window> {
        if !block.wrote("enter") && !block.wrote("leave") {
            let help = "add `enter` and `leave`: the programs that open and close it";
            self.empty_block(block.head, "this window does nothing", help);
        }
        let around = block.refs_or_all("around", 0..self.names.of("source").len());
        Some(Window {
            name: declared.name().to_owned(),
            place: block.head,
            around: source_ids(around?),
            enter: block.texts("enter"),
            leave: block.texts("leave"),
            env: block.env("env").unwrap_or_default(),
            run_as: block.str("run_as"),
            timeout: block.amount("timeout"),
        })
    }

    pub(super) fn notify(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Notify> {
        let Make::Notify(make, default) = declared.ty?.make else { return None };
        let written = block.keywords("on");
        let events = |words: Vec<(&'static str, Place)>| {
            words.into_iter().filter_map(|(word, _)| Event::of(word)).collect()
        };
        let mut on: Vec<Event> = written.map_or_else(|| default.to_vec(), events);
        on.sort_unstable();
        on.dedup();
        if on.is_empty() {
            self.empty_block(
                block.place("on"),
                "this notification is never sent",
                "name an event: `on = [failure]`",
            );
        }
        if block.wrote("template") && block.wrote("shape") {
            let message = "`shape` and `template` exclude each other";
            let help = "a template is the whole body; delete `shape`";
            self.conflict(block.place("template"), block.place("shape"), message, help);
        }
        let kind = make(block)?;
        if matches!(kind, NotifyKind::Webhook { token: Some(_), .. }) {
            // The secret is the token: an address that needs one is for everybody to read.
            let address = block.place("url");
            let is_within = |place: &Place| {
                place.file == address.file
                    && address.span.start <= place.span.start
                    && place.span.end <= address.span.end
            };
            self.facts.inline_secrets.retain(|place| !is_within(place));
        }
        if let NotifyKind::Webhook { body: Body::Template(template), token: None, .. } = &kind
            && template.names("token")
            && !block.wrote("token")
        {
            let message = "the template has `{token}`, and this notification has no `token`";
            let finding = Finding::new(&codes::MISSING_ATTRIBUTE, block.place("template"), message);
            self.findings.push(finding.help("say it, as in `token = file(\"/etc/backplan/key\")`"));
        }
        Some(Notify { name: declared.name().to_owned(), place: block.head, kind, on })
    }

    pub(super) fn objective(&mut self, _: Declared<'a>, block: &mut Block<'a>) -> Option<Objective> {
        if !["rpo", "rto", "copies", "offsite"].iter().any(|attr| block.wrote(attr)) {
            self.empty_block(block.head, "this objective promises nothing", "add `rpo = 24h`, say");
        }
        let everything = 0..self.names.of("source").len();
        let of = match block.wrote("of") {
            true => block.refs_or_all("of", everything)?,
            false => everything.collect(),
        };
        Some(Objective {
            place: block.head,
            of: source_ids(of),
            rpo: block.amount("rpo"),
            rto: block.amount("rto"),
            copies: block.int("copies"),
            offsite: block.int("offsite"),
        })
    }

    pub(super) fn verify(&mut self, _: Declared<'a>, block: &mut Block<'a>) -> Option<Verify> {
        let (source, _) = block.refs("restore")?.into_iter().next()?;
        if block.wrote("env") && !block.wrote("command") {
            self.empty_block(
                block.place("env"),
                "no program is given these variables",
                "add the `command` that they are for",
            );
        }
        Some(Verify {
            place: block.head,
            every: block.amount("every"),
            restore: SourceId(source),
            query: block.str("query"),
            command: block.texts("command"),
            env: block.env("env").unwrap_or_default(),
            identity: block.secret("identity"),
        })
    }

    pub(super) fn policy(&mut self, _: Declared<'a>, block: &mut Block<'a>) -> Option<Policy> {
        let (require, forbid) = (block.keywords("require"), block.keywords("forbid"));
        let is_read = |attr, found: &Option<Vec<_>>| found.is_some() || !block.wrote(attr);
        let is_whole = is_read("require", &require) && is_read("forbid", &forbid);
        let (require, forbid) = (require.unwrap_or_default(), forbid.unwrap_or_default());
        if is_whole && require.is_empty() && forbid.is_empty() {
            self.empty_block(block.head, "this policy rules nothing", "add `require = [encrypt]`, say");
        }
        Some(Policy { place: block.head, require, forbid })
    }
}

pub(crate) fn webhook(block: &mut Block<'_>) -> Option<NotifyKind> {
    Some(NotifyKind::Webhook {
        body: match block.str("template") {
            Some(text) => Body::Template(Template::parse(&text).ok()?),
            None => Body::Shape(block.choice("shape").unwrap_or(Shape::Json)),
        },
        token: block.secret("token"),
        url: block.secret("url")?,
    })
}

pub(crate) fn healthcheck(block: &mut Block<'_>) -> Option<NotifyKind> {
    Some(NotifyKind::Healthcheck {
        monitor: block.choice("monitor").unwrap_or(Monitor::Healthchecks),
        url: block.secret("url")?,
    })
}

pub(crate) fn email(block: &mut Block<'_>) -> Option<NotifyKind> {
    let (to, from, server) = (block.strings("to"), block.str("from"), block.str("server"));
    Some(NotifyKind::Email(Box::new(Email {
        to: to?.into_iter().map(|(address, _)| address).collect(),
        from: from?,
        server: server?,
        tls: block.choice("tls").unwrap_or(Tls::Starttls),
        user: block.str("user"),
        password: block.secret("password"),
    })))
}

pub(crate) fn notified(block: &mut Block<'_>) -> Option<NotifyKind> {
    let env = block.env("env").unwrap_or_default();
    Some(NotifyKind::Command { run: block.texts("run")?, env })
}
