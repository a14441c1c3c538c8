//! A bucket in this process: as much of S3's protocol as a run speaks, quick enough to be asked by hundreds of runs. It can die at
//! any request, and can be put back to what it held.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::bucket_way::message;

/// What every answer says of an object's age: nothing asks.
const DATE: &str = "Mon, 01 Jun 2026 00:00:00 GMT";

/// What is in it.
#[derive(Clone, Default)]
pub struct Contents {
    objects: BTreeMap<String, Vec<u8>>,
    /// Uploads that are neither finished nor given up: the object, and its parts.
    uploads: BTreeMap<String, (String, BTreeMap<u32, Vec<u8>>)>,
    begun: usize,
}

/// When it dies.
#[derive(Clone, Copy)]
pub struct Death {
    /// At which request, from 1.
    pub request: usize,
    /// Whether that one is done first, and only its answer lost.
    pub is_answer_lost: bool,
}

#[derive(Default)]
struct State {
    contents: Contents,
    seen: usize,
    /// The requests of uploads in parts among them.
    parts: Vec<usize>,
    death: Option<Death>,
}

/// The bucket, `buck`, for as long as the process lives.
#[derive(Clone)]
pub struct Memory {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Memory {
    pub fn start() -> Memory {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let memory = Memory { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let own = memory.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), own) = (client, own.clone()) else { return };
                thread::spawn(move || own.serve(client));
            }
        });
        memory
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What it holds now.
    pub fn contents(&self) -> Contents {
        self.state().contents.clone()
    }

    /// From now on it holds this, has seen nothing, and dies then, if ever.
    pub fn begin(&self, contents: Contents, death: Option<Death>) {
        *self.state() = State { contents, death, ..State::default() };
    }

    /// It answers again.
    pub fn live(&self) {
        self.state().death = None;
    }

    /// How many requests came.
    pub fn seen(&self) -> usize {
        self.state().seen
    }

    /// Those of them that were about uploads in parts.
    pub fn parts(&self) -> Vec<usize> {
        self.state().parts.clone()
    }

    /// The keys that end so.
    pub fn ending(&self, end: &str) -> usize {
        self.state().contents.objects.keys().filter(|key| key.ends_with(end)).count()
    }

    /// Uploads that nobody goes on with.
    pub fn unfinished(&self) -> usize {
        self.state().contents.uploads.len()
    }

    /// Answers one connection's requests.
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        loop {
            let request = message(&mut client, false)?;
            let at = request.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
            let head = String::from_utf8_lossy(&request[..at]).into_owned();
            let answer = {
                let mut state = self.state();
                state.seen += 1;
                if head.lines().next()?.contains("upload") {
                    let seen = state.seen;
                    state.parts.push(seen);
                }
                let is_last = |death: Death| death.request == state.seen && death.is_answer_lost;
                match state.death {
                    Some(death) if state.seen >= death.request && !is_last(death) => return None,
                    Some(death) if is_last(death) => {
                        state.contents.answer(&head, &request[at..]);
                        return None;
                    }
                    _ => state.contents.answer(&head, &request[at..]),
                }
            };
            client.write_all(&answer).ok()?;
        }
    }
}

/// A request's line, taken apart.
struct Asked<'a> {
    method: &'a str,
    key: String,
    query: BTreeMap<String, String>,
    head: &'a str,
}

