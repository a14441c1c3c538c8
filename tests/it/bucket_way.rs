//! A way to a bucket's server that is none of the best.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What becomes of a request on a way.
pub enum Fate {
    Carried,
    Forbidden,
    /// It is refused by this code, in these words.
    Refused(&'static str, &'static str),
    /// It is answered by who stands before the server, which is not there.
    Nobody(&'static str),
    /// It is carried, and its answer is lost.
    Unanswered,
    /// Its answer ends before its last bytes.
    Cut,
    /// The connection is reset before the request has come whole.
    Reset,
    /// The answer comes in pieces, with pauses between them.
    Slow,
}

/// A way to a server that decides by the head of a request.
pub fn deciding(to: u16, fate: impl Fn(&str) -> Fate + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, fate) = (listener.local_addr().unwrap().port(), Arc::new(fate));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), fate) = (client, Arc::clone(&fate)) else { return };
            thread::spawn(move || decide(client, to, &*fate));
        }
    });
    port
}

fn decide(mut client: TcpStream, to: u16, fate: &dyn Fn(&str) -> Fate) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    loop {
        let mut request = head(&mut client)?;
        let (text, is_bodiless) =
            (String::from_utf8_lossy(&request).into_owned(), request.starts_with(b"HEAD "));
        let fate = fate(&text);
        if let Fate::Reset = fate {
            // What is closed with bytes that nobody read is reset.
            return client.read_exact(&mut [0; 1000]).ok();
        }
        body(&mut client, &mut request)?;
        if let Some((code, words)) = match fate {
            Fate::Forbidden => Some(("AccessDenied", "Access Denied")),
            Fate::Refused(code, words) => Some((code, words)),
            _ => None,
        } {
            let words = format!("<Error><Code>{code}</Code><Message>{words}</Message></Error>");
            let words = if is_bodiless { "" } else { &words };
            let length = words.len();
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n\r\n{words}"
            );
            client.write_all(head.as_bytes()).ok()?;
            continue;
        }
        if let Fate::Nobody(status) = fate {
            client.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).ok()?;
            continue;
        }
        server.write_all(&request).ok()?;
        let answer = message(&mut server, is_bodiless)?;
        match fate {
            Fate::Unanswered => return None,
            Fate::Cut => return client.write_all(&answer[..answer.len() - 20]).ok(),
            Fate::Slow => {
                for piece in answer.chunks(answer.len().div_ceil(4)) {
                    client.write_all(piece).ok()?;
                    thread::sleep(std::time::Duration::from_millis(40));
                }
            }
            _ => client.write_all(&answer).ok()?,
        }
    }
}

/// A request or an answer, head and body.
pub fn message(from: &mut TcpStream, is_bodiless: bool) -> Option<Vec<u8>> {
    let mut bytes = head(from)?;
    if !is_bodiless {
        body(from, &mut bytes)?;
    }
    Some(bytes)
}

/// Its head alone.
fn head(from: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut bytes, mut one) = (Vec::new(), [0; 1]);
    while !bytes.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut one).ok()?;
        bytes.push(one[0]);
    }
    Some(bytes)
}

/// The rest of what began with a head.
fn body(from: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let head = String::from_utf8_lossy(bytes).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).ok()?;
    bytes.extend(body);
    Some(())
}
