//! Secrets: fetched when a step needs them, and taken out of whatever is shown. What a program prints is had once a process, for
//! somebody may have to touch a key for it, and anew where it has proven to be no good any more.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use backplan_compiler::value::{EnvValue, Hidden, Secret};

use super::process::{self, ProcessError, Program};
use super::redaction;
use crate::control::Control;
use crate::regular;

/// Bytes of the largest file that is a secret.
const LARGEST: u64 = 1 << 20;

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set and has no default.
    #[error("the environment variable `{0}` is not set; set it for the account that runs the plan")]
    NotSet(String),
    /// The file could not be read.
    #[error("cannot read the secret file `{path}`: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// The program that prints it failed. What it said may be the secret.
    #[error(
        "the program that prints a secret failed: {0}; what it said is not shown, as that may hold the secret: run it by hand"
    )]
    Exec(#[source] ProcessError),
    /// The program that prints it cannot be started, or the work was told to stop.
    #[error("the program that prints a secret: {0}")]
    NotRun(#[source] ProcessError),
    /// What came is not text.
    #[error("the secret {0} is not UTF-8 text")]
    NotText(String),
}

impl SecretError {
    /// Whether it was not waited for, because the work was told to stop.
    pub fn is_stopped(&self) -> bool {
        matches!(self, SecretError::NotRun(ProcessError::Stopped(_)))
    }
}

/// A value, and how it may look in what is shown.
#[derive(Debug)]
struct Known {
    value: Hidden,
    forms: Vec<Hidden>,
}

/// What was fetched so far: one list a process, so that whatever is shown by whom is without any of them.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// What a program has printed; nothing yet, or no more. It is locked for as long as the program runs.
type Printed = Arc<Mutex<Option<Hidden>>>;

/// What programs have printed, by what they are and what they are given.
static PRINTED: Mutex<Vec<(Secret, Printed)>> = Mutex::new(Vec::new());
/// Between two looks whether somebody else's program has ended.
const NAP: Duration = Duration::from_millis(20);

/// From now on programs are asked anew: something failed that what they said before may be to blame for.
pub fn forget() {
    PRINTED.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// What those obey that nobody else stops.
static ALL: LazyLock<Control> = LazyLock::new(Control::default);

/// From now on no program is waited for that somebody fetches with no control of his own: this process is to end.
pub fn leave() {
    ALL.stop();
}

/// Fetches secrets and remembers them, so that they can be taken out of output.
#[derive(Debug, Clone)]
pub struct Secrets {
    control: Control,
    timeout: Option<Duration>,
    /// What a program said before is not believed any more.
    is_anew: bool,
}

impl Default for Secrets {
    fn default() -> Secrets {
        Secrets { control: ALL.clone(), timeout: None, is_anew: false }
    }
}

impl Secrets {
    /// The same, that fetches until `control` says stop.
    #[must_use]
    pub fn under(&self, control: &Control) -> Secrets {
        Secrets { control: control.clone(), ..Secrets::default() }
    }

    /// The same, that asks each program again, whatever it said before.
    #[must_use]
    pub fn anew(&self) -> Secrets {
        Secrets { is_anew: true, ..self.clone() }
    }

    /// The same, whose programs may take no longer than this.
    #[must_use]
    pub fn within(self, timeout: Option<Duration>) -> Secrets {
        Secrets { timeout, ..self }
    }

    /// The value of `secret`.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn fetch(&self, secret: &Secret) -> Result<Hidden, SecretError> {
        let value = match secret {
            Secret::Inline(value) => value.clone(),
            Secret::Env { name, default } => match (std::env::var(name), default) {
                (Ok(value), _) => Hidden::new(value),
                (Err(_), Some(default)) => default.clone(),
                (Err(_), None) => return Err(SecretError::NotSet(name.clone())),
            },
            Secret::File(path) => {
                let read = regular::read(path, LARGEST);
                one_line(read.map_err(|cause| SecretError::File { path: path.clone(), cause })?, secret)?
            }
            Secret::Exec { words, env } => {
                let printed = slot(secret);
                let mut printed = self.turn(&printed)?;
                match printed.take().filter(|_| !self.is_anew) {
                    Some(value) => printed.insert(value).clone(),
                    None => printed.insert(one_line(self.printed(words, env)?, secret)?).clone(),
                }
            }
        };
        self.remember(value.clone());
        Ok(value)
    }

    /// Waits for whoever has the same program print it.
    fn turn<'p>(&self, printed: &'p Printed) -> Result<MutexGuard<'p, Option<Hidden>>, SecretError> {
        loop {
            match printed.try_lock() {
                Ok(printed) => return Ok(printed),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            self.control.check().map_err(|stopped| SecretError::NotRun(ProcessError::Stopped(stopped)))?;
            std::thread::sleep(NAP);
        }
    }

    fn printed(&self, words: &[String], env: &[(String, EnvValue<String>)]) -> Result<Vec<u8>, SecretError> {
        let value = |value: &EnvValue<String>| match value {
            EnvValue::Text(text) => Ok(text.clone()),
            EnvValue::Secret(secret) => Ok(self.fetch(secret)?.expose().to_owned()),
        };
        let given: Result<_, SecretError> =
            env.iter().map(|(name, set)| Ok((name.clone(), value(set)?))).collect();
        let silent: process::Tell = Arc::new(|_| {});
        let program = Program { env: given?, timeout: self.timeout, ..Program::new(words.to_vec()) };
        process::run(&program, &self.control, &silent).map_err(|error| match error {
            ProcessError::Status { program, status, .. } => {
                SecretError::Exec(ProcessError::Status { program, status, words: Vec::new() })
            }
            ProcessError::Timeout { program, after, is_held, .. } => {
                SecretError::Exec(ProcessError::Timeout { program, after, is_held, words: Vec::new() })
            }
            error => SecretError::NotRun(error),
        })
    }

    /// Makes sure that `value` is taken out of whatever is shown from now on.
    pub fn remember(&self, value: Hidden) {
        if !value.expose().trim().is_empty() {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.iter().any(|known| known.value == value) {
                let forms = redaction::forms(value.expose()).into_iter().map(Hidden::new).collect();
                known.push(Known { value, forms });
            }
        }
    }

    /// `text` without any secret fetched so far.
    pub fn redact(&self, text: &str) -> String {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        redaction::redact(text, known.iter().flat_map(|known| &known.forms).map(Hidden::expose))
    }
}

