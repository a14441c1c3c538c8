//! Troubles that stay: another attempt at once meets the same, and only costs time, or writes as much once more.

use std::error::Error;
use std::io::{self, ErrorKind};

/// Whether the system would refuse another attempt alike: no room, no right to write at all, a name or a file that is too long.
pub fn is_lasting(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::FileTooLarge
            | ErrorKind::InvalidFilename
    )
}

/// What to do about such a trouble, to stand behind it.
pub fn mend(cause: &io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some room there",
        ErrorKind::ReadOnlyFilesystem => "; it is mounted read-only: mount it so that it can be written",
        _ => "",
    }
}

/// Whether such a trouble is behind an error, however many layers have told of it since.
pub fn is_behind(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = error.downcast_ref::<io::Error>() {
            if is_lasting(cause) {
                return true;
            }
            // The source of an error of the system's kind is that of what it wraps, not what it wraps.
            if let Some(inner) = cause.get_ref() {
                next = Some(inner);
                continue;
            }
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[derive(Debug, thiserror::Error)]
    #[error("far away: {0}")]
    struct Far(#[source] io::Error);

    #[test]
    fn what_stays_is_found_behind_whatever_tells_of_it() {
        let stays = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::FBIG, Errno::NAMETOOLONG];
        let passes = [Errno::IO, Errno::AGAIN, Errno::NOENT, Errno::ACCESS, Errno::TIMEDOUT, Errno::STALE];
        for (errnos, expected) in [(stays.as_slice(), true), (passes.as_slice(), false)] {
            for errno in errnos {
                let bare = || io::Error::from(*errno);
                assert_eq!(is_behind(&bare()), expected, "{errno:?}");
                assert_eq!(is_behind(&Far(bare())), expected, "{errno:?}");
                assert_eq!(is_behind(&io::Error::other(Far(bare()))), expected, "{errno:?}");
                let told = io::Error::new(bare().kind(), format!("`x`: {}", bare()));
                assert_eq!(is_behind(&Far(told)), expected, "{errno:?}");
            }
        }
        assert!(!is_behind(&io::Error::other("nothing")));
    }
}
