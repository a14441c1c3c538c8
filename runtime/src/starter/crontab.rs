//! This account's crontab: one block a plan, between two marks; all else in it stays as it is, to the byte.

use std::path::Path;

use super::{StarterError, asked, done, said};
use crate::stamped::{Standing, sum};

const BEGIN: &str = "# BEGIN plan schedule ";
const END: &str = "# END plan schedule ";

/// A crontab, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crontab(Vec<u8>);

/// The block of a plan.
pub fn block(name: &str, plan: &Path, text: &str) -> String {
    let text = format!("# Of the plan {plan:?}\n{text}");
    format!(
        "{BEGIN}{name}, sum {}; changed by hand, it is not overwritten.\n{text}{END}{name}\n",
        sum(&format!("{name}\n{text}"))
    )
}

/// Whether a block is that of the plan in this file.
pub fn is_of(block: &str, plan: &Path) -> bool {
    plan_of(block).is_some_and(|shown| shown == format!("{plan:?}"))
}

/// The plan that a block names, as it is shown.
pub fn plan_of(block: &str) -> Option<&str> {
    block.lines().nth(1)?.strip_prefix("# Of the plan ")
}

impl Crontab {
    /// This account's.
    ///
    /// # Errors
    /// Where it cannot be read: then nothing may be written either.
    pub fn read() -> Result<Crontab, StarterError> {
        let output = asked("crontab", &["-l"], &[])?;
        let words = said(&output);
        match output.status.success() {
            true => Ok(Crontab(output.stdout)),
            false if words.starts_with("no crontab for ") => Ok(Crontab(Vec::new())),
            false => Err(StarterError::Failed { command: "crontab -l".to_owned(), said: words }),
        }
    }

    /// Makes it this account's, and looks whether it is.
    ///
    /// # Errors
    /// Where it is not; the earlier one is there then.
    pub fn write(&self) -> Result<(), StarterError> {
        if self.0.iter().all(u8::is_ascii_whitespace) {
            done("crontab", &["-r"], &[])?;
        } else {
            done("crontab", &["-"], &self.0)?;
        }
        let now = Crontab::read()?;
        if now.0.trim_ascii() == self.0.trim_ascii() {
            return Ok(());
        }
        Err(StarterError::Crontab(
            "the crontab is not what was written: look at it with `crontab -l`".to_owned(),
        ))
    }

    /// What stands where this block of a plan is to be.
    ///
    /// # Errors
    /// Where a block has no end, or there are two.
    pub fn standing(&self, name: &str, block: &str) -> Result<Standing, StarterError> {
        let Some((from, to)) = self.place(name)? else { return Ok(Standing::Nothing) };
        let found = String::from_utf8_lossy(&self.0[from..to]).into_owned();
        Ok(match found {
            found if found == block => Standing::Same,
            found if is_unchanged(name, &found) => Standing::Ours(found),
            found => Standing::Foreign(found),
        })
    }

    /// With this block in the place of the plan's earlier one, or behind all else; without any where it is empty.
    ///
    /// # Errors
    /// As [`Crontab::standing`].
    pub fn with(&self, name: &str, block: &str) -> Result<Crontab, StarterError> {
        let (from, to) = self.place(name)?.unwrap_or((self.0.len(), self.0.len()));
        let mut all = self.0[..from].to_vec();
        if !block.is_empty() && all.last().is_some_and(|byte| *byte != b'\n') {
            all.push(b'\n');
        }
        all.extend_from_slice(block.as_bytes());
        all.extend_from_slice(&self.0[to..]);
        Ok(Crontab(all))
    }

    /// Where the block of a plan begins and ends.
    fn place(&self, name: &str) -> Result<Option<(usize, usize)>, StarterError> {
        let (begin, end) = (format!("{BEGIN}{name},"), format!("{END}{name}"));
        let (mut open, mut found, mut at) = (None, None, 0);
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            let (from, to) = (at, at + line.len());
            at = to;
            if line.starts_with(begin.as_bytes()) {
                if open.is_some() || found.is_some() {
                    return Err(unclear(name, "begins twice"));
                }
                open = Some(from);
            } else if line.trim_ascii_end() == end.as_bytes()
                && let Some(from) = open.take()
            {
                found = Some((from, to));
            }
        }
        if open.is_some() {
            return Err(unclear(name, "has no end"));
        }
        Ok(found)
    }
}

fn unclear(name: &str, what: &str) -> StarterError {
    StarterError::Crontab(format!(
        "the block of plan `{name}` in the crontab {what}: mend it with `crontab -e`"
    ))
}

fn is_unchanged(name: &str, block: &str) -> bool {
    let Some((begin, rest)) = block.split_once('\n') else { return false };
    let Some(text) = rest.strip_suffix(&format!("{END}{name}\n")) else { return false };
    let stamp = begin.strip_prefix(&format!("{BEGIN}{name}, sum ")).and_then(|rest| rest.split(';').next());
    stamp == Some(sum(&format!("{name}\n{text}")).as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_block_comes_and_goes_and_all_else_stays() {
        let plan = Path::new("/etc/p.plan");
        let (old, new) = (block("p", plan, "0 2 * * * old\n"), block("p", plan, "0 2 * * * new\n"));
        let other = block("p-full", plan, "1 * * * * x\n");
        // Bytes that are no UTF-8, and no end of the last line.
        let mine = Crontab([b"# caf\xe9\n", other.as_bytes(), b"5 * * * * mine"].concat());
        assert_eq!(mine.standing("p", &old).unwrap(), Standing::Nothing);
        let with = mine.with("p", &old).unwrap();
        assert_eq!(with.standing("p", &old).unwrap(), Standing::Same);
        assert_eq!(with.standing("p", &new).unwrap(), Standing::Ours(old.clone()));
        assert!(is_of(&old, plan) && !is_of(&old, Path::new("/etc/q.plan")));
        let gone = with.with("p", &new).unwrap().with("p", "").unwrap();
        assert_eq!(gone.0, [&mine.0[..], b"\n"].concat());
        let changed = Crontab(String::from_utf8_lossy(&with.0).replace("old", "mine").into_bytes());
        assert!(matches!(changed.standing("p", &old).unwrap(), Standing::Foreign(_)));
        assert!(matches!(changed.standing("p-full", &old).unwrap(), Standing::Ours(_)));
        let cut = Crontab(with.0[..with.0.len() - 5].to_vec());
        assert!(cut.standing("p", &old).is_err());
        let twice = Crontab([with.0.as_slice(), old.as_bytes()].concat());
        assert!(twice.standing("p", &old).is_err());
    }
}