impl<'a> Asked<'a> {
    fn of(head: &'a str) -> Asked<'a> {
        let mut line = head.lines().next().unwrap().split(' ');
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = pairs.map(|(name, value)| (name.to_owned(), plain(value))).collect();
        let key = plain(path.strip_prefix("/buck").unwrap_or(path)).trim_start_matches('/').to_owned();
        Asked { method, key, query, head }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }
}

impl Contents {
    fn answer(&mut self, head: &str, body: &[u8]) -> Vec<u8> {
        let asked = Asked::of(head);
        let upload = asked.query.get("uploadId");
        match asked.method {
            "GET" if asked.has("list-type") => self.list(&asked),
            "GET" if asked.has("uploads") => self.list_uploads(&asked),
            "GET" | "HEAD" if !asked.key.is_empty() => self.get(&asked),
            "PUT" if upload.is_some() => {
                let part = asked.query["partNumber"].parse().unwrap();
                let Some((_, parts)) = self.uploads.get_mut(upload.unwrap()) else { return missing() };
                parts.insert(part, body.to_vec());
                answer("200 OK", &format!("ETag: {}\r\n", tag(body)), b"")
            }
            "PUT" => self.put(&asked, body.to_vec()),
            "POST" if asked.has("uploads") => {
                self.begun += 1;
                let id = format!("upload-{}", self.begun);
                self.uploads.insert(id.clone(), (asked.key.clone(), BTreeMap::new()));
                xml(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            "POST" if upload.is_some() => self.finish(&asked, upload.unwrap()),
            "POST" => {
                let text = String::from_utf8_lossy(body);
                let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
                let deleted = keys.map(|key| {
                    self.objects.remove(key);
                    format!("<Deleted><Key>{key}</Key></Deleted>")
                });
                let deleted: String = deleted.collect();
                xml(&format!("<DeleteResult>{deleted}</DeleteResult>"))
            }
            "DELETE" if upload.is_some() => {
                self.uploads.remove(upload.unwrap());
                answer("204 No Content", "", b"")
            }
            "DELETE" => {
                self.objects.remove(&asked.key);
                answer("204 No Content", "", b"")
            }
            _ => missing(),
        }
    }

    fn put(&mut self, asked: &Asked<'_>, bytes: Vec<u8>) -> Vec<u8> {
        let held = self.objects.get(&asked.key);
        let is_other = |wanted: &str| held.is_none_or(|held| tag(held) != wanted);
        let refused = asked.header("if-none-match") == Some("*") && held.is_some()
            || asked.header("if-match").is_some_and(is_other);
        if refused {
            return error("412 Precondition Failed", "PreconditionFailed");
        }
        let etag = tag(&bytes);
        self.objects.insert(asked.key.clone(), bytes);
        answer("200 OK", &format!("ETag: {etag}\r\n"), b"")
    }

    fn finish(&mut self, asked: &Asked<'_>, upload: &str) -> Vec<u8> {
        let Some((_, parts)) = self.uploads.get(upload) else { return missing() };
        let bytes = parts.values().flatten().copied().collect();
        let put = self.put(asked, bytes);
        if !put.starts_with(b"HTTP/1.1 200") {
            return put;
        }
        self.uploads.remove(upload);
        let etag = tag(&self.objects[&asked.key]);
        xml(&format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"))
    }

    fn get(&self, asked: &Asked<'_>) -> Vec<u8> {
        let is_whole = asked.query.keys().all(|name| name.is_empty());
        let Some(bytes) = self.objects.get(&asked.key).filter(|_| is_whole) else {
            return missing();
        };
        let headers = format!("ETag: {}\r\nLast-Modified: {DATE}\r\n", tag(bytes));
        if asked.method == "HEAD" {
            let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", bytes.len());
            return head.into_bytes();
        }
        let range = asked.header("range").and_then(|range| range.strip_prefix("bytes="));
        let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
            return answer("200 OK", &headers, bytes);
        };
        let (first, end) = match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, (last + 1).min(bytes.len())),
            (Ok(first), Err(_)) => (first, bytes.len()),
            (Err(_), last) => (bytes.len().saturating_sub(last.unwrap()), bytes.len()),
        };
        if first >= end {
            return error("416 Range Not Satisfiable", "InvalidRange");
        }
        let of = format!("Content-Range: bytes {first}-{}/{}\r\n", end - 1, bytes.len());
        answer("206 Partial Content", &(headers + &of), &bytes[first..end])
    }

    fn list(&self, asked: &Asked<'_>) -> Vec<u8> {
        let of = |name: &str| asked.query.get(name).map_or("", String::as_str);
        let (prefix, delimiter, after) = (of("prefix"), of("delimiter"), of("start-after"));
        let (mut found, mut folders) = (String::new(), std::collections::BTreeSet::new());
        for (key, bytes) in self.objects.range(after.to_owned()..) {
            let Some(rest) = key.strip_prefix(prefix).filter(|_| key.as_str() > after) else { continue };
            match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                Some(end) => drop(folders.insert(&key[..prefix.len() + end + 1])),
                None => {
                    found += &format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-06-01T00:00:00.000Z</LastModified><ETag>{}</ETag>\
                         <Size>{}</Size></Contents>",
                        tag(bytes),
                        bytes.len()
                    );
                }
            }
        }
        for folder in folders {
            found += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
        }
        xml(&format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"))
    }

    fn list_uploads(&self, asked: &Asked<'_>) -> Vec<u8> {
        let prefix = asked.query.get("prefix").map_or("", String::as_str);
        let own = self.uploads.iter().filter(|(_, (key, _))| key.starts_with(prefix));
        let told = own.map(|(id, (key, _))| {
            format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>2026-06-01T00:00:00.000Z</Initiated></Upload>"
            )
        });
        let told: String = told.collect();
        xml(&format!(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{told}</ListMultipartUploadsResult>"
        ))
    }
}

/// What tells one text from another.
fn tag(bytes: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = match status.starts_with("204") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    [format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n").as_bytes(), body].concat()
}

fn xml(text: &str) -> Vec<u8> {
    answer("200 OK", "Content-Type: application/xml\r\n", text.as_bytes())
}

fn error(status: &str, code: &str) -> Vec<u8> {
    let text = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    answer(status, "Content-Type: application/xml\r\n", text.as_bytes())
}

fn missing() -> Vec<u8> {
    error("404 Not Found", "NoSuchKey")
}

/// A text of an address, as it is meant.
fn plain(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, more @ ..] = rest {
        let code = (*first == b'%').then(|| std::str::from_utf8(more.get(..2)?).ok()).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
