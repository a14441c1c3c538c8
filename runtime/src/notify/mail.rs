//! Letters by SMTP.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use backplan_compiler::model::{Email, Tls};
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Letter};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as Protection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, SmtpTransport};
use lettre::{Address, Transport};

use super::message::Message;
use super::{LIMIT, NotifyError};
use crate::control::Control;
use crate::{threads, tls};

/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(15);
/// Waits between attempts.
const WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];
/// How often it is looked whether the work is to stop.
const TICK: Duration = Duration::from_millis(50);

/// A machine wrote it: no absence notes in return (RFC 3834).
#[derive(Debug, Clone)]
struct Automatic;

impl Header for Automatic {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Automatic)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Sends a letter, and again where that may help.
///
/// # Errors
/// [`NotifyError::Wrong`] for what can never be sent, [`NotifyError::Untold`] with the server's words,
/// [`NotifyError::Stopped`].
pub fn send(
    email: &Email,
    password: Option<&str>,
    message: &Message,
    control: &Control,
) -> Result<(), NotifyError> {
    let letter = letter(email, message)?;
    let server = server(email, password, &message.host)?;
    let (done, sent) = sync_channel(1);
    // The library waits for the server and knows nothing of being stopped: a thread that is not waited for any more ends when
    // the server answers or is silent for too long.
    let sending = std::thread::Builder::new().name("mail".to_owned()).spawn(move || {
        let _ = done.send(attempts(&server, &letter));
    });
    sending.map_err(|error| NotifyError::Untold(threads::refused(error).to_string()))?;
    loop {
        match sent.recv_timeout(TICK) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => return Err(NotifyError::Untold(format!("`{}`: {why}", email.server))),
            Err(RecvTimeoutError::Timeout) => control.check()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(NotifyError::Untold("its thread ended before it had told anything".to_owned()));
            }
        }
    }
}

fn attempts(server: &SmtpTransport, letter: &Letter) -> Result<(), String> {
    let begun = Instant::now();
    let mut waits = WAITS.into_iter();
    let mut made = 0;
    loop {
        made += 1;
        let Err(error) = server.send(letter) else { return Ok(()) };
        // What the server refuses for good it refuses again.
        let wait = waits.next().filter(|_| !error.is_permanent() && !error.is_tls());
        match wait.filter(|wait| begun.elapsed() + *wait + SILENCE <= LIMIT) {
            Some(wait) => std::thread::sleep(wait),
            None if made == 1 => return Err(told(&error)),
            None => return Err(format!("{}; {made} attempts were made", told(&error))),
        }
    }
}

/// The library's words, and those of what lies below.
fn told(error: &Error) -> String {
    let mut source = std::error::Error::source(error);
    let silent = source.and_then(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    if matches!(silent, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)) {
        return format!(
            "the server took no connection, or said nothing for {} s; see that name and port are right, and `tls` as the server has it",
            SILENCE.as_secs()
        );
    }
    let mut text = error.to_string();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn letter(email: &Email, message: &Message) -> Result<Letter, NotifyError> {
    let mailbox = |address: &String| -> Result<Mailbox, NotifyError> {
        let address: Address = address
            .parse()
            .map_err(|error| NotifyError::Wrong(format!("`{address}` is no e-mail address: {error}")))?;
        Ok(Mailbox::new(None, address))
    };
    let mut letter = Letter::builder()
        .from(mailbox(&email.from)?)
        .subject(message.title.replace(char::is_control, " "))
        .date(SystemTime::from(message.at))
        .message_id(None)
        .header(Automatic)
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        letter = letter.to(mailbox(to)?);
    }
    letter.body(message.text()).map_err(|error| NotifyError::Wrong(format!("no letter can be made: {error}")))
}

fn server(email: &Email, password: Option<&str>, host: &str) -> Result<SmtpTransport, NotifyError> {
    let wrong = |what: String| Err(NotifyError::Wrong(what));
    let (name, port) = parts(&email.server);
    tls::choose();
    let protection = || match TlsParameters::new(name.to_owned()) {
        Ok(parameters) => Ok(parameters),
        Err(error) => Err(NotifyError::Untold(format!("connections cannot be protected: {}", told(&error)))),
    };
    let (usual, protection) = match email.tls {
        Tls::Starttls => (587, Protection::Required(protection()?)),
        Tls::Always => (465, Protection::Wrapper(protection()?)),
        Tls::Never => (25, Protection::None),
    };
    let mut server = SmtpTransport::builder_dangerous(name)
        .port(port.unwrap_or(usual))
        .tls(protection)
        .timeout(Some(SILENCE));
    if host.bytes().all(|letter| letter.is_ascii_graphic()) {
        server = server.hello_name(ClientId::Domain(host.to_owned()));
    }
    match (&email.user, password) {
        (Some(_), Some(_)) if email.tls == Tls::Never && !is_here(name) => wrong(format!(
            "with `tls = plain` its `password` would go to `{name}` in clear; write `tls = starttls`"
        )),
        (Some(user), Some(password)) => {
            Ok(server.credentials(Credentials::new(user.clone(), password.to_owned())).build())
        }
        (None, None) => Ok(server.build()),
        (Some(_), None) => wrong("it has a `user` and no `password`".to_owned()),
        (None, Some(_)) => wrong("it has a `password` and no `user`".to_owned()),
    }
}

/// Name and port of `NAME`, `NAME:PORT`, `[V6]` and `[V6]:PORT`.
fn parts(server: &str) -> (&str, Option<u16>) {
    let (name, rest) = match server.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some(both) => both,
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    (name, rest.strip_prefix(':').and_then(|port| port.parse().ok()))
}

fn is_here(name: &str) -> bool {
    name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_name_and_may_have_a_port() {
        assert_eq!(parts("mail.example.org"), ("mail.example.org", None));
        assert_eq!(parts("mail.example.org:2525"), ("mail.example.org", Some(2525)));
        assert_eq!(parts("[::1]"), ("::1", None));
        assert_eq!(parts("[fe80::1]:25"), ("fe80::1", Some(25)));
    }
}
