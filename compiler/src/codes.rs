//! Every finding there is: stable name, weight, one-line meaning. Its page, with examples, is in [`crate::explain`].

use crate::finding::Severity;

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable name, `[a-z_]+`.
    pub name: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// What it says, in one line.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($(#[$doc:meta])* $list:ident: $($id:ident $severity:ident $name:literal $meaning:literal;)*) => {
        $(#[doc = $meaning] pub static $id: Code = Code { name: $name, severity: Severity::$severity, meaning: $meaning };)*

        $(#[$doc])*
        pub static $list: &[&Code] = &[$(&$id),*];
    };
}

codes! {
    /// Every finding that comes from plan files alone, by subject.
    CODES:

    // Text.
    SYNTAX Error "syntax" "the text is not a plan";
    NESTING_TOO_DEEP Error "nesting_too_deep" "blocks, lists or names are nested deeper than a plan may be";
    NOT_TEXT Error "not_text" "a file is not text";
    FILE_TOO_LARGE Error "file_too_large" "a file is larger than a plan may be";
    TOO_LARGE Error "too_large" "a string is longer than one may be";

    // Declarations.
    MISSING_PLAN Error "missing_plan" "a runnable file must begin with `plan NAME`";
    UNKNOWN_KIND Error "unknown_kind" "there is no such kind of declaration";
    UNKNOWN_TYPE Error "unknown_type" "the kind has no such type";
    MISSING_TYPE Error "missing_type" "the kind needs a type behind a colon";
    MISSING_NAME Error "missing_name" "the kind needs a name";
    UNEXPECTED_NAME Error "unexpected_name" "the kind takes no name";
    DUPLICATE Error "duplicate" "something is declared twice";
    REPLACED Note "replaced" "a declaration of a library is replaced by the importing file's";
    UNKNOWN_ATTRIBUTE Error "unknown_attribute" "the kind has no such attribute";
    MISSING_ATTRIBUTE Error "missing_attribute" "a required attribute is not there";
    UNKNOWN_BLOCK Error "unknown_block" "no such block may be nested here";
    EMPTY_BLOCK Error "empty_block" "a declaration says nothing";
    ATTRIBUTE_CONFLICT Error "attribute_conflict" "two things that exclude each other are written";
    DRIVER_ATTRIBUTE Error "driver_attribute" "an attribute means nothing to the driver";

    // Values.
    WRONG_TYPE Error "wrong_type" "a value has another type than its attribute wants";
    BAD_VALUE Error "bad_value" "a value has the right type, but cannot be";
    EMPTY_LIST Error "empty_list" "a list that must hold something is empty";
    UNKNOWN_NAME Error "unknown_name" "no `let` or `param` has this name";
    UNKNOWN_REFERENCE Error "unknown_reference" "nothing of this kind has this name";
    UNKNOWN_KEYWORD Error "unknown_keyword" "the attribute does not know this word";
    UNKNOWN_FUNCTION Error "unknown_function" "there is no such function";
    WRONG_ARGUMENTS Error "wrong_arguments" "a function is called with other arguments than it takes";
    LOOP Error "loop" "names rest on one another in a loop";
    MISPLACED_RUN_VALUE Error "misplaced_run_value" "a value that only a run knows stands where it must be known before";
    MISPLACED_SECRET Error "misplaced_secret" "a secret stands where it would be seen";
    BAD_SCHEDULE Error "bad_schedule" "a schedule cannot be read";
    BAD_ADDRESS Error "bad_address" "a store has no address that could be gone to";
    BAD_FILE_NAME Error "bad_file_name" "a name is not a single file name";

    // Imports and parameters.
    UNREADABLE_IMPORT Error "unreadable_import" "an imported file could not be read";
    IMPORT_LOOP Error "import_loop" "files import one another in a loop";
    IMPORTED_PLAN Error "imported_plan" "an imported file is a plan of its own";
    IMPORT_CONFLICT Error "import_conflict" "one library is imported twice with different parameters";
    UNKNOWN_PARAM Error "unknown_param" "a value is given for a parameter that does not exist";
    UNBOUND_PARAM Error "unbound_param" "a parameter has no value";
    BAD_PARAM Error "bad_param" "the text given for a parameter is not of its type";

    // What reaches what.
    UNREACHED_SOURCE Error "unreached_source" "a source reaches no store";
    EMPTY_ARCHIVE Error "empty_archive" "an archive holds no source";
    ARCHIVED_AND_SEPARATE Error "archived_and_separate" "a source is in an archive and separate at once";
    USELESS_EXCLUDE Warning "useless_exclude" "an archive excludes a source that it does not hold";
    UNUSED_NAME Warning "unused_name" "a name is never used";
    AFTER_LOOP Error "after_loop" "sources wait for one another";
    ENDLESS_WINDOW Warning "endless_window" "a window is entered and never left, or left and never entered";
    SEPARATE_WITHOUT_REPOSITORY Error "separate_without_repository" "the source has no tool with a repository of its own";
    REPOSITORY_HOMELESS Error "repository_homeless" "a tool's repository, or its settings, have no folder";
    REPOSITORY_UNREACHABLE Error "repository_unreachable" "a tool cannot keep its repository in a store";
    REPOSITORY_UNRULED Error "repository_unruled" "a store has rules that a tool does not keep";
    WAL_WITHOUT_BASE Error "wal_without_base" "WAL is archived for a source that is no `basebackup`";
    LEVEL_UNSUPPORTED Note "level_unsupported" "a driver cannot do a level of the plan";
    NO_FULL Warning "no_full" "a schedule by level has no full";
    CHANGED_BLOCKS Note "changed_blocks" "differences hold only what changed of large files, or cannot";
    RECOMPRESSED Note "recompressed" "an encrypted archive that is self-contained is compressed again by each run";

    // Names of artefacts.
    SAME_NAME Error "same_name" "two archives write the same artefact name";
    REPEATED_NAME Error "repeated_name" "two runs write the same artefact name";
    COARSE_NAME Warning "coarse_name" "a run that is not of the schedule may write the name of another";
    MISLEADING_NAME Warning "misleading_name" "an artefact's name says that it is packed otherwise than it is";

    // Paths.
    STORE_IN_SOURCE Error "store_in_source" "a store is inside a source that does not exclude it";
    STAGING_IN_SOURCE Error "staging_in_source" "a staging is inside a source that does not exclude it";
    CLEARED_BY_STAGING Error "cleared_by_staging" "a staging that is cleared holds something that must stay";
    DANGEROUS_STAGING Error "dangerous_staging" "a staging is a folder that others live in";
    SHARED_STAGING Error "shared_staging" "two things use one staging";
    SAME_STORE Error "same_store" "two stores are one place";
    NESTED_STORES Warning "nested_stores" "a store is inside another";
    OVERLAPPING_PATHS Warning "overlapping_paths" "one path is inside another and is read twice";
    LIVE_DATABASE Warning "live_database" "files of a live database are read as plain files";
    SWALLOWED_PATH Error "swallowed_path" "an exclusion leaves nothing of a path";
    USELESS_PATTERN Warning "useless_pattern" "a pattern can never do anything";

    // Secrets.
    INLINE_SECRET Warning "inline_secret" "a secret is written into the plan";
    NO_RECIPIENT Error "no_recipient" "an archive is encrypted for nobody";
    BAD_RECIPIENT Error "bad_recipient" "a recipient is no public key";
    LEFT_IN_CLEAR Note "left_in_clear" "a log or a repository goes in clear where archives are encrypted";
    MISSING_IDENTITY Error "missing_identity" "a rehearsal cannot open the archive";

    // Promises.
    COPIES_UNREACHABLE Error "copies_unreachable" "more copies are promised than there are stores";
    OFFSITE_UNREACHABLE Error "offsite_unreachable" "more offsite copies are promised than there are offsite stores";
    LOG_COPIES Warning "log_copies" "a log has fewer copies than are promised of its source";
    SILENT_COPY Warning "silent_copy" "a promised copy is in a store that a run may leave out without a word";
    NEEDED_STORE Note "needed_store" "a store that may be left out without a word is the only one there is";
    COPIES_OF_NEWEST Warning "copies_of_newest" "only the newest run has the copies that are promised";
    QUERY_OF_NO_DATABASE Error "query_of_no_database" "a rehearsal asks a query of a source that is no database";
    POLICY_BROKEN Error "policy_broken" "the plan breaks a policy";

    // The plan played forward.
    RPO_MISSED Error "rpo_missed" "more time passes between two runs than was promised";
    RPO_TIGHT Warning "rpo_tight" "as much time passes between two runs as was promised, and a run takes time";
    RPO_CLOCK_CHANGE Note "rpo_clock_change" "an `rpo` is missed by the hour by which clocks are moved back";
    RPO_UNSCHEDULED Warning "rpo_unscheduled" "an `rpo` is promised, and nothing says when runs are due";
    RTO_UNREHEARSED Note "rto_unrehearsed" "an `rto` is promised for what no rehearsal restores";
    REHEARSAL_LATE Warning "rehearsal_late" "rehearsals are wanted more often than runs come that make them";
    CLOCK_CHANGE Warning "clock_change" "a local time does not exist, or comes twice, on a day on which clocks change";
    SHORT_MONTHS Warning "short_months" "a schedule names a day that not every month has";
    JITTER_OVERLAPS Warning "jitter_overlaps" "runs are delayed by more than the time between them";
    TIMEOUT_OVERLAPS Note "timeout_overlaps" "a run may take longer than the time until the next";
    LEVEL_NEVER_COMES Warning "level_never_comes" "every run of a level is due at the moment of a higher one";
    ENDLESS_CHAIN Warning "endless_chain" "runs rest on one another for years";
    USELESS_RULE Warning "useless_rule" "a rule of `keep` can never keep anything";
    KEEP_WITHOUT_EFFECT Warning "keep_without_effect" "a store that never deletes has a `keep`";
    IMMUTABLE_OUTLASTS_KEEP Warning "immutable_outlasts_keep" "`keep` gives up what `immutable` still holds";
    KEEP_OUTLASTS_IMMUTABLE Note "keep_outlasts_immutable" "`keep` wants what `immutable` no longer protects";
    PINNED_CHAIN Note "pinned_chain" "most runs of a store stay only because others rest on them";
    CUT_CYCLE Warning "cut_cycle" "retention takes the full of a cycle that is not complete";
    LOG_HOLE Note "log_hole" "backups are kept for longer than the log between them";
    MOMENT_LOST Error "moment_lost" "recovery to any moment is promised for longer than it is possible";

    // Allowances.
    UNUSED_ALLOW Warning "unused_allow" "an allowance allows nothing";
    ALLOW_WITHOUT_REASON Warning "allow_without_reason" "an allowance gives no reason";
}

