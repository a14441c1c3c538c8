//! Who is told of runs, and of what.

use std::collections::BTreeSet;

use super::Change;
use crate::model::{Event, Model, Notify, NotifyKind};

impl<'a> Change<'a> {
    pub(super) fn told(&mut self) {
        let (old, new) = (self.old, self.new);
        let all = |model: &'a Model| -> BTreeSet<Event> {
            model.notifies.iter().flat_map(|notify| notify.on.iter().copied()).collect()
        };
        let (before, after) = (all(old), all(new));
        for event in before.difference(&after) {
            match event {
                Event::Failure => self.danger("nobody_told", "nobody is told any more when a run fails"),
                Event::Warning => {
                    self.danger("warnings_untold", "nobody is told any more when a run ends with warnings");
                }
                Event::Success | Event::Start => {
                    let text = format!("nobody is told any more when a run {}", ended(*event));
                    self.change("event_untold", text);
                }
            }
        }
        for notify in &old.notifies {
            let name = &notify.name;
            let Some(heir) = heir(notify, old, new) else {
                self.change("notify_removed", format!("notification `{name}` is no longer sent"));
                continue;
            };
            if heir.name != *name {
                let text = format!("notification `{name}` is called `{}` from now on", heir.name);
                self.change("notify_renamed", text);
            }
            if !same_way(&notify.kind, &heir.kind) {
                let text = format!("notification `{}` goes another way than before", heir.name);
                self.change("notify_moved", text);
            }
            // What nobody is told of any more was said above.
            let lost = notify.on.iter().filter(|event| !heir.on.contains(event) && after.contains(event));
            for event in lost {
                let text =
                    format!("notification `{}` is no longer sent when a run {}", heir.name, ended(*event));
                self.change("notify_quieter", text);
            }
        }
    }
}

fn ended(event: Event) -> &'static str {
    match event {
        Event::Start => "begins",
        Event::Success => "succeeds",
        Event::Warning => "ends with warnings",
        Event::Failure => "fails",
    }
}

/// The notification of the new plan that is this one of the old: of its name, or one that goes the same way under a new one.
fn heir<'m>(notify: &Notify, old: &Model, new: &'m Model) -> Option<&'m Notify> {
    let is_known = |name: &str| old.notifies.iter().any(|one| one.name == name);
    let renamed = |other: &&Notify| !is_known(&other.name) && same_way(&other.kind, &notify.kind);
    let named = new.notifies.iter().find(|other| other.name == notify.name);
    named.or_else(|| new.notifies.iter().find(renamed))
}

fn same_way(one: &NotifyKind, two: &NotifyKind) -> bool {
    match (one, two) {
        (NotifyKind::Webhook { url: one, .. }, NotifyKind::Webhook { url: two, .. })
        | (NotifyKind::Healthcheck { url: one, .. }, NotifyKind::Healthcheck { url: two, .. }) => one == two,
        (NotifyKind::Email(one), NotifyKind::Email(two)) => one.to == two.to,
        (NotifyKind::Command { run: one, .. }, NotifyKind::Command { run: two, .. }) => one == two,
        _ => false,
    }
}
