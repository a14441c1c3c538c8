//! How plans stand, as one page that needs nothing else: no script, no picture and no letters from elsewhere. Every name and
//! every warning in it is somebody's input, and is escaped where it is written.

pub mod charts;
pub mod tables;
pub mod timeline;

use std::fmt::Write;
use std::path::Path;

use backplan_compiler::count::plural;
use backplan_compiler::model::Level;
use backplan_compiler::page::{self, escaped};
use backplan_runtime::moment::shown;
use backplan_runtime::run::timeline::Timeline;
use backplan_runtime::status::last::{Made, RunOutcome};
use backplan_runtime::status::{Status as Standing, span};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::fleet::{called, sorted, weight};
use super::standings::wrong;
use crate::exit::Status;

/// All that is told of a plan.
#[derive(Debug)]
pub struct Account {
    /// Its file.
    pub file: String,
    /// Its name, or its file's.
    pub plan: String,
    /// What `plan status` ends with.
    pub status: Status,
    /// How it stands, or why that cannot be told.
    pub standing: Result<Standing, String>,
    /// What a person should know beside that.
    pub told: Vec<String>,
    /// What the stores have of it.
    pub past: Past,
}

/// What the stores have of a plan.
#[derive(Debug)]
pub struct Past {
    /// The zone of its schedule.
    pub zone: TimeZone,
    /// Every run, oldest first.
    pub runs: Vec<Run>,
    /// Every store that can be read.
    pub shelves: Vec<Shelf>,
    /// The last runs by step that this machine knows of, newest first.
    pub timelines: Vec<Timeline>,
}

impl Default for Past {
    fn default() -> Past {
        Past { zone: TimeZone::UTC, runs: Vec::new(), shelves: Vec::new(), timelines: Vec::new() }
    }
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// Its id.
    pub run: String,
    /// When it began.
    pub started: Timestamp,
    /// `full`, `differential`, `incremental`.
    pub level: &'static str,
    /// How it ended.
    pub outcome: RunOutcome,
    /// What it left.
    pub made: Made,
    /// Sources that failed.
    pub failed: Vec<String>,
    /// Sources of which it has only a part.
    pub in_part: Vec<String>,
    /// The runs it rests on.
    pub rests_on: Vec<String>,
    /// Stores that hold it.
    pub stores: Vec<String>,
}

/// A store.
#[derive(Debug)]
pub struct Shelf {
    /// Its name.
    pub store: String,
    /// When each of its runs began, and its level.
    pub days: Vec<(Timestamp, Level)>,
    /// Why each stays.
    pub kept: Vec<Kept>,
    /// Why nothing is deleted.
    pub refused: Vec<String>,
}

/// Why a run stays.
#[derive(Debug)]
pub struct Kept {
    /// When it began.
    pub started: Timestamp,
    /// Its level.
    pub level: &'static str,
    /// Bytes of its artefacts.
    pub size: u64,
    /// Whether it stays.
    pub stays: bool,
    /// Every reason.
    pub reasons: Vec<String>,
}

/// Where and when the page is made.
#[derive(Debug)]
pub struct Drawn {
    /// When.
    pub now: Timestamp,
    /// On which machine.
    pub host: String,
}

