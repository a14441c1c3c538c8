//! Views that the server shows and cannot resolve, as what they are made of is gone. `mariadb-dump` ends at the first of them: it is told
//! to leave them out, and their definitions are kept in a file of their own.

use std::fmt::Write;

use super::client::Client;
use super::{VIEWS, quoted};
use crate::programs::process::ProcessError;
use crate::text::printable;

/// A view that a dump cannot have.
#[derive(Debug)]
pub(super) struct Broken {
    pub database: String,
    pub name: String,
    /// The server's words.
    why: String,
    /// What is known of it; `None`: the server does not show it to this account.
    view: Option<View>,
}

/// A view, as the server describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    pub algorithm: String,
    pub definer: String,
    pub security: String,
    pub check: String,
    pub collation: String,
    pub definition: String,
}

impl Broken {
    /// In words.
    pub fn told(&self) -> String {
        let kept = match &self.view {
            Some(_) => format!("the dump has its definition alone, in `{VIEWS}`"),
            None => "it is not in the dump, nor is its definition, which its account may not see".to_owned(),
        };
        format!(
            "view {} is broken, or its account may not use what it needs: {kept}; mend it, drop it, or grant that: {}",
            quoted(&self.database, &self.name),
            printable(self.why.as_bytes())
        )
    }
}

/// The broken ones of databases. With `sees_all`, what the server denies to the account is broken too: its definer lacks a right.
pub(super) fn broken(
    client: &Client<'_>,
    databases: &[String],
    sees_all: bool,
) -> Result<Vec<Broken>, ProcessError> {
    let mut views = client.views(databases)?;
    views.retain(|(database, _)| databases.contains(database));
    let mut broken = Vec::new();
    for at in client.suspects(&views)? {
        let Some((database, name)) = views.get(at).cloned() else { continue };
        // Names could look like a line of errors: each is asked for alone.
        if let Some(why) = client.trouble_of_view(&database, &name, sees_all)? {
            let view = client.view(&database, &name)?;
            broken.push(Broken { database, name, why, view });
        }
    }
    Ok(broken)
}

/// Statements that make the views again where what they are made of is there, and change nothing where one of the name is; `None`: there
/// are none. Nothing of a server's words stands in a comment: they may hold ends of lines.
pub(super) fn script(broken: &[Broken]) -> Option<String> {
    let known: Vec<(&Broken, &View)> =
        broken.iter().filter_map(|broken| Some((broken, broken.view.as_ref()?))).collect();
    let mut text = "SET NAMES utf8mb4;\nSET sql_mode = '';\n".to_owned();
    let is_any = !known.is_empty();
    for (broken, view) in in_order(known) {
        let (database, name) = (backticked(&broken.database), backticked(&broken.name));
        let (definer, check) = (definer(&view.definer), check(&view.check));
        let (algorithm, security, collation) =
            (word(&view.algorithm), word(&view.security), word(&view.collation));
        // Functions without a database are looked for in the one that is used.
        let _ = writeln!(
            text,
            "USE {database};\nSET collation_connection = {collation};\nCREATE ALGORITHM={algorithm} DEFINER={definer} \
             SQL SECURITY {security} VIEW IF NOT EXISTS {database}.{name} AS {}{check};",
            view.definition
        );
    }
    is_any.then_some(text)
}

/// Those first that others rest on.
fn in_order<'a>(mut waiting: Vec<(&'a Broken, &'a View)>) -> Vec<(&'a Broken, &'a View)> {
    let named = |broken: &Broken| format!("{}.{}", backticked(&broken.database), backticked(&broken.name));
    let mut ordered = Vec::new();
    loop {
        let rests = |(broken, view): &(&Broken, &View)| {
            let mut others = waiting.iter().map(|(other, _)| named(other));
            others.any(|other| other != named(broken) && view.definition.contains(&other))
        };
        let (left, ready): (Vec<_>, Vec<_>) = waiting.iter().copied().partition(rests);
        if ready.is_empty() {
            // None is left, or they rest on each other.
            ordered.extend(left);
            return ordered;
        }
        ordered.extend(ready);
        waiting = left;
    }
}

fn backticked(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A name in which the last `@` parts account and host; a role has no host.
fn definer(name: &str) -> String {
    match name.rsplit_once('@') {
        Some((user, host)) if !host.is_empty() => format!("{}@{}", backticked(user), backticked(host)),
        Some((role, _)) => backticked(role),
        None => backticked(name),
    }
}

fn check(kind: &str) -> &'static str {
    match kind {
        "CASCADED" => " WITH CASCADED CHECK OPTION",
        "LOCAL" => " WITH LOCAL CHECK OPTION",
        _ => "",
    }
}

/// What stands bare in a statement.
fn word(said: &str) -> String {
    said.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(definition: &str) -> View {
        View {
            algorithm: "UNDEFINED".to_owned(),
            definer: "a@b`c@%".to_owned(),
            security: "DEFINER".to_owned(),
            check: "LOCAL".to_owned(),
            collation: "utf8mb4_general_ci; drop".to_owned(),
            definition: definition.to_owned(),
        }
    }

    #[test]
    fn a_view_is_made_where_it_belongs_and_only_where_none_is() {
        let of =
            |view| Broken { database: "d`b".to_owned(), name: "v".to_owned(), why: "?\n".to_owned(), view };
        let text = script(&[of(Some(view("select 1 AS `1`"))), of(None)]).unwrap_or_default();
        let wanted = "USE `d``b`;\nSET collation_connection = utf8mb4_general_cidrop;\nCREATE ALGORITHM=UNDEFINED \
                      DEFINER=`a@b``c`@`%` SQL SECURITY DEFINER VIEW IF NOT EXISTS `d``b`.`v` AS select 1 AS `1` WITH LOCAL CHECK OPTION;\n";
        assert!(text.ends_with(wanted) && text.matches("CREATE").count() == 1, "{text}");
        let named = |name: &str, definition| Broken { name: name.to_owned(), ..of(Some(view(definition))) };
        let text =
            script(&[named("a", "select 1 from `d``b`.`z`"), named("z", "select 2")]).unwrap_or_default();
        assert!(text.find("`z` AS") < text.find("`a` AS"), "{text}");
        assert_eq!(definer("role@"), "`role`");
        assert_eq!(script(&[of(None)]), None);
        assert!(of(None).told().contains("not in the dump") && !of(None).told().contains('\n'));
    }
}
