//! What an account may not see. A dump leaves it out without a word: there is no error that would tell.

use crate::postgres::names;

/// What a dump needs: tables, views, triggers and events are not in it without.
const NEEDED: [&str; 4] = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"];

/// Rights that are not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lacking {
    rights: Vec<&'static str>,
    /// The database; `None`: all of them.
    database: Option<String>,
}

impl Lacking {
    /// In words.
    pub fn told(&self) -> String {
        let on = match &self.database {
            Some(database) => format!("database `{}`", names::shown(database.as_bytes())),
            None => "all databases".to_owned(),
        };
        format!(
            "its account is not granted {} on {on}: what it cannot see is not in the dump",
            self.rights.join(", ")
        )
    }

    /// What to do about it.
    pub fn mend(&self) -> String {
        format!(
            "`grant {} on *.* to ACCOUNT`, unless it may see all of it by other grants",
            self.rights.join(", ")
        )
    }
}

/// What lacks of what a dump of these databases needs; of none: of all.
pub(super) fn lacking(grants: &[String], databases: &[String]) -> Vec<Lacking> {
    let granted: Vec<(Vec<&str>, &str)> = grants.iter().filter_map(|grant| parse(grant)).collect();
    let has = |right: &str, database: Option<&String>| {
        granted.iter().any(|(rights, on)| {
            (*on == "*.*" || database.is_some_and(|name| *on == format!("`{}`.*", escaped(name))))
                && (rights.contains(&right) || rights.contains(&"ALL PRIVILEGES"))
        })
    };
    let asked: Vec<Option<&String>> =
        if databases.is_empty() { vec![None] } else { databases.iter().map(Some).collect() };
    let lacking = asked.into_iter().map(|database| Lacking {
        rights: NEEDED.into_iter().filter(|right| !has(right, database)).collect(),
        database: database.cloned(),
    });
    lacking.filter(|lacking| !lacking.rights.is_empty()).collect()
}

/// Rights, and what they are on: of ``GRANT SELECT, TRIGGER ON `shop`.* TO …``.
fn parse(grant: &str) -> Option<(Vec<&str>, &str)> {
    let (rights, rest) = grant.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (on, _) = rest.split_once(" TO ")?;
    Some((rights.split(", ").collect(), on))
}

/// A name as a grant has it, where `_` and `%` would stand for others.
fn escaped(name: &str) -> String {
    name.replace('`', "``").replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(grants: &[&str], databases: &[&str]) -> Vec<&'static str> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        lacking(&owned(grants), &owned(databases)).into_iter().flat_map(|lacking| lacking.rights).collect()
    }

    #[test]
    fn what_is_granted_on_all_or_on_the_very_database_counts() {
        let all = "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION";
        assert!(rights(&[all], &[]).is_empty() && rights(&[all], &["shop"]).is_empty());
        let some = "GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `my\\_shop`.* TO `b`@`%`";
        assert!(rights(&[some], &["my_shop"]).is_empty());
        assert_eq!(rights(&[some], &["my_shop", "other"]), ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"]);
        assert_eq!(rights(&[some], &[]).len(), 4);
        let few = ["GRANT USAGE ON *.* TO `b`@`%`", "GRANT SELECT, SHOW VIEW ON *.* TO `b`@`%`"];
        assert_eq!(rights(&few, &[]), ["TRIGGER", "EVENT"]);
    }
}