/// Rules for tables, calendars and type.
pub const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem}\
h1{font-size:1.6rem;margin:.2rem 0}h2{font-size:1.35rem;margin:2.5rem 0 .3rem;border-top:2px solid var(--line);padding-top:1rem}\
h3{font-size:1.05rem;margin:1.6rem 0 .4rem}p{margin:.3rem 0}a{color:var(--link)}small,.soft{color:var(--soft)}\
table{border-collapse:collapse;width:100%;font-size:.94rem}th{text-align:left;color:var(--soft);font-weight:600}\
th,td{padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}td:last-child{overflow-wrap:anywhere}\
.n{text-align:right;white-space:nowrap;overflow-wrap:normal;font-variant-numeric:tabular-nums}th.n{text-align:right}\
.w{white-space:nowrap;overflow-wrap:normal}.good{color:var(--good)}.look{color:var(--look)}.bad{color:var(--bad)}\
.good,.look,.bad{font-weight:600}td .good,td .look,td .bad{white-space:nowrap}ul{margin:.3rem 0;padding-left:1.3rem}li{overflow-wrap:anywhere}\
figure{margin:.5rem 0}figcaption{color:var(--soft);font-size:.9rem}svg{display:block;width:100%;height:auto}\
.months{display:flex;flex-wrap:wrap;gap:1rem 1.6rem}.months table{width:auto;font-size:.8rem}.months caption{text-align:left;font-weight:600}\
.months th,.months td{width:1.9rem;padding:.1rem;text-align:center;border:1px solid var(--line);overflow-wrap:normal}\
.months th{border:0}.months td b{display:block;font-size:.85rem;line-height:1.1}.months .has{background:var(--tint)}\
.months td{height:2.1rem;line-height:1.1}.months .out{border:0}.totals{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:.6rem 0}\
@media(max-width:42rem){body{padding:.7rem}.rows thead{display:none}.rows,.rows tbody,.rows tr,.rows td{display:block;width:auto}\
.rows tr{border-bottom:1px solid var(--line);padding:.4rem 0}.rows td{border:0;padding:.05rem 0 .05rem 8.2rem;text-align:left;white-space:normal;min-height:1.5em;position:relative;overflow-wrap:anywhere}\
.rows td::before{content:attr(data-is);position:absolute;left:0;width:7.8rem;color:var(--soft);font-size:.85rem;white-space:nowrap}.rows td:empty{display:none}}\
@media print{body{font-size:10pt;max-width:none;padding:0}h2{break-before:page;border:0;margin-top:0}h2:first-of-type{break-before:auto}\
h3{break-after:avoid}tr,figure,.months table{break-inside:avoid}a{text-decoration:none}}";

/// The page.
pub fn page(accounts: &[Account], drawn: &Drawn) -> String {
    let title = match accounts {
        [only] => format!("Backups of plan {}", only.plan),
        several => format!("Backups of {}", plural(several.len(), "plan")),
    };
    let mut order: Vec<(usize, &Account)> = accounts.iter().enumerate().collect();
    sorted(&mut order, |(_, account)| (account.status.code(), account.plan.clone()));
    let mut body = format!(
        "<header>\n<h1>{}</h1>\n<p class=\"soft\">as seen from {} at {}</p>\n</header>\n<main>\n",
        escaped(&title),
        escaped(&drawn.host),
        escaped(&shown(drawn.now))
    );
    if accounts.len() > 1 {
        overview(&mut body, &order, drawn.now);
    }
    for (at, account) in &order {
        plan(&mut body, *at, account, drawn.now);
    }
    body.push_str("</main>");
    page::page(&title, &format!("{STYLE}{}", timeline::STYLE), &body, "")
}

/// A word, and how it is shown.
fn state(account: &Account) -> (&'static str, &'static str) {
    match (&account.standing, account.status) {
        (Err(_), Status::Usage) => ("bad", "\u{2717} does not compile"),
        (Err(_), _) => ("bad", "\u{2717} cannot be told"),
        (Ok(_), Status::Done) => ("good", "\u{2713} all is well"),
        (Ok(_), Status::Warnings) => ("look", "! somebody should look"),
        (Ok(_), _) => ("bad", "\u{2717} no backup"),
    }
}

fn span_of(class: &str, text: &str) -> String {
    format!("<span class=\"{class}\">{}</span>", escaped(text))
}

