//! Secrets: fetched when a step needs them, and taken out of whatever is shown.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use backplan_compiler::value::{Hidden, Secret};

use super::process::{self, ProcessError, Program};
use crate::control::Control;

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
    /// The program that prints it failed.
    #[error("the program that prints a secret failed: {0}")]
    Exec(#[source] ProcessError),
    /// What came is not text.
    #[error("the secret {0} is not UTF-8 text")]
    NotText(String),
}

/// Fetches secrets and remembers them, so that they can be taken out of output.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Arc<Mutex<Vec<Hidden>>>);

impl Secrets {
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
                let bytes =
                    std::fs::read(path).map_err(|cause| SecretError::File { path: path.clone(), cause })?;
                one_line(bytes, secret)?
            }
            Secret::Exec(words) => {
                let program = Program::new(words.clone());
                let silent: process::Tell = Arc::new(|_| {});
                let done = process::run(&program, &Control::default(), &silent).map_err(SecretError::Exec)?;
                one_line(done, secret)?
            }
        };
        self.remember(value.clone());
        Ok(value)
    }

    /// Makes sure that `value` is taken out of whatever is shown from now on.
    pub fn remember(&self, value: Hidden) {
        if !value.expose().trim().is_empty() {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }

    /// `text` without any secret fetched so far.
    pub fn redact(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = text.to_owned();
        for value in known.iter() {
            // A secret of several lines may be shown line by line.
            for line in value.expose().lines().filter(|line| line.trim().len() > 2) {
                out = out.replace(line, "(secret)");
            }
            out = out.replace(value.expose(), "(secret)");
        }
        out
    }
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

    #[test]
    fn what_was_fetched_is_taken_out_of_output() {
        let secrets = Secrets::default();
        let words = ["printf", "hunter2\nsecond-line\n"].map(str::to_owned).to_vec();
        let value = secrets.fetch(&Secret::Exec(words)).unwrap();
        assert_eq!(value.expose(), "hunter2\nsecond-line");
        assert_eq!(secrets.redact("a hunter2 b second-line"), "a (secret) b (secret)");
        assert_eq!(secrets.redact("nothing here"), "nothing here");
    }

    #[test]
    fn an_unset_variable_without_default_is_named() {
        let secret = Secret::Env { name: "BACKPLAN_TEST_UNSET".to_owned(), default: None };
        let error = Secrets::default().fetch(&secret).unwrap_err();
        assert!(error.to_string().contains("`BACKPLAN_TEST_UNSET`"), "{error}");
    }
}
