//! Questions at a terminal. What cannot be used is said, and the question asked again; an end of the input ends them all.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use crate::console::Console;
use crate::exit::Failure;

/// Asks until the answer is of use: `read` turns it into what is wanted, or says what is wrong with it.
///
/// # Errors
/// When there are no more answers.
pub fn asked<T>(
    console: &mut Console,
    question: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    loop {
        // A question is asked of whoever wants to hear nothing else, too.
        console.complain(&format!("{question}\n> "));
        let mut line = Vec::new();
        let length = io::stdin().lock().read_until(b'\n', &mut line);
        match length.map_err(|error| Failure::new(format!("no answer: {error}")))? {
            0 => {
                console.complain("\n");
                return Err(Failure::new("no answer: nothing was written"));
            }
            _ => match String::from_utf8(line).map_err(|_| "that is not text".to_owned()) {
                Ok(line) => match read(line.trim()) {
                    Ok(answer) => return Ok(answer),
                    Err(wrong) => console.complain(&format!("{wrong}\n")),
                },
                Err(wrong) => console.complain(&format!("{wrong}\n")),
            },
        }
    }
}

/// Asks what is answered with yes or no; `default` where nothing is answered.
///
/// # Errors
/// When there are no more answers.
pub fn agreed(console: &mut Console, question: &str, default: bool) -> Result<bool, Failure> {
    let choice = if default { "Y/n" } else { "y/N" };
    asked(console, &format!("{question} ({choice})"), |answer| match answer.to_lowercase().as_str() {
        "" => Ok(default),
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("answer `y` or `n`".to_owned()),
    })
}

/// Paths with spaces between them, as a shell reads them: quotes around one that has spaces, `\` before one, `~` the home.
pub fn paths(text: &str, home: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("there is no second {quote}"));
    }
    words.extend(word);
    let place = |word: String| match (word.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_path_buf(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(word),
    };
    Ok(words.into_iter().filter(|word| !word.is_empty()).map(place).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::paths;

    #[test]
    fn paths_are_read_as_a_shell_reads_them() {
        let read = |text: &str| {
            let found = paths(text, Some(Path::new("/home/u"))).unwrap();
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(read("  /srv/www   notes "), ["/srv/www", "notes"]);
        assert_eq!(read(r#""/srv/a b" '/c "d' e\ f "g'h""#), ["/srv/a b", "/c \"d", "e f", "g'h"]);
        assert_eq!(read("~ ~/x ~other"), ["/home/u", "/home/u/x", "~other"]);
        assert!(read("").is_empty() && read("''").is_empty());
        assert!(paths("'a", None).is_err());
    }
}