/// Where what the program of a secret prints is kept.
fn slot(secret: &Secret) -> Printed {
    let mut all = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, printed)) = all.iter().find(|(known, _)| known == secret) {
        return Arc::clone(printed);
    }
    let printed = Printed::default();
    all.push((secret.clone(), Arc::clone(&printed)));
    printed
}

fn one_line(bytes: Vec<u8>, secret: &Secret) -> Result<Hidden, SecretError> {
    let mut text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(secret.to_string()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Hidden::new(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exec(words: Vec<String>) -> Secret {
        Secret::Exec { words, env: Vec::new() }
    }

    #[test]
    fn what_was_fetched_is_taken_out_of_output() {
        let secrets = Secrets::default();
        let words = ["printf", "hunter2\nsecond-line\n"].map(str::to_owned).to_vec();
        let value = secrets.fetch(&exec(words)).unwrap();
        assert_eq!(value.expose(), "hunter2\nsecond-line");
        assert_eq!(secrets.redact("a hunter2 b second-line"), "a (secret) b (secret)");
        assert_eq!(secrets.redact("nothing here"), "nothing here");
    }

    #[test]
    fn a_program_is_asked_once_whoever_wants_to_know_and_again_where_that_was_no_good() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!("echo . >> {0}; sleep 0.2; wc -l < {0}", count.display());
        let secret = exec(["sh", "-c", &script].map(str::to_owned).to_vec());
        let fetch = |secrets: &Secrets| secrets.fetch(&secret).unwrap().expose().to_owned();
        std::thread::scope(|scope| {
            let all = [(); 4].map(|()| scope.spawn(|| fetch(&Secrets::default())));
            all.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), "1"));
        });
        assert_eq!(fetch(&Secrets::default().anew()), "2");
        assert_eq!(fetch(&Secrets::default()), "2");
        forget();
        assert_eq!(fetch(&Secrets::default()), "3");
    }

    #[test]
    fn what_a_failing_program_says_is_not_told() {
        let words =
            ["sh", "-c", "echo sesame; echo wrong key sesame >&2; exit 5"].map(str::to_owned).to_vec();
        let said = Secrets::default().fetch(&exec(words)).unwrap_err().to_string();
        assert!(said.contains("`sh` ended with status 5") && said.contains("by hand"), "{said}");
        assert!(!said.contains("sesame"), "{said}");
    }

    #[test]
    fn a_secret_that_does_not_come_is_not_waited_for() {
        let control = Control::default();
        let secrets = Secrets::default().under(&control);
        let words = ["sleep", "44.5"].map(str::to_owned).to_vec();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(300));
                control.stop();
            });
            assert!(secrets.fetch(&exec(words)).unwrap_err().is_stopped());
        });
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let said = secrets.fetch(&Secret::File(pipe)).unwrap_err().to_string();
        assert!(said.ends_with("it is a pipe, a socket or a device, not a file"), "{said}");
    }

    #[test]
    fn an_unset_variable_without_default_is_named() {
        let secret = Secret::Env { name: "BACKPLAN_TEST_UNSET".to_owned(), default: None };
        let error = Secrets::default().fetch(&secret).unwrap_err();
        assert!(error.to_string().contains("`BACKPLAN_TEST_UNSET`"), "{error}");
    }
}
