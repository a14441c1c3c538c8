//! `plan lsp`, over its real protocol.

mod client;

use serde_json::{Value, json};

use self::client::Client;
use crate::scenario::Scenario;

const COMPANY: &str = "\
param site: string

store nas: dir {
  path = \"/mnt/nas/${site}\"
}
";

const SITE: &str = "\
plan site

import \"company.plan\" { site = \"web-01\" }

let data = \"/srv\" # 𝄞

source web: files {
  paths = [\"${data}/web\"]
}

archive main {
  from = [web]
  to   = [nas]
}
";

fn world() -> Scenario {
    Scenario::new().file("company.plan", COMPANY).file("site.plan", SITE)
}

/// The text that an edit leaves.
fn edited(text: &str, edits: &[Value]) -> String {
    let mut edits: Vec<(usize, usize, String)> = edits
        .iter()
        .map(|edit| {
            let at = |end: &str| client::offset(text, &edit["range"][end]);
            (at("start"), at("end"), edit["newText"].as_str().unwrap().to_owned())
        })
        .collect();
    edits.sort();
    let mut text = text.to_owned();
    for (start, end, new) in edits.into_iter().rev() {
        text.replace_range(start..end, &new);
    }
    text
}

#[test]
fn it_says_what_it_can_do_and_ends_when_told() {
    let scenario = world();
    let client = Client::start(&scenario);
    let can = &client.capabilities;
    for provider in [
        "hoverProvider",
        "completionProvider",
        "definitionProvider",
        "referencesProvider",
        "renameProvider",
        "documentFormattingProvider",
        "codeActionProvider",
        "documentSymbolProvider",
    ] {
        assert!(!can[provider].is_null(), "{provider}");
    }
    assert_eq!(client.end(), Some(0));
}

#[test]
fn an_editor_that_goes_away_is_noticed() {
    let scenario = world();
    let client = Client::start(&scenario);
    assert_eq!(client.vanish(), Some(1));
}

#[test]
fn a_broken_text_is_told_of_while_it_is_typed() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    let broken = "plan site\n\nstore 𝄞\n\nsoruce web: files {\n  paths = [\n";
    client.open("site.plan", broken);
    let told = client.diagnostics("site.plan");
    let names: Vec<&str> = told.iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(names.contains(&"syntax") && names.contains(&"unknown_kind"), "{told:#?}");
    assert!(told.iter().all(|one| one["severity"] == 1 && one["source"] == "plan"));

    client.change("site.plan", SITE);
    assert_eq!(client.diagnostics("site.plan"), [] as [Value; 0]);
    assert_eq!(client.end(), Some(0));
}

#[test]
fn places_are_counted_in_utf_16() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    client.open("site.plan", "plan a\nlet x = '𝄞é', let y = 'ok' ;\n");
    let told = client.diagnostics("site.plan");
    let semicolon = json!({ "start": { "line": 1, "character": 28 }, "end": { "line": 1, "character": 29 } });
    assert!(
        told.iter().any(|one| one["range"] == semicolon || one["range"]["start"]["character"] == 13),
        "{told:#?}"
    );
    // The change is behind a character of two units: it must not split it.
    client.change_range("site.plan", (1, 8), (1, 13), "'ok'");
    let hover = client.hover("site.plan", 1, 4);
    assert!(hover.contains("let x = 'ok'"), "{hover}");
    assert_eq!(client.end(), Some(0));
}

#[test]
fn a_library_is_checked_by_the_plan_that_imports_it() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    client.open("company.plan", &COMPANY.replace("path =", "pth ="));
    let told = client.diagnostics("company.plan");
    let names: Vec<&str> = told.iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(names, ["missing_attribute", "unknown_attribute"], "{told:#?}");
    // The plan is not open: what is open of its library counts all the same.
    client.change("company.plan", &COMPANY.replace("store nas", "store tape"));
    let told = client.diagnostics_where("site.plan", |told| !told.is_empty());
    assert_eq!(told[0]["code"], "unknown_reference", "{told:#?}");
    assert_eq!(client.end(), Some(0));
}

