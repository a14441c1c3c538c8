//! What of a database a role cannot have in its dump: asked beforehand, as `pg_dump` tells of it when it is too late, or not at all.

use super::names::shown;
use super::refusal::{MEND_OF_OBJECTS, MEND_OF_POLICIES};
use super::warned::SUBSCRIPTIONS;
use super::{DriverError, Job};

/// Something of a database that does not come into its dump, or for which there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// What and why, in words.
    pub what: String,
    /// What to do.
    pub mend: String,
    /// Whether it alone is missing; else there is no dump of the database.
    pub goes_on: bool,
}

impl Unread {
    /// A database that lets nobody in who comes like this.
    pub(super) fn refused(error: &DriverError) -> Unread {
        let (why, mend) = error.in_short();
        let mend = mend.unwrap_or("see that the role is let in");
        Unread { what: format!("it cannot be dumped: {why}"), mend: mend.to_owned(), goes_on: false }
    }
}

/// Tables of which policies hide rows from the role, but for those that come with an extension and are not dumped. It says so for `pg_dump`
/// as well, which refuses them.
const HIDING: &str = "select format('%s.%s', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace \
     where relkind = 'r' and relrowsecurity and relpersistence <> 't' and row_security_active(c.oid) \
     and (exists (select from pg_extension where c.oid = any (extconfig)) \
     or not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')) order by 1";
/// How many large objects the role may not read, and the first of them.
const OBJECTS: &str = "select count(*), min(oid) from pg_largeobject_metadata \
     where current_setting('lo_compat_privileges') = 'off' \
     and not (select rolsuper from pg_roles where rolname = current_user) \
     and not exists (select from aclexplode(coalesce(lomacl, acldefault('L', lomowner))) \
     where privilege_type = 'SELECT' and (grantee = 0 or pg_has_role(grantee, 'usage'))) having count(*) > 0";
/// Subscriptions of the database, for a role that `pg_dump` does not dump them for.
const SUBSCRIPTIONS_OF: &str = "select subname from pg_subscription \
     where subdbid = (select oid from pg_database where datname = current_database()) \
     and not (select rolsuper from pg_roles where rolname = current_user) order by 1";
/// User mappings whose options the server hides from the role, as the view `pg_user_mappings` does it: `pg_dump` makes them without, and says
/// nothing. Whether they have some is not known.
const HIDDEN: &str = "select umid, coalesce(usename, 'public'), m.srvname from pg_user_mappings m \
     join pg_foreign_server s on s.oid = srvid join pg_roles me on me.rolname = current_user \
     where umoptions is null and not me.rolsuper and not case umuser when 0 then pg_has_role(srvowner, 'usage') \
     else usename = current_user and (pg_has_role(srvowner, 'usage') or has_server_privilege(s.oid, 'usage')) end order by 2, 3";
/// Those that have options, for a role that may read the table behind the view.
const WITH_OPTIONS: &str = "select oid from pg_user_mapping where umoptions is not null";

/// What is not in the dump of a database, and why there would be none.
///
/// # Errors
/// When the server does not answer.
pub(super) fn lacking(job: &Job<'_>, database: &[u8]) -> Result<Vec<Unread>, DriverError> {
    let subscriptions = job.query_of::<1>(database, SUBSCRIPTIONS_OF)?;
    let subscriptions = subscriptions.iter().map(|[name]| format!("`{}`", shown(name)));
    let hiding = job.query_of::<1>(database, HIDING)?;
    let hiding = hiding.iter().map(|[table]| format!("`{}`", shown(table)));
    let mut lacking = Vec::new();
    lacking.extend(listed(hiding.collect()).map(|tables| Unread {
        what: format!("it cannot be dumped: its role does not see all rows of {tables} (row level security)"),
        mend: MEND_OF_POLICIES.to_owned(),
        goes_on: false,
    }));
    lacking.extend(job.query_of::<2>(database, OBJECTS)?.iter().map(|[count, one]| Unread {
        what: format!(
            "it cannot be dumped: its role may not read {} large objects of others (such as {})",
            shown(count),
            shown(one)
        ),
        mend: MEND_OF_OBJECTS.to_owned(),
        goes_on: false,
    }));
    lacking.extend(listed(subscriptions.collect()).map(|names| Unread {
        what: format!("its dump lacks the subscriptions {names}"),
        mend: SUBSCRIPTIONS.to_owned(),
        goes_on: true,
    }));
    lacking.extend(mappings(job, database)?);
    Ok(lacking)
}

/// The same of user mappings alone, of which `pg_dump` does not speak.
///
/// # Errors
/// When the server does not answer.
pub(super) fn mappings(job: &Job<'_>, database: &[u8]) -> Result<Option<Unread>, DriverError> {
    let mut hidden = job.query_of::<3>(database, HIDDEN)?;
    if !hidden.is_empty()
        && let Ok(known) = job.query_of::<1>(database, WITH_OPTIONS)
    {
        hidden.retain(|[mapping, ..]| known.iter().any(|[other]| other == mapping));
    }
    let names = hidden.iter().map(|[_, who, server]| format!("`{}` on `{}`", shown(who), shown(server)));
    Ok(listed(names.collect()).map(|names| Unread {
        what: format!("its dump has the user mappings {names} without their options, such as passwords"),
        mend: "the server shows them to a superuser alone: let one dump them (`alter role NAME superuser`)"
            .to_owned(),
        goes_on: true,
    }))
}

/// The first few of many.
fn listed(names: Vec<String>) -> Option<String> {
    const LISTED: usize = 3;
    let shown = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => None,
        1..=LISTED => Some(shown),
        all => Some(format!("{shown} and {} more", all - LISTED)),
    }
}
