//! Windows: which sources are read inside them, and what they run.

use std::collections::BTreeSet;

use super::{Change, words};
use crate::model::{Model, SourceId, Window};

impl<'a> Change<'a> {
    pub(super) fn windows(&mut self) {
        let (old, new) = (self.old, self.new);
        for before in &old.windows {
            if let Some(after) = heir(before, old, new) {
                self.window(before, after);
            }
        }
        let held = |model: &'a Model, source: SourceId| {
            model.windows.iter().filter(move |window| window.around.contains(&source))
        };
        for id in (0..old.sources.len()).map(SourceId) {
            let Some(source) = self.heir(id) else { continue };
            let after: BTreeSet<&str> = held(new, source).map(|window| window.name.as_str()).collect();
            for window in held(old, id) {
                if heir(window, old, new).is_some_and(|heir| after.contains(heir.name.as_str())) {
                    continue;
                }
                let text = format!(
                    "source `{}` is no longer read inside window `{}`: it may be caught in the middle of a change",
                    new.source(source).name,
                    window.name
                );
                self.danger("window_removed", text);
            }
        }
    }

    fn window(&mut self, before: &Window, after: &Window) {
        let name = &after.name;
        if *name != before.name {
            let text = format!("window `{}` is called `{name}` from now on", before.name);
            self.change("window_renamed", text);
        }
        self.limited(&format!("window `{name}`"), before.timeout, after.timeout);
        if before.run_as != after.run_as {
            let text = format!("the programs of window `{name}` run as another account than before");
            self.change("window_changed", text);
        }
        let parts = [("enter", &before.enter, &after.enter), ("leave", &before.leave, &after.leave)];
        for (what, was, is) in parts.into_iter().filter(|(_, was, is)| was != is) {
            let Some(was) = was else { continue };
            let was = words(was);
            match is {
                None => {
                    self.danger("window_weaker", format!("window `{name}` no longer runs `{was}` to {what}"));
                }
                Some(is) => self.change(
                    "window_changed",
                    format!("window `{name}` runs `{}` to {what} and no longer `{was}`", words(is)),
                ),
            }
        }
    }
}

/// The window of the new plan that is this one of the old: of its name, or one that runs the same under a new one.
fn heir<'m>(window: &Window, old: &Model, new: &'m Model) -> Option<&'m Window> {
    let is_known = |name: &str| old.windows.iter().any(|one| one.name == name);
    let does = |window: &Window| (window.enter.clone(), window.leave.clone(), window.run_as.clone());
    let renamed = |other: &&Window| !is_known(&other.name) && does(other) == does(window);
    let named = new.windows.iter().find(|other| other.name == window.name);
    named.or_else(|| new.windows.iter().find(renamed))
}
