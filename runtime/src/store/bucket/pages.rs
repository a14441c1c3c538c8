//! A listing, page by page, which ends whatever the server says.

use std::borrow::Cow;

use object_store::ListResult;
use object_store::list::PaginatedListOptions;

use super::Inner;
use super::trouble::BucketTrouble;

/// Pages of a listing at the most, each of a thousand objects.
const PAGES: u64 = 4 << 20;
/// Names of a folder that are held at the most.
const NAMES: usize = 4 << 20;

/// Sees that a folder has no more names than are held.
///
/// # Errors
/// Where it has.
pub fn see_few(names: usize) -> Result<(), BucketTrouble> {
    match names > NAMES {
        true => Err(BucketTrouble::other(format!("the server tells of more than {NAMES} names in a folder"))),
        false => Ok(()),
    }
}

/// By what the next page of a listing is asked for, page by page. One that was met before is met again for ever: by Brent's algorithm the
/// circle is seen in the memory of one, the last whose number is a power of two.
#[derive(Debug, Default)]
struct Way {
    kept: Option<String>,
    /// Pages since the one that is kept, and how many until the next one is.
    since: u64,
    reach: u64,
    pages: u64,
}

impl Way {
    /// Whether the listing goes on with this.
    fn goes_on(&mut self, next: &str) -> Result<(), BucketTrouble> {
        self.pages += 1;
        if self.kept.as_deref() == Some(next) || self.pages >= PAGES {
            return Err(BucketTrouble::other(
                "the server goes on with a page of the listing that it has given before, or never comes to its end".to_owned(),
            ));
        }
        if self.since == self.reach {
            (self.kept, self.reach, self.since) = (Some(next.to_owned()), (self.reach * 2).max(1), 0);
        }
        self.since += 1;
        Ok(())
    }
}

impl Inner {
    /// Hands on the pages of what there is below a folder, or, up to a delimiter, directly in it. Each is a request of its own: keys may
    /// expire meanwhile.
    pub(super) fn pages(
        &self,
        folder: &str,
        delimiter: Option<&'static str>,
        take: &mut dyn FnMut(ListResult) -> Result<(), BucketTrouble>,
    ) -> Result<(), BucketTrouble> {
        let (mut token, mut way) = (None, Way::default());
        loop {
            let asked = token.clone();
            let page = self.with(folder, move |service, key| {
                let options = PaginatedListOptions {
                    delimiter: delimiter.map(Cow::Borrowed),
                    page_token: asked.clone(),
                    ..PaginatedListOptions::default()
                };
                async move {
                    let prefix =
                        Some(key.as_ref()).filter(|key| !key.is_empty()).map(|key| format!("{key}/"));
                    service.list_paginated(prefix.as_deref(), options).await
                }
            })?;
            take(page.result)?;
            let Some(next) = page.page_token else { return Ok(()) };
            way.goes_on(&next)?;
            token = Some(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_does_not_go_around_in_circles_of_any_size() {
        for (lead, round) in [(0, 1), (0, 2), (1, 2), (3, 5), (100, 1), (7, 64)] {
            let mut way = Way::default();
            let page = |at: u64| if at < lead { at } else { lead + (at - lead) % round };
            let end = (0..).find(|at| way.goes_on(&page(*at).to_string()).is_err());
            assert!(
                end.is_some_and(|end| end >= lead + round && end <= 4 * (lead + round)),
                "{lead} {round} {end:?}"
            );
        }
        let mut way = Way::default();
        assert!((0..10_000).all(|at| way.goes_on(&at.to_string()).is_ok()));
        assert!((10_000..PAGES + 1).any(|at| way.goes_on(&at.to_string()).is_err()));
    }
}