#[test]
fn hover_says_meaning_type_and_default() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    let text = SITE.replace("  paths", "  compare = mtime\n  paths");
    client.open("site.plan", &text);
    let attribute = client.hover_at("site.plan", &text, "compare");
    assert!(attribute.contains("How a change of a file is noticed."), "{attribute}");
    assert!(
        attribute.contains("one of `mtime`, `checksum`") && attribute.contains("Default: `mtime`"),
        "{attribute}"
    );
    assert!(client.hover_at("site.plan", &text, "archive").contains("archive NAME"));
    for (word, says) in
        [("plan site", "plan's name"), ("import", "Takes in a library"), ("let data", "A name for a value")]
    {
        let hover = client.hover_at("site.plan", &text, word);
        assert!(hover.contains(says), "{word}: {hover}");
    }
    assert!(client.hover_at("site.plan", &text, "files").contains("Trees of files."));
    let named = text.replace("  to  ", "  name = 'a.tar.gz'\n  to  ");
    client.change("site.plan", &named);
    let name = client.hover_at("site.plan", &named, "name =");
    assert!(name.contains("Default: PLAN_ARCHIVE_UTCTIME.tar.gz, `.tar.zst`"), "{name}");
    client.change("site.plan", &text);
    let store = client.hover_at("site.plan", &text, "nas");
    assert!(store.contains("store nas: dir") && store.contains("company.plan"), "{store}");
    assert_eq!(client.end(), Some(0));
}

#[test]
fn completion_offers_what_may_stand_there() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    let offers = |client: &mut Client, before: &str, after: &str| {
        let text = format!("{before}{after}");
        client.change("site.plan", &text);
        client.complete("site.plan", &text, before.len())
    };
    client.open("site.plan", SITE);
    let labels = offers(&mut client, &format!("{SITE}\nsou"), "");
    assert!(labels.contains(&"source".into()) && labels.contains(&"let".into()), "{labels:?}");
    let labels = offers(&mut client, &format!("{SITE}\nstore b: "), " {\n}\n");
    assert!(labels.contains(&"dir".into()) && labels.contains(&"s3".into()), "{labels:?}");
    let labels = offers(&mut client, &format!("{SITE}\nstore b: s3 {{\n  "), "\n  bucket = \"x\"\n}\n");
    assert!(labels.contains(&"region".into()) && !labels.contains(&"bucket".into()), "{labels:?}");
    assert!(!labels.contains(&"path".into()), "{labels:?}");
    // A list that is not closed, and a name of an imported file.
    let labels = offers(&mut client, &format!("{SITE}\narchive b {{\n  from = all\n  to = ["), "\n}\n");
    assert!(labels.contains(&"nas".into()), "{labels:?}");
    let labels = offers(&mut client, &format!("{SITE}\nsource b: files {{\n  compare = "), "\n}\n");
    assert!(labels.contains(&"mtime".into()) && labels.contains(&"checksum".into()), "{labels:?}");
    let labels = offers(&mut client, &format!("{SITE}\nlet b = \"${{"), "");
    assert!(labels.contains(&"data".into()) && labels.contains(&"env".into()), "{labels:?}");
    let labels = offers(&mut client, "plan site\nimport \"com", "\"\n");
    assert!(labels.contains(&"company.plan".into()), "{labels:?}");
    let labels = offers(&mut client, "plan site\nimport \"company.plan\" { ", " }\n");
    assert_eq!(labels, ["site"]);
    assert_eq!(client.end(), Some(0));
}