codes! {
    /// Every finding of `plan check --live`: what the world lacks that the plan needs.
    LIVE:

    PATH_MISSING Error "path_missing" "a source's path is not there, or cannot be read";
    PATH_IS_LINK Warning "path_is_link" "a source's path is a symbolic link, which is recorded and not followed";
    STORE_AWAY Error "store_away" "a store is not there";
    STORE_READ_ONLY Error "store_read_only" "a store cannot be written to";
    STORE_UNUSABLE Error "store_unusable" "a store can be read, and no run could use it";
    STATE_UNUSABLE Error "state_unusable" "what runs keep on this machine cannot be used";
    STORE_FULL Warning "store_full" "a store has less room than the last run took";
    STORE_UNSYNCED Warning "store_unsynced" "a file server may lose what it was sent when its power is cut";
    STAGING_AWAY Error "staging_away" "the staging is not there, or cannot be written to";
    STAGING_UNSAFE Error "staging_unsafe" "a staging cannot be cleared without harm";
    STAGING_STRANGERS Warning "staging_strangers" "a staging that no run has used yet holds files";
    STAGING_SHORT Warning "staging_short" "the staging cannot hold what a run builds there";
    SCRATCH_SHORT Warning "scratch_short" "a rehearsal has no place to restore to";
    PLAN_WRITABLE Warning "plan_writable" "others may change a plan that root runs";
    CLOCK_WRONG Warning "clock_wrong" "the newest run began later than now";
    ACCOUNT_MISSING Error "account_missing" "an account that the plan names is not on this machine";
    TOOL_MISSING Error "tool_missing" "a program that a driver starts is not on this machine";
    TOOL_OLD Error "tool_old" "a program is older than the server that it reads";
    SERVER_AWAY Error "server_away" "a database server does not answer";
    SERVER_REFUSES Error "server_refuses" "a database server lets nobody in who comes as the plan does";
    CLUSTER_OTHER Error "cluster_other" "a server is another cluster than the one that was backed up";
    RIGHTS_MISSING Error "rights_missing" "a role lacks the rights that its driver needs";
    DUMP_LACKS Warning "dump_lacks" "a server has something that a dump cannot hold";
    SLOTS_FULL Warning "slots_full" "a server has no replication slot left for a backup";
    NO_CHECKSUMS Note "no_checksums" "the pages of a cluster have no checksums";
    SUMMARIZE_OFF Warning "summarize_off" "a server does not note what changes, so that every backup is a full";
    WAL_LEVEL Error "wal_level" "a server writes too little into its log for a backup";
    ARCHIVE_OFF Error "archive_off" "a server does not archive the log that the plan keeps";
    ARCHIVE_COMMAND Warning "archive_command" "a server archives its log elsewhere";
    ARCHIVE_UNREACHABLE Warning "archive_unreachable" "a server's account cannot do what its `archive_command` needs";
    ARCHIVE_BEHIND Warning "archive_behind" "segments of a server's log wait to be archived";
    ARCHIVE_STANDBY Note "archive_standby" "a server that follows another archives nothing itself";
    ARCHIVE_FAILS Warning "archive_fails" "a server's last attempt to archive failed";
    TIMELINES_APART Warning "timelines_apart" "two clusters archive their logs to one place";
    ARCHIVE_TIMEOUT Warning "archive_timeout" "a server may hold back more of its log than was promised";
    STANZA_MISSING Warning "stanza_missing" "a tool's repository has no stanza, or instance, of this name";
    STANZA_OTHER Error "stanza_other" "a tool's repository belongs to another cluster";
    REPOSITORY_UNREADABLE Error "repository_unreadable" "a tool's repository cannot be read";
    CONFIG_CONFLICT Error "config_conflict" "a tool's own settings contradict the plan";
    NAME_SPOILS Error "name_spoils" "a database has a name with which its tool makes no backup that can be restored";
}

codes! {
    /// Every finding between plans that are checked together.
    TOGETHER:

    SHARED_PLAN_NAME Error "shared_plan_name" "two plans of one name write to one store";
    SHARED_ARTEFACT_NAME Error "shared_artefact_name" "two plans write one artefact name into one store";
}

/// The code with this name.
pub fn code(name: &str) -> Option<&'static Code> {
    CODES.iter().chain(LIVE).chain(TOGETHER).find(|code| code.name == name).copied()
}
