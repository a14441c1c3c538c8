//! Telling people and machines how a run went.
//!
//! Nothing here can change what a run came to: a message that does not arrive is a warning of the run, after its fate is
//! sealed. A new way to tell has a file here, an arm in [`send`], and a type in the schema.

mod mail;
pub mod message;
#[cfg(test)]
mod tests;
pub(crate) mod web;

use std::time::Duration;

use backplan_compiler::model::{Body, NotifyKind, Worded};
use backplan_compiler::value::{Env, Secret, Text};

use crate::control::{Control, Stopped};
use crate::programs::environment;
use crate::programs::process::{self, ProcessError, Program, Tell};
use crate::programs::secrets::{SecretError, Secrets};
use message::Message;

/// How long a notification may take, all attempts together.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// It is declared in a way that can never work.
    #[error("{0}")]
    Wrong(String),
    /// A secret could not be had.
    #[error(transparent)]
    Secret(SecretError),
    /// Whom it was for did not take it.
    #[error("{0}")]
    Untold(String),
    /// The program that tells failed.
    #[error(transparent)]
    Program(ProcessError),
    /// The work was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl NotifyError {
    /// Whether it was not sent because the work was told to stop.
    pub fn is_stopped(&self) -> bool {
        match self {
            NotifyError::Stopped(_) | NotifyError::Program(ProcessError::Stopped(_)) => true,
            NotifyError::Secret(error) => error.is_stopped(),
            NotifyError::Wrong(_) | NotifyError::Untold(_) | NotifyError::Program(_) => false,
        }
    }
}

/// What telling takes.
pub struct Means<'a> {
    /// Where secrets come from.
    pub secrets: &'a Secrets,
    /// What stops it.
    pub control: &'a Control,
    /// Fills in the values of a run.
    pub fill: &'a dyn Fn(&Text) -> Result<String, String>,
    /// Takes the lines that a program says.
    pub tell: &'a Tell,
}

impl Means<'_> {
    fn secret(&self, secret: &Secret) -> Result<String, NotifyError> {
        let secrets = self.secrets.under(self.control).within(Some(LIMIT));
        Ok(secrets.fetch(secret).map_err(NotifyError::Secret)?.expose().to_owned())
    }

    fn maybe(&self, secret: Option<&Secret>) -> Result<Option<String>, NotifyError> {
        secret.map(|secret| self.secret(secret)).transpose()
    }
}

/// Tells.
///
/// # Errors
/// When it did not arrive.
pub fn send(kind: &NotifyKind, message: &Message, means: &Means<'_>) -> Result<(), NotifyError> {
    match kind {
        NotifyKind::Webhook { url, body, token } => {
            let (url, token) = (means.secret(url)?, means.maybe(token.as_ref())?);
            web::send(&web::hook(&url, body, token.as_deref(), message)?, means.control)
        }
        NotifyKind::Healthcheck { url, monitor } => {
            web::send(&web::sign(&means.secret(url)?, *monitor, message)?, means.control)
        }
        NotifyKind::Email(email) => {
            let password = means.maybe(email.password.as_ref())?;
            mail::send(email, password.as_deref(), message, means.control)
        }
        NotifyKind::Command { run, env } => command(run, env, message, means),
    }
}

/// The way a notification goes, in a word.
pub fn word(kind: &NotifyKind) -> &'static str {
    match kind {
        NotifyKind::Webhook { body: Body::Shape(shape), .. } => shape.word(),
        NotifyKind::Webhook { body: Body::Template(_), .. } => "template",
        NotifyKind::Healthcheck { monitor, .. } => monitor.word(),
        NotifyKind::Email(_) => "e-mail",
        NotifyKind::Command { .. } => "command",
    }
}

/// A program is told by its environment, and of everything on its standard input.
fn command(run: &[Text], own: &Env, message: &Message, means: &Means<'_>) -> Result<(), NotifyError> {
    let argv: Result<Vec<String>, String> = run.iter().map(means.fill).collect();
    let secrets = means.secrets.under(means.control).within(Some(LIMIT));
    let filled = |text: &Text| (means.fill)(text).map_err(NotifyError::Wrong);
    let mut env = environment::given(own, &secrets, filled, NotifyError::Secret)?;
    env.extend(message.variables());
    let program = Program {
        argv: argv.map_err(NotifyError::Wrong)?,
        env,
        timeout: Some(LIMIT),
        // A line: what is appended to a file stays one message a line.
        input: [message.json().as_slice(), b"\n"].concat(),
        ..Program::default()
    };
    process::act(&program, means.control, means.tell).map_err(NotifyError::Program)
}