#[test]
fn what_completion_offers_is_right_where_it_is_put() {
    let scenario = world();
    scenario.write("a$b.plan", "");
    scenario.write("two.plan", "param one: string\nparam two: string\nparam three: string\n");
    let mut client = Client::start(&scenario);
    client.open("site.plan", SITE);
    let offers = |client: &mut Client, before: &str, after: &str| {
        let text = format!("{before}{after}");
        client.change("site.plan", &text);
        client.offers("site.plan", &text, before.len())
    };
    let labels = |items: &[Value]| -> Vec<String> {
        items.iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    };
    // The root of the disk, not the plan's folder.
    let roots = labels(&offers(&mut client, "plan site\nimport \"/", "\"\n"));
    assert!(roots.contains(&"etc/".into()) && !roots.contains(&"company.plan".into()), "{roots:?}");
    // What is bound already, before and behind.
    for (before, after) in [
        ("one = \"a\", ", " }"),
        ("\n  one = \"a\"\n  ", "\n}"),
        ("", ", one = \"a\" }"),
        ("\n  ", "\n  one = \"a\"\n}"),
    ] {
        let found =
            labels(&offers(&mut client, &format!("plan site\nimport \"two.plan\" {{ {before}"), after));
        assert_eq!(found, ["two", "three"], "{before}|{after}");
    }
    // A list where a list is wanted, found by what is typed; a word of it within.
    let items = offers(&mut client, &format!("{SITE}\narchive b {{\n  from = all\n  to = n"), "\n}\n");
    let list = items.iter().find(|item| item["label"] == "[nas]").unwrap();
    assert_eq!((&list["textEdit"]["newText"], &list["filterText"]), (&json!("[nas]"), &json!("nas")));
    assert!(!labels(&items).contains(&"nas".into()));
    let words = labels(&offers(&mut client, &format!("{SITE}\npolicy {{\n  require = "), "\n}\n"));
    assert!(words.contains(&"[encrypt]".into()) && !words.contains(&"encrypt".into()), "{words:?}");
    // A name is no snippet, whatever is in it; a form to fill in is one.
    let items = offers(&mut client, "plan site\nimport \"a", "\"\n");
    let dollar = items.iter().find(|item| item["label"] == "a$b.plan").unwrap();
    assert_eq!(
        (&dollar["textEdit"]["newText"], &dollar["insertTextFormat"]),
        (&json!("a$b.plan"), &json!(1))
    );
    let items = offers(&mut client, &format!("{SITE}\nsou"), "");
    let source = items.iter().find(|item| item["label"] == "source").unwrap();
    assert_eq!(source["insertTextFormat"], 2);
    // Only what can be allowed.
    let allowed = labels(&offers(&mut client, &format!("{SITE}\n# allow: "), ""));
    assert!(allowed.contains(&"live_database".into()) && allowed.contains(&"replaced".into()), "{allowed:?}");
    for error in ["syntax", "unknown_kind", "policy_broken", "unused_allow"] {
        assert!(!allowed.contains(&error.into()), "{error}");
    }
    assert_eq!(client.end(), Some(0));
}

#[test]
fn a_text_that_is_not_saved_has_no_folder_to_import_from() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    for path in ["company.plan", "../company.plan", "../../../company.plan"] {
        let text = SITE.replace("company.plan", path);
        let name = format!("untitled:Untitled-{}", path.len());
        client.open(&name, &text);
        let told = client.diagnostics(&name);
        let import = told.iter().find(|one| one["code"] == "unreadable_import").unwrap();
        let message = import["message"].as_str().unwrap();
        assert!(message.contains("is not saved") && message.contains("save the text in"), "{message}");
        assert!(!message.contains("NUL") && !message.contains('\0'), "{message}");
        let hover = client.hover_at(&name, &text, path);
        assert!(hover.contains("is not saved") && !hover.contains('\0'), "{hover}");
    }
    // A path from the root is known all the same.
    let root = scenario.path("company.plan");
    client.open("untitled:Untitled-0", &SITE.replace("company.plan", root.to_str().unwrap()));
    assert_eq!(client.diagnostics("untitled:Untitled-0"), [] as [Value; 0]);
    assert_eq!(client.end(), Some(0));
}

#[test]
fn parameters_that_a_plan_does_not_have_are_not_its_fault() {
    let scenario = world();
    let mut client = Client::start_with(&scenario, &["-p", "sites=x", "-p", "days=7", "lsp"]);
    client.open("site.plan", SITE);
    assert_eq!(client.diagnostics("site.plan"), [] as [Value; 0]);
    // One that it has counts.
    client.change("site.plan", &format!("{SITE}param days: duration = 7d\nkeep {{ within = days }}\n"));
    let told = client.diagnostics("site.plan");
    assert!(told.iter().any(|one| one["code"] == "bad_param"), "{told:#?}");
    assert_eq!(client.end(), Some(0));
}