/// All plans, the worst first.
fn overview(out: &mut String, order: &[(usize, &Account)], now: Timestamp) {
    let count = |least: u8, most: u8| {
        order.iter().filter(|(_, account)| (least..=most).contains(&weight(account.status.code()))).count()
    };
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        "<p class=\"totals\">{}{}{}</p>",
        span_of("good", &format!("\u{2713} {} well", count(0, 0))),
        span_of("look", &format!("! {} to be looked at", count(1, 2))),
        span_of("bad", &format!("\u{2717} {} without a backup, or not known", count(3, 9)))
    );
    let plans: Vec<_> =
        order.iter().map(|(_, account)| (account.plan.as_str(), Path::new(&account.file))).collect();
    let names = called(&plans);
    let rows = order.iter().zip(&names).map(|((at, account), name)| {
        let (class, word) = state(account);
        let (age, why) = match &account.standing {
            Ok(standing) => (oldest(standing), wrong(standing, now).into_iter().next().unwrap_or_default()),
            Err(why) => (String::new(), why.clone()),
        };
        vec![
            format!("<a href=\"#p{at}\">{}</a>", escaped(name)),
            span_of(class, word),
            escaped(&age),
            escaped(super::fleet::one_line(&why).as_str()),
        ]
    });
    out.push_str(&tables::rows(&["plan", "state", "oldest backup", "what is wrong"], rows));
}

/// How old the newest backup of the source is that has the oldest.
fn oldest(standing: &Standing) -> String {
    let ages = standing.sources.iter().map(|source| source.age);
    match ages.max_by_key(|age| age.unwrap_or(i64::MAX)).flatten() {
        Some(age) => span(age),
        None => "none".to_owned(),
    }
}

fn plan(out: &mut String, at: usize, account: &Account, now: Timestamp) {
    let (class, word) = state(account);
    let _ = writeln!(
        out,
        "<section id=\"p{at}\">\n<h2>{}</h2>\n<p>{} <small>{}</small></p>",
        escaped(&account.plan),
        span_of(class, word),
        escaped(&account.file)
    );
    match &account.standing {
        Err(why) => {
            let _ = writeln!(out, "<p>{}</p>", escaped(why));
        }
        Ok(standing) => {
            troubles(out, standing, &account.told, now);
            tables::sources(out, standing);
            tables::objectives(out, standing);
            tables::next(out, standing, now);
            tables::runs(out, standing, &account.past, now);
            timeline::timelines(out, &account.past.timelines);
            charts::sizes(out, &account.past.runs);
            charts::calendars(out, &account.past);
            tables::chains(out, &account.past.runs);
            tables::rehearsals(out, standing);
            tables::logs(out, standing);
            tables::stores(out, standing, &account.past);
        }
    }
    out.push_str("</section>\n");
}

/// All that is wrong.
fn troubles(out: &mut String, standing: &Standing, told: &[String], now: Timestamp) {
    let runs = standing.unclean.iter().flat_map(|run| &run.troubles);
    let all: Vec<String> = wrong(standing, now).into_iter().chain(told.iter().cloned()).collect();
    if all.is_empty() {
        return;
    }
    out.push_str("<h3>What is wrong</h3>\n<ul>\n");
    for text in all.iter().take(tables::MOST) {
        let _ = writeln!(out, "<li>{}</li>", escaped(text));
    }
    tables::more(out, all.len());
    out.push_str("</ul>\n");
    let said: Vec<&String> = runs.collect();
    if said.len() > standing.unclean.len() {
        out.push_str("<p>What the last runs said:</p>\n<ul>\n");
        for text in said.iter().take(tables::MOST) {
            let _ = writeln!(out, "<li>{}</li>", escaped(text));
        }
        tables::more(out, said.len());
        out.push_str("</ul>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_reasons_are_text_and_nothing_comes_from_elsewhere() {
        let hostile = "<img src=x onerror=alert(1)>\"'&\u{202e}";
        let account = |plan: &str| Account {
            file: format!("/{hostile}"),
            plan: plan.to_owned(),
            status: Status::Failed,
            standing: Err(hostile.to_owned()),
            told: Vec::new(),
            past: Past::default(),
        };
        let drawn = Drawn { now: Timestamp::UNIX_EPOCH, host: hostile.to_owned() };
        let told = page(&[account(hostile), account("b")], &drawn);
        assert!(
            !told.contains("<img")
                && told.contains("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;\u{fffd}")
        );
        assert!(!told.contains("<script") && !told.contains("http") && !told.contains("url("), "{told}");
    }
}
