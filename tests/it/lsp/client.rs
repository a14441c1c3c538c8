//! An editor's end of the protocol: messages framed by hand, so that nothing of the server's own library is believed.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scenario::Scenario;

/// An editor with one server.
pub struct Client {
    child: Child,
    out: BufReader<ChildStdout>,
    folder: String,
    next: u64,
    versions: BTreeMap<String, i64>,
    /// Notifications that came while an answer was awaited.
    noted: VecDeque<Value>,
    /// What the server said of itself.
    pub capabilities: Value,
}

impl Client {
    /// Starts a server and shakes hands.
    pub fn start(scenario: &Scenario) -> Self {
        Self::start_with(scenario, &["lsp", "--stdio"])
    }

    /// As an editor starts it, with these arguments.
    pub fn start_with(scenario: &Scenario, args: &[&str]) -> Self {
        let mut child = scenario.converse(args);
        let out = BufReader::new(child.stdout.take().unwrap());
        let folder = format!("file://{}", scenario.path("").to_str().unwrap().trim_end_matches('/'));
        let mut client = Client {
            child,
            out,
            folder,
            next: 1,
            versions: BTreeMap::new(),
            noted: VecDeque::new(),
            capabilities: Value::Null,
        };
        let params = json!({
            "processId": null,
            "rootUri": client.folder,
            "workspaceFolders": [{ "uri": client.folder, "name": "work" }],
            "capabilities": {
                "textDocument": { "completion": { "completionItem": { "snippetSupport": true } } },
                "workspace": { "workspaceEdit": { "documentChanges": true } },
            },
        });
        let answer = client.request("initialize", params).unwrap();
        client.capabilities = answer["capabilities"].clone();
        client.notify("initialized", json!({}));
        client
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let input = self.child.stdin.as_mut().unwrap();
        write!(input, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        input.flush().unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "the server is gone");
            match line.trim_end() {
                "" => break,
                header => {
                    if let Some(value) = header.strip_prefix("Content-Length: ") {
                        length = value.parse().unwrap();
                    }
                }
            }
        }
        let mut body = vec![0; length];
        self.out.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Asks, and waits for the answer.
    pub fn request(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.next;
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(error["message"].as_str().unwrap().to_owned()),
                    None => Ok(message["result"].clone()),
                };
            }
            self.noted.push_back(message);
        }
    }

    /// Tells.
    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The URI of a file of the scenario; of a text that is none, its name is the URI.
    fn uri(&self, name: &str) -> String {
        if name.starts_with("untitled:") { name.to_owned() } else { format!("{}/{name}", self.folder) }
    }

    /// Opens a text.
    pub fn open(&mut self, name: &str, text: &str) {
        self.versions.insert(name.into(), 1);
        let document = json!({ "uri": self.uri(name), "languageId": "plan", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Replaces a whole text.
    pub fn change(&mut self, name: &str, text: &str) {
        self.send_change(name, json!({ "text": text }));
    }

    /// Replaces a part of a text, between two places as line and column.
    pub fn change_range(&mut self, name: &str, start: (u64, u64), end: (u64, u64), text: &str) {
        let place = |(line, character)| json!({ "line": line, "character": character });
        let range = json!({ "start": place(start), "end": place(end) });
        self.send_change(name, json!({ "range": range, "text": text }));
    }

    fn send_change(&mut self, name: &str, change: Value) {
        let version = self.versions.get_mut(name).unwrap();
        *version += 1;
        let document = json!({ "version": *version, "uri": format!("{}/{name}", self.folder) });
        self.notify(
            "textDocument/didChange",
            json!({ "textDocument": document, "contentChanges": [change] }),
        );
    }

    /// What the server tells of the newest version of a text.
    pub fn diagnostics(&mut self, name: &str) -> Vec<Value> {
        self.diagnostics_where(name, |_| true)
    }

    /// What the server tells of a text, once it tells what is waited for.
    pub fn diagnostics_where(&mut self, name: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let uri = self.uri(name);
        let version = self.versions.get(name).copied();
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing is told of {name}");
            let message = self.noted.pop_front().unwrap_or_else(|| self.receive());
            let params = &message["params"];
            if message["method"] != "textDocument/publishDiagnostics" || params["uri"] != uri {
                continue;
            }
            let told = params["diagnostics"].as_array().unwrap();
            if version.is_none_or(|version| params["version"] == version) && wanted(told) {
                return told.clone();
            }
        }
    }

    fn document(&self, name: &str) -> Value {
        json!({ "uri": self.uri(name) })
    }

    /// Asks about the last place in a text where `word` begins.
    pub fn at(&mut self, method: &str, name: &str, text: &str, word: &str) -> Value {
        let params = json!({
            "textDocument": self.document(name),
            "position": position(text, text.rfind(word).unwrap()),
            "context": { "includeDeclaration": true },
        });
        self.request(method, params).unwrap()
    }

    /// The text of a hover.
    pub fn hover(&mut self, name: &str, line: u64, character: u64) -> String {
        let position = json!({ "line": line, "character": character });
        let params = json!({ "textDocument": self.document(name), "position": position });
        let answer = self.request("textDocument/hover", params).unwrap();
        answer["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// The text of a hover over the last place where `word` stands.
    pub fn hover_at(&mut self, name: &str, text: &str, word: &str) -> String {
        let answer = self.at("textDocument/hover", name, text, word);
        answer["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// What is offered at an offset.
    pub fn complete(&mut self, name: &str, text: &str, offset: usize) -> Vec<String> {
        let items = self.offers(name, text, offset);
        items.iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }

    /// What is offered at an offset, with what it puts in.
    pub fn offers(&mut self, name: &str, text: &str, offset: usize) -> Vec<Value> {
        let params = json!({ "textDocument": self.document(name), "position": position(text, offset) });
        self.request("textDocument/completion", params).unwrap().as_array().unwrap().clone()
    }

    /// The changes that a change of name makes, by file.
    pub fn rename(
        &mut self,
        name: &str,
        text: &str,
        word: &str,
        new: &str,
    ) -> Result<BTreeMap<String, Value>, String> {
        let position = position(text, text.rfind(word).unwrap());
        let params = json!({ "textDocument": self.document(name), "position": position, "newName": new });
        let edit = self.request("textDocument/rename", params)?;
        Ok(self.changes(&edit))
    }

    /// The changes of a workspace edit, by file.
    pub fn changes(&self, edit: &Value) -> BTreeMap<String, Value> {
        let changes = edit["documentChanges"].as_array().unwrap().iter().map(|change| {
            let uri = change["textDocument"]["uri"].as_str().unwrap();
            let name = uri.strip_prefix(&self.folder).unwrap().trim_start_matches('/').to_owned();
            assert_eq!(change["textDocument"]["version"].as_i64(), self.versions.get(&name).copied());
            (name, change["edits"].clone())
        });
        changes.collect()
    }

    /// The edits that format a text.
    pub fn format(&mut self, name: &str) -> Vec<Value> {
        let options = json!({ "tabSize": 2, "insertSpaces": true });
        let params = json!({ "textDocument": self.document(name), "options": options });
        self.request("textDocument/formatting", params).unwrap().as_array().unwrap().clone()
    }

    /// The code actions for a whole text.
    pub fn actions(&mut self, name: &str, text: &str) -> Vec<Value> {
        let range = json!({ "start": position(text, 0), "end": position(text, text.len()) });
        let context = json!({ "diagnostics": [] });
        let params = json!({ "textDocument": self.document(name), "range": range, "context": context });
        self.request("textDocument/codeAction", params).unwrap().as_array().unwrap().clone()
    }

    /// The items of a text.
    pub fn symbols(&mut self, name: &str) -> Vec<Value> {
        let params = json!({ "textDocument": self.document(name) });
        self.request("textDocument/documentSymbol", params).unwrap().as_array().unwrap().clone()
    }

    /// Ends the conversation as the protocol wants it; the exit status.
    pub fn end(mut self) -> Option<i32> {
        assert_eq!(self.request("shutdown", Value::Null), Ok(Value::Null));
        // Whatever comes in between is refused, or of no interest.
        assert!(self.request("textDocument/hover", Value::Null).unwrap_err().contains("shut down"));
        self.notify("textDocument/didClose", Value::Null);
        self.notify("exit", Value::Null);
        self.child.wait().unwrap().code()
    }

    /// Ends it by closing the stream; the exit status.
    pub fn vanish(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // After a failed assertion; a server that has ended is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The place of a byte as the protocol counts it.
fn position(text: &str, offset: usize) -> Value {
    let before = &text[..offset];
    let line = before.matches('\n').count();
    let character: usize = before.rsplit('\n').next().unwrap().encode_utf16().count();
    json!({ "line": line, "character": character })
}

/// The byte at a place of the protocol.
pub fn offset(text: &str, position: &Value) -> usize {
    let line = usize::try_from(position["line"].as_u64().unwrap()).unwrap();
    let wanted = usize::try_from(position["character"].as_u64().unwrap()).unwrap();
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let mut units = 0;
    for (at, c) in text[start..].char_indices() {
        if units >= wanted {
            return start + at;
        }
        units += c.len_utf16();
    }
    text.len()
}