#[test]
fn definitions_and_references_go_over_imports() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    client.open("site.plan", SITE);
    let found = client.at("textDocument/definition", "site.plan", SITE, "nas");
    assert!(found[0]["uri"].as_str().unwrap().ends_with("/company.plan"), "{found:#?}");
    assert_eq!(found[0]["range"]["start"], json!({ "line": 2, "character": 6 }));
    let found = client.at("textDocument/definition", "site.plan", SITE, "company.plan");
    assert!(found[0]["uri"].as_str().unwrap().ends_with("/company.plan"));
    // The parameter that an import gives a value to.
    let found = client.at("textDocument/definition", "site.plan", SITE, "site = ");
    assert_eq!(found[0]["range"]["start"], json!({ "line": 0, "character": 6 }));
    let found = client.at("textDocument/references", "site.plan", SITE, "data}");
    assert_eq!(found.as_array().unwrap().len(), 2, "{found:#?}");
    assert_eq!(client.end(), Some(0));
}

#[test]
fn a_name_is_changed_in_every_file() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    client.open("site.plan", SITE);
    let changes = client.rename("site.plan", SITE, "nas", "vault").unwrap();
    let site = edited(SITE, changes["site.plan"].as_array().unwrap());
    let company = edited(COMPANY, changes["company.plan"].as_array().unwrap());
    assert!(site.contains("to   = [vault]") && company.contains("store vault: dir"));
    scenario.write("site.plan", site);
    scenario.write("company.plan", company);
    scenario.plan(["check", "--deny", "warnings", "site.plan"]).status(0);
    // A parameter: in the library, in strings of it, and where it is given a value.
    let scenario = world();
    let changes = client.rename("site.plan", SITE, "site = ", "place").unwrap();
    scenario.write("site.plan", edited(SITE, changes["site.plan"].as_array().unwrap()));
    scenario.write("company.plan", edited(COMPANY, changes["company.plan"].as_array().unwrap()));
    scenario.plan(["check", "--deny", "warnings", "site.plan"]).status(0);
    assert_eq!(client.end(), Some(0));
}

#[test]
fn a_change_of_name_that_would_break_the_plan_is_refused() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    let text = format!("{SITE}\nstore local: dir {{\n  path = \"/backup\"\n}}\n");
    client.open("site.plan", &text);
    let why = client.rename("site.plan", &text, "local", "nas").unwrap_err();
    assert!(why.contains("declared twice"), "{why}");
    let why = client.rename("site.plan", &text, "local", "true").unwrap_err();
    assert!(why.contains("cannot be a name"), "{why}");
    let why = client.rename("site.plan", &text, "local", "a b").unwrap_err();
    assert!(why.contains("cannot be a name"), "{why}");
    // Where the new name has a meaning of its own, a backup would go elsewhere, or be made otherwise.
    let text = format!("{text}\nlet kept = local\nlet mode = mtime\n")
        .replace("to   = [nas]", "to   = [nas, kept]")
        .replace("  paths", "  compare = mode\n  paths");
    client.change("site.plan", &text);
    for (old, new) in [("kept", "nas"), ("local:", "kept"), ("mode =", "checksum")] {
        let why = client.rename("site.plan", &text, old, new).unwrap_err();
        assert!(
            why.contains(&format!("`{new}` means something else")) || why.contains("break"),
            "{old}: {why}"
        );
    }
    assert!(client.rename("site.plan", &text, "kept", "mtime_kept").is_ok());
    // What stands behind a syntax error is not known, and would keep its name.
    let torn = format!("{text}\nobjective {{ of == [local] }}\n");
    client.change("site.plan", &torn);
    let why = client.rename("site.plan", &torn, "local:", "vault").unwrap_err();
    assert!(why.contains("site.plan` has a syntax error"), "{why}");
    assert_eq!(client.end(), Some(0));
}

#[test]
fn formatting_is_that_of_the_program() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    let text = SITE.replace("  to   = [nas]", "to=[ nas ,]  # 𝄞");
    client.open("site.plan", &text);
    let edits = client.format("site.plan");
    scenario.write("site.plan", &text);
    scenario.plan(["fmt", "site.plan"]).status(0);
    assert_eq!(edited(&text, &edits), scenario.read("site.plan"));
    client.change("site.plan", "plan a\nstore {{{\n");
    assert_eq!(client.format("site.plan"), [] as [Value; 0]);
    assert_eq!(client.end(), Some(0));
}

