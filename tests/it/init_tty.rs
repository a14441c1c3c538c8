//! `plan init` at a terminal.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::scenario::{Answer, Scenario, shell};

/// Talks to a program over a terminal: waits for each text and sends what belongs to it; prints all that was shown, and how
/// the program ended (128 and more: by a signal).
const TALK: &str = r#"
import json, os, pty, select, sys, time
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown, at, until = b"", 0, time.time() + 60
def read():
    global shown
    if time.time() > until:
        print(shown.decode("utf-8", "replace")); sys.exit("nothing more came")
    if select.select([terminal], [], [], 1)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            part = b""
        shown += part
        return bool(part)
    return True
for text, send in steps:
    while text.encode() not in shown[at:]:
        if not read():
            print(shown.decode("utf-8", "replace")); sys.exit("it ended before " + text)
    at = shown.index(text.encode(), at) + len(text.encode())
    os.write(terminal, send.encode("latin-1"))
while read():
    pass
status = os.waitpid(child, 0)[1]
print(shown.decode("utf-8", "replace").replace("\r\n", "\n"))
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"#;

const SOURCES: &str = "what is to be backed up?";
const STORE: &str = "which folder do backups go to?";
const WRITE: &str = "write this to";

fn talk(scenario: &Scenario, args: &[&str], steps: &[(&str, &str)]) -> Answer {
    let init = ["init", "--postgres", "none"];
    talk_to(scenario, &[&init, args].concat(), steps)
}

/// Runs the program at a terminal: waits for each text and types what belongs to it.
pub fn talk_to(scenario: &Scenario, args: &[&str], steps: &[(&str, &str)]) -> Answer {
    let steps = json!(steps.iter().map(|(text, send)| [text, send]).collect::<Vec<_>>()).to_string();
    let mut command = vec!["python3", "-c", TALK, &steps, env!("CARGO_BIN_EXE_plan")];
    command.extend(args);
    scenario.other(&command)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Two folders, one with a space in its name, a database, and a folder that holds most of it all.
fn world() -> Scenario {
    let scenario = Scenario::new().file("www/a", "a").file("my notes/n", "n");
    shell(
        &scenario.path("."),
        "mkdir -p www/node_modules www/media/deep && fallocate -l 120M www/media/deep/film && \
         sqlite3 'my notes/cards.data' 'create table t (n)'",
    );
    scenario
}

#[test]
fn answers_become_a_plan_that_runs() {
    let scenario = world();
    let steps = [
        (SOURCES, "www 'my notes'\n"),
        (STORE, "backups\n"),
        ("leave it out? (y/N)", "Yes\n"),
        (WRITE, "\n"),
    ];
    let answer = talk(&scenario, &["site.plan"], &steps).status(0);
    let answer = answer.stdout_has("www/media/deep` holds 120.0 MiB of 120.0 MiB");
    let answer = answer.stdout_has("found the SQLite database").stdout_has("wrote ");
    answer.stdout_has("folders `node_modules` are left out");
    let text = scenario.read("site.plan");
    assert!(text.contains("/www/media/deep") || text.contains("\"/media/deep\""), "{text}");
    scenario.plan(["check", "--deny", "warnings", "site.plan"]).status(0);
    scenario.plan(["fmt", "--check", "site.plan"]).status(0);
    scenario.plan(["run", "site.plan"]).status(0);
    let listed = scenario.plan(["ls", "latest", "-f", "site.plan"]).status(0).stdout;
    assert!(listed.contains("my notes/n") && listed.contains("cards.data"), "{listed}");
    assert!(!listed.contains("film") && !listed.contains("node_modules"), "{listed}");
}

#[test]
fn odd_answers_are_asked_for_again() {
    let scenario = world();
    let steps = [
        (SOURCES, "\n"),
        ("name a file or a folder", ""),
        (SOURCES, "www nowhere\n"),
        ("nowhere` is not there", ""),
        (SOURCES, "'www\n"),
        ("there is no second '", ""),
        (SOURCES, "\u{ff}\u{fe}\n"),
        ("that is not text", ""),
        (SOURCES, "\"my notes\" 'my notes/cards.data'\n"),
        (STORE, "\n"),
        ("name one folder", ""),
        (STORE, "a b\n"),
        ("name one folder", ""),
        (STORE, "'my notes/backups'\n"),
        ("backups would hold themselves", ""),
        (STORE, "www/a\n"),
        ("is no folder", ""),
        (STORE, "~/backups\n"),
        (WRITE, "perhaps\n"),
        ("answer `y` or `n`", ""),
        (WRITE, "Y\n"),
    ];
    talk(&scenario, &[], &steps).status(0);
    let text = scenario.read("backup.plan");
    assert!(text.contains("/home/backups\""), "{text}");
    assert_eq!(text.matches(": sqlite").count(), 1, "{text}");
    scenario.plan(["check", "--deny", "warnings"]).status(0);
}

#[test]
fn who_stops_leaves_nothing_behind() {
    let scenario = world();
    let before = names(&scenario.path("."));
    let to_the_end = [(SOURCES, "www\n"), (STORE, "backups\n"), ("leave it out?", "n\n")];
    for end in ["\u{3}", "\u{4}"] {
        // At each question: Ctrl-C ends it by the signal, Ctrl-D ends the answers.
        for length in 0..=to_the_end.len() {
            let mut steps = to_the_end[..length].to_vec();
            steps.push(([SOURCES, STORE, "leave it out?", WRITE][length], end));
            let answer = talk(&scenario, &[], &steps);
            answer.status(if end == "\u{3}" { 130 } else { 1 });
            assert_eq!(names(&scenario.path(".")), before);
        }
    }
    let mut steps = to_the_end.to_vec();
    steps.push((WRITE, "n\n"));
    talk(&scenario, &[], &steps).status(1).stdout_has("nothing was written");
    assert_eq!(names(&scenario.path(".")), before);
}

#[test]
fn what_is_given_is_not_asked_for() {
    let scenario = world();
    let steps = [(STORE, "backups\n"), (WRITE, "y\n")];
    let answer = talk(&scenario, &["--source", "www", "--exclude", "www/media"], &steps).status(0);
    assert!(!answer.stdout.contains(SOURCES) && !answer.stdout.contains("leave it out"), "{}", answer.stdout);
    scenario.plan(["check", "--deny", "warnings"]).status(0);
    // Quiet is who hears no tales; questions are asked all the same.
    let steps = [(SOURCES, "www\n"), (STORE, "backups\n"), ("leave it out?", "\n"), (WRITE, "y\n")];
    let answer = talk(&scenario, &["-q", "quiet.plan"], &steps).status(0);
    assert!(!answer.stdout.contains("are left out"), "{}", answer.stdout);
    // Where nobody can be asked, nothing is.
    let input = b"www\nbackups\ny\n";
    scenario.plan_with(["init", "no.plan", "--postgres", "none"], input).status(1).stderr_has("is not said");
    assert!(!scenario.path("no.plan").exists());
}