#[test]
fn mends_are_offered_and_mend() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    let text = SITE.replace("[web]", "[wbe]").replace("  paths ", "  pahts ").replace("= [nas]", "= nas");
    client.open("site.plan", &text);
    let mut mended = text.clone();
    for _ in 0..3 {
        let actions = client.actions("site.plan", &mended);
        let Some(action) = actions.first() else { break };
        assert_eq!(action["kind"], "quickfix");
        let edits = client.changes(&action["edit"])["site.plan"].as_array().unwrap().clone();
        mended = edited(&mended, &edits);
        client.change("site.plan", &mended);
    }
    assert_eq!(mended, SITE);
    // What is missing is put in where it can be one thing only; a path is not made up.
    let text = SITE.replace("  from = [web]\n  to   = [nas]\n", "");
    let mut mended = text.clone();
    for _ in 0..2 {
        client.change("site.plan", &mended);
        let actions = client.actions("site.plan", &mended);
        let edits = client.changes(&actions[0]["edit"])["site.plan"].as_array().unwrap().clone();
        mended = edited(&mended, &edits);
    }
    assert!(mended.contains("from = all") && mended.contains("to = [nas]"), "{mended}");
    scenario.write("site.plan", &mended);
    scenario.plan(["check", "--deny", "warnings", "site.plan"]).status(0);
    let text = SITE.replace("  paths = [\"${data}/web\"]\n", "");
    client.change("site.plan", &text);
    assert_eq!(client.actions("site.plan", &text), Vec::<Value>::new());
    assert_eq!(client.end(), Some(0));
}

#[test]
fn what_cannot_be_read_is_mended_where_it_is_plain_how() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    let text =
        SITE.replace("let data = \"/srv\"", "let data = /srv/𝄞").replace("  to   = [nas]", "  to   == [nas)");
    client.open("site.plan", &text);
    let mut mended = text.clone();
    for _ in 0..3 {
        let actions = client.actions("site.plan", &mended);
        let edits = client.changes(&actions[0]["edit"])["site.plan"].as_array().unwrap().clone();
        mended = edited(&mended, &edits);
        client.change("site.plan", &mended);
    }
    assert_eq!(mended, SITE.replace("\"/srv\"", "\"/srv/𝄞\""));
    scenario.write("site.plan", &mended);
    scenario.plan(["check", "--deny", "warnings", "site.plan"]).status(0);
    // What stands for two things is offered twice.
    let text = SITE.replace("\"/srv\"", "5gb");
    client.change("site.plan", &text);
    let actions = client.actions("site.plan", &text);
    let titles: Vec<&str> = actions.iter().map(|action| action["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["write `5GB`", "write `5GiB`"]);
    assert_eq!(client.end(), Some(0));
}

#[test]
fn items_are_listed() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    client.open("site.plan", SITE);
    let symbols = client.symbols("site.plan");
    let names: Vec<&str> = symbols.iter().map(|symbol| symbol["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["site", "company.plan", "data", "web", "main"]);
    assert_eq!(symbols[4]["children"][0]["name"], "from");
    assert_eq!(client.end(), Some(0));
}

#[test]
fn what_it_does_not_know_is_answered_and_it_goes_on() {
    let scenario = world();
    let mut client = Client::start(&scenario);
    client.open("site.plan", SITE);
    assert!(client.request("textDocument/unheardOf", json!({})).unwrap_err().contains("not known"));
    assert!(client.request("textDocument/hover", json!({ "position": 1 })).is_err());
    let missing = json!({
        "textDocument": { "uri": "file:///nowhere/at/all.plan" },
        "position": { "line": 0, "character": 0 },
    });
    assert!(client.request("textDocument/hover", missing).unwrap_err().contains("does not exist"));
    client.notify("textDocument/didChange", json!({ "contentChanges": 5 }));
    assert!(client.hover_at("site.plan", SITE, "archive").contains("archive NAME"));
    assert_eq!(client.end(), Some(0));
}
