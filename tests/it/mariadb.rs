//! A real MariaDB server, dumped and given back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::pg_base::is_root;
use crate::scenario::{Answer, Scenario, shell, wait_for};

const WORD: &str = "streng-geheim";

/// What makes the server worth a backup; names that would be options, paths, ends of lines and quotes among them.
const FILL: &str = r#"
create database shop; use shop;
create table t (id int primary key, v varchar(100), b blob) engine=innodb;
insert into t values (1, 'a\n\'"\\`;--', x'00ff0a'), (2, null, null);
create view vw as select id, v from t;
create sequence sq start with 5; select nextval(sq);
create table hist (x int) with system versioning; insert into hist values (1); update hist set x = 2;
create function f() returns int deterministic return 42;
create procedure p() insert into t values (3, 'by p', null);
create trigger tr before insert on t for each row set new.v = upper(new.v);
create event ev on schedule every 1 day do delete from t;
create database `--all-databases`; create table `--all-databases`.t (i int); insert into `--all-databases`.t values (3);
create database `q"'x/..%`; create table `q"'x/..%`.`--t` (i int); insert into `q"'x/..%`.`--t` values (4);
create database `users`; create database `.hid`; create database `ü b`;
create table `ü b`.far (i int); insert into `ü b`.far values (6); create view shop.early as select i from `ü b`.far;
create sequence shop.z; create table shop.a (i int default nextval(shop.z), j int); insert into shop.a (j) values (7);
create user app@localhost identified by 'geheim'; create role r; grant select on shop.* to r; grant r to app@localhost;
set default role r for app@localhost; grant insert on shop.t to app@localhost;
create table shop.gone (i int); grant select on shop.gone to app@localhost; drop table shop.gone;
create user backup@localhost identified by 'streng-geheim';
grant select, show view, trigger, event on *.* to backup@localhost;
create user poor@localhost identified by 'streng-geheim'; grant select on *.* to poor@localhost;
"#;

/// What `mariadb-dump` ends at: views of which something is gone, one on a function that none but its definer may call with another
/// on top, a table whose history is of transactions, with a view and a trigger that need it.
const ODD: &str = r#"
create database odd; use odd; create table t (i int, j int); insert into t values (1, 2);
create view `bro"'\ken` as select i, j as `a``b`, 'it''s\n\\' as c from t where j > 0 with cascaded check option;
create view gone as select i from `ü b`.far;
create view over_it as select * from gone;
create function odd.secret() returns int deterministic return 5;
create sql security invoker view odd.own as select odd.secret() as i;
create sql security definer view odd.above as select i + 1 as i from odd.own;
create table trx (x int, s bigint unsigned generated always as row start invisible,
  e bigint unsigned generated always as row end invisible, period for system_time (s, e)) with system versioning;
create table hist (x int) with system versioning;
create view a_view as select x from trx;
create table log (x int);
create trigger odd.note after insert on trx for each row insert into log values (new.x);
insert into trx values (1); update trx set x = 2; insert into trx values (3); insert into hist values (1); update hist set x = 2;
create table near (i int, f float not null, g float(12,3), h float as (i / 3), d double);
insert into near (i, f, g, d) values (1, 16777215, 123456.789, 1.2345678901234567); create view of_near as select f, g from near;
create event odd.asleep on schedule every 1 day disable on slave do delete from log;
alter table t drop column j; drop table `ü b`.far; drop view shop.early;
"#;

/// All of that, as it must be after a restore.
const ODD_LOOK: &str = r#"
select x from odd.a_view order by x; select x from odd.log order by x; select i from odd.t; select i from odd.above;
select count(*) from odd.hist for system_time all; select count(*) from odd.trx for system_time all;
select table_name from information_schema.views where table_schema = 'odd' order by 1;
select trigger_name from information_schema.triggers where trigger_schema = 'odd';
"#;

/// A database whose name would start a shell where a client took it for a command.
const LINES: &str = "two\nlines\n\\! touch pwned";

/// All of it, as it must be after a restore.
const LOOK: &str = r#"
select id, v, hex(b) from shop.t order by id; select * from shop.vw order by id;
select shop.f(), (select count(*) from shop.hist for system_time all), (select x from shop.hist);
select nextval(shop.sq) > 5;
select trigger_name, action_statement from information_schema.triggers where trigger_schema = 'shop';
select event_name, interval_value, interval_field, status from information_schema.events;
select routine_name, routine_type from information_schema.routines where routine_schema = 'shop' order by 1;
select i from shop.early; select i, j from shop.a;
select * from `--all-databases`.t; select * from `q"'x/..%`.`--t`;
select schema_name from information_schema.schemata where schema_name <> 'performance_schema' order by 1;
select user, host, is_role, authentication_string from mysql.user where user in ('app', 'backup', 'poor', 'r') order by 1;
show grants for app@localhost; show grants for r;
"#;

/// A server on a socket of its own; it ends with the value.
struct Server {
    folder: PathBuf,
    child: Child,
}

impl Server {
    fn start(scenario: &Scenario) -> Server {
        let folder = scenario.path("my");
        fs::create_dir(&folder).unwrap();
        let user = if is_root() {
            for above in folder.ancestors().take_while(|above| above.as_os_str() != "/tmp") {
                shell(&folder, &format!("chmod a+x '{}'", above.display()));
            }
            shell(&folder, "chown mysql: .");
            "--user=mysql"
        } else {
            "--user="
        };
        shell(
            &folder,
            &format!(
                "mariadb-install-db --no-defaults {user} --datadir=\"$PWD/data\" --tmpdir=\"$PWD\" --skip-test-db \
                 --auth-root-authentication-method=normal > install.log 2>&1 || {{ cat install.log >&2; false; }}"
            ),
        );
        let program =
            ["/usr/sbin/mariadbd", "/usr/bin/mariadbd"].into_iter().find(|path| fs::exists(path).unwrap());
        let at = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
        let mut command = Command::new(program.unwrap());
        command.args(["--no-defaults", "--skip-networking", "--innodb-flush-method=nosync", user]);
        command.args([at("datadir", "data"), at("socket", "s"), at("pid-file", "pid"), at("tmpdir", "data")]);
        // Keys of encrypted tables.
        shell(&folder, "printf '7;%064d\\n' 1 2 | sed '2s/^7/1/' > keys && chmod 644 keys");
        command.args(["--plugin-load-add=file_key_management", "--plugin-load-add=auth_ed25519"]);
        command.arg(at("file-key-management-filename", "keys"));
        let log = fs::File::create(folder.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = Server { child: command.spawn().unwrap(), folder };
        wait_for("the server", || server.ask("root", "", "select 1").is_some());
        server
    }

    fn ask(&self, user: &str, password: &str, sql: &str) -> Option<String> {
        let out = Command::new("mariadb")
            .args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"])
            .args([format!("--user={user}"), format!("--socket={}", self.folder.join("s").display())])
            .arg(format!("--execute={sql}"))
            .env("MYSQL_PWD", password)
            .output()
            .unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }

    #[track_caller]
    fn sql(&self, sql: &str) -> String {
        self.ask("root", "", sql).unwrap_or_else(|| panic!("the server refuses {sql}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_plan(scenario: &Scenario, source: &str, verify: &str) {
    let socket = scenario.path("my/s");
    scenario.write(
        "p.plan",
        format!(
            "plan p\n\nstore store: dir {{\n  path = \"store\"\n}}\n\nsource db: mariadb {{\n  driver = dump\n  socket = \"{}\"\n  \
             password = env(\"WORD\")\n  {source}\n}}\n\narchive main {{\n  from = all\n  to = [store]\n}}\n\n{verify}",
            socket.display()
        ),
    );
}

fn live(scenario: &Scenario) -> Answer {
    scenario.plan(["check", "--live", "p.plan"])
}

/// Has a program do something before the next dump.
fn before_dump(scenario: &Scenario, script: &str) {
    scenario.write("hook", script);
}

/// Programs of the client that note what they are called with.
fn noting(scenario: &Scenario) -> String {
    fs::create_dir(scenario.path("bin")).unwrap();
    for program in ["mariadb", "mariadb-dump"] {
        let noted = scenario.path("noted");
        let hook = scenario.path("hook").display().to_string();
        let hook = match program {
            "mariadb-dump" => format!("if mv '{hook}' '{hook}.now' 2> /dev/null; then . '{hook}.now'; fi\n"),
            _ => String::new(),
        };
        let text = format!(
            "#!/bin/sh\necho \"$0 $*\" >> '{}'\n{hook}exec /usr/bin/{program} \"$@\"\n",
            noted.display()
        );
        scenario.write(&format!("bin/{program}"), text);
        fs::set_permissions(scenario.path(&format!("bin/{program}")), fs::Permissions::from_mode(0o755))
            .unwrap();
    }
    format!("{}:{}", scenario.path("bin").display(), std::env::var("PATH").unwrap())
}

/// One server; what is dumped of it is rehearsed, restored, and what was there is there again.
#[test]
fn all_of_a_server_comes_back_whatever_its_names() {
    let scenario = Scenario::new();
    let path = noting(&scenario);
    let scenario = scenario.env("PATH", &path).env("WORD", WORD);
    let server = Server::start(&scenario);
    server.sql(FILL);
    server.sql(&format!(
        "create database `{LINES}`; create table `{LINES}`.t (i int); insert into `{LINES}`.t values (5)"
    ));
    let verify = |query: &str| {
        format!(
            "verify {{\n  restore = db\n  query = \"{query}\"\n  command = [\"sh\", \"-c\", \"unset HOME; mariadb -N -e 'select i from \
             `--all-databases`.t' | grep -qx 3\"]\n}}\n"
        )
    };
    let true_query = "select (select count(*) from shop.t) = 2 and (select count(*) from mysql.user where user = 'app') = 1";
    // What takes plugins of the server.
    server.sql("create user ed@localhost identified via ed25519 using password('Geheim-1')");
    server.sql("create table shop.sealed (i int) encrypted=yes encryption_key_id=7; insert into shop.sealed values (1)");
    write_plan(&scenario, "user = \"backup\"", &verify(true_query));
    live(&scenario).status(0).says("nothing to report");
    let run = scenario.next_day().plan(["run", "p.plan"]).status(0);
    assert!(!run.said().contains("warning"), "{}", run.said());
    let noted = scenario.read("noted");
    assert!(noted.contains("--databases -- --all-databases") && !noted.contains(WORD), "{noted}");

    // A living server's temporary table, where one that starts would delete it.
    let temporary = scenario.path("../tmp/#sql-temptable-1-1-1.MAI");
    fs::write(&temporary, "").unwrap();
    let rehearsed = scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
    fs::remove_file(&temporary).unwrap();
    rehearsed
        .says("7 databases")
        .says("passed   users")
        .says("1 grant on what is not")
        .says("passed   query")
        .says("passed   command");
    write_plan(&scenario, "user = \"backup\"", &verify("select count(*) from shop.t"));
    scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("it answered `2`, not true");
    assert_eq!(shell(&scenario.path("../tmp"), "ls -A"), "");
    // What its manifest names and is not here is told, where it is missed; and nothing is loaded from elsewhere.
    let manifest = "store/.backplan/p/manifests/*";
    let rename = |from: &str, to: &str| {
        shell(&scenario.path("."), &format!("sed -i 's|plugins: {from}$|plugins: {to}|' {manifest}"))
    };
    rename("auth_ed25519 file_key_management", "auth_nothing /etc/x ha_connect file_key_management");
    let answer =
        scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("passed   load").says("ERROR 1524");
    answer.says("has plugins that are not on this machine, or do not work here: auth_nothing");
    rename("auth_nothing .*", "auth_ed25519 file_key_management");

    scenario
        .plan(["restore", "p.plan", "--source", "db", "--to", "start", "--start"])
        .status(2)
        .says("for a Postgres cluster alone");
    scenario.plan(["restore", "p.plan", "--in-place"]).says("dumps of a MariaDB server");
    scenario.plan(["restore", "p.plan", "--source", "db", "--to", "back"]).status(0);
    // What is granted of a table that is gone does not come back, and need not.
    server.sql("revoke select on shop.gone from app@localhost");
    let was = server.sql(LOOK);
    assert!(was.contains("42\t2\t2") && was.contains("GRANT `r` TO `app`"), "{was}");
    let databases = ["shop", "--all-databases", "q\"'x/..%", "users", ".hid", "ü b", LINES];
    databases.iter().for_each(|name| drop(server.sql(&format!("drop database `{name}`"))));
    server.sql("drop user app@localhost, backup@localhost, poor@localhost, ed@localhost; drop role r");
    let load = "set -e\nload() { mariadb --no-defaults --user=root --socket=my/s --sandbox --binary-mode \"$@\"; }\n\
                for sql in back/databases/* back/databases/.[!.]*; do [ ! -f \"$sql\" ] || load < \"$sql\" || again=\"$sql\"; done\n\
                load < \"$again\"\n\
                load --force < back/users.sql 2>&1";
    shell(&scenario.path("."), load);
    assert_eq!(server.sql(LOOK), was);
    assert_eq!(server.sql(&format!("select i from `{LINES}`.t")), "5\n");
    assert!(!fs::exists(scenario.path("pwned")).unwrap());
    assert_eq!(server.ask("app", "geheim", "select count(*) from shop.vw"), Some("2\n".to_owned()));
    server.sql("call shop.p()");
    assert_eq!(server.sql("select v from shop.t where id = 3"), "BY P\n");
    what_a_dump_cannot_hold_costs_itself(&scenario, &server);
}

/// Broken views and histories of transactions are told of, before and by each run; all else is there again, and the views that can be.
fn what_a_dump_cannot_hold_costs_itself(scenario: &Scenario, server: &Server) {
    server.sql(ODD);
    write_plan(scenario, "user = \"backup\"", "verify {\n  restore = db\n}\n");
    let told = |answer: Answer| {
        answer
            .says("view `odd.bro\"'\\ken` is broken")
            .says("view `odd.gone` is broken, or its account may not use what it needs: the dump has its definition alone, in `views.sql`")
            .says("view `odd.over_it` is broken")
            .says("view `odd.own` is broken")
            .says("view `odd.above` is broken")
            .says("table `odd.trx` keeps its history by transactions")
            .says("`odd.near.f` is a FLOAT: the dump has six digits of each number")
            .says("`odd.asleep` is an event of the server that this one is a replica of")
    };
    told(live(scenario).status(0).says("dump_lacks"));
    let run = told(scenario.next_day().plan(["run", "p.plan"]).status(3));
    assert!(!run.said().contains("`odd.a_view`") && !run.said().contains("`odd.hist`"), "{}", run.said());
    // Of the account that rehearses, all may be called; what is gone is gone.
    let rehearsed = scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
    rehearsed.says("databases; 3 of its views broken as before");

    shell(&scenario.path("."), "rm -r back");
    scenario.plan(["restore", "p.plan", "--source", "db", "--to", "back"]).status(0);
    let odd = server.sql(ODD_LOOK);
    assert!(odd.starts_with("2\n3\n1\n3\n1\n6\n2\n3\n"), "{odd}");
    server.sql("drop database odd");
    let load = "load() { mariadb --no-defaults --user=root --socket=my/s --sandbox --binary-mode \"$@\"; }\n\
                load < back/databases/odd.sql\nload --force < back/views.sql 2> errors";
    shell(&scenario.path("."), load);
    let errors = scenario.read("errors");
    assert_eq!(errors.lines().filter(|line| line.starts_with("ERROR ")).count(), 3, "{errors}");
    // What was broken is not there; the history of transactions is not either.
    let broken = ["bro\"'\\\\ken\n", "gone\n", "over_it\n"];
    let wanted = broken
        .iter()
        .fold(odd.replacen("1\n6\n2\n3\n", "1\n6\n2\n2\n", 1), |text, name| text.replace(name, ""));
    assert_eq!(server.sql(ODD_LOOK), wanted);
    // What is told of a FLOAT is true, and of no other number; as a DOUBLE it is whole.
    let near =
        "select cast(f as double) - 16777215, cast(g as double) from odd.near where d = 1.2345678901234567";
    assert_eq!(server.sql(near), "-15\t123456.7890625\n");
    // The definition of one makes it again where its column is there again.
    server.sql("alter table odd.t add j int; update odd.t set j = 2");
    let again = "mariadb --no-defaults --user=root --socket=my/s --force < back/views.sql";
    shell(&scenario.path("."), again);
    assert_eq!(server.sql("select * from odd.`bro\"'\\ken`"), "1\t2\tit's\\n\\\\\n");
}

#[test]
fn what_a_dump_would_lack_is_told_and_what_it_cannot_be_is_refused() {
    let scenario = Scenario::new();
    let path = noting(&scenario);
    let scenario = scenario.env("WORD", WORD).env("PATH", &path);
    let server = Server::start(&scenario);
    server.sql(FILL);
    write_plan(&scenario, "user = \"poor\"", "");
    live(&scenario)
        .status(0)
        .says("rights_missing")
        .says("not granted SHOW VIEW, TRIGGER, EVENT on all databases");
    let refused = scenario.next_day().plan(["run", "p.plan"]).status(1);
    refused.says("Access denied").says("mend `user`");
    server.sql("grant show view, event on *.* to poor@localhost");
    // The server shows no trigger to it, and no error either.
    let run = scenario.next_day().plan(["run", "p.plan"]).status(3);
    run.says("not granted TRIGGER on all databases: what it cannot see is not in the dump");

    server.sql("create table shop.plain (i int) engine=myisam");
    write_plan(&scenario, "user = \"backup\"\n  databases = [\"shop\", \"--all-databases\"]", "");
    scenario.next_day().plan(["run", "p.plan"]).status(3).says("`shop.plain` knows no transactions");
    let held = scenario.plan(["ls", "latest", "-f", "p.plan"]).status(0);
    let held = held.says("db/databases/shop.sql").says("db/databases/--all-databases.sql");
    assert!(!held.said().contains("users.sql"), "{}", held.said());
    write_plan(&scenario, "user = \"backup\"\n  exclude = [\"shop\", \"gone\"]", "");
    live(&scenario).status(0).says("shows no database `gone`");
    let run = scenario.next_day().plan(["run", "p.plan"]).status(0);
    assert!(!run.said().contains("transactions"), "{}", run.said());
    let held = scenario.plan(["ls", "latest", "-f", "p.plan"]).status(0).says("db/users.sql");
    assert!(!held.said().contains("shop.sql"), "{}", held.said());
    // Nobody misses a database but the plan, and that once.
    server.sql("drop database users");
    let told = "source `db`: database `users` of run 00000003-";
    scenario.next_day().plan(["run", "p.plan"]).status(3).says(told).says("is the last that has it");
    scenario.next_day().plan(["run", "p.plan"]).status(0);

    what_changes_or_breaks_meanwhile_costs_itself(&scenario, &server);

    write_plan(&scenario, "user = \"backup\"\n  databases = [\"none\"]", "");
    live(&scenario).status(1).says("shows no database `none`");
    scenario.next_day().plan(["run", "p.plan"]).status(1).says("shows no database `none`");
    write_plan(&scenario, "user = \"nobody\"", "");
    live(&scenario)
        .status(1)
        .says("server_refuses")
        .says("Access denied")
        .says("the password is wrong, there is no such account for who comes from here");
    let run = scenario.next_day().plan(["run", "p.plan"]).status(1).says("Access denied");
    assert!(!run.said().contains("attempt"), "{}", run.said());
    write_plan(&scenario, "port = 1\n  databases = [\"a\"]\n  exclude = [\"b\"]", "");
    let wrong = scenario.plan(["check", "p.plan"]).status(1);
    wrong.says("`exclude` means nothing beside `databases`").says("`port` means nothing beside `socket`");
    drop(server);
    write_plan(&scenario, "user = \"backup\"", "");
    live(&scenario).status(1).says("server_away").says("Can't connect");
}

/// A database that is dropped is no failure, one that is altered is begun again, and a table that cannot be read costs itself.
fn what_changes_or_breaks_meanwhile_costs_itself(scenario: &Scenario, server: &Server) {
    let socket = scenario.path("my/s");
    let drop = format!(
        "MYSQL_PWD= mariadb --no-defaults --user=root --socket='{}' -e 'drop database zzz'\n",
        socket.display()
    );
    server.sql("create database zzz");
    before_dump(scenario, &drop);
    let run = scenario.next_day().plan(["run", "p.plan"]).status(0);
    run.says("database `zzz` was dropped on the server before it could be read");
    let held =
        scenario.plan(["ls", "latest", "-f", "p.plan"]).status(0).says("db/databases/--all-databases.sql");
    assert!(!held.said().contains("zzz"), "{}", held.said());
    let altered = "echo \"mariadb-dump: Couldn't execute 'show create table \\`t\\`': Table 'a.t' doesn't exist (1146)\" >&2; exit 2\n";
    before_dump(scenario, altered);
    scenario.next_day().plan(["run", "p.plan"]).status(0);

    server.sql("create database zzz; create table zzz.w (i int, v varchar(99)) engine=myisam; create table zzz.x (i int)");
    server.sql("insert into zzz.w select seq, 'words' from shop.seq_1_to_2000; flush tables");
    let file = fs::File::options().write(true).open(scenario.path("my/data/zzz/w.MYD")).unwrap();
    file.set_len(500).unwrap();
    let run = scenario.next_day().plan(["run", "p.plan"]).status(1);
    let run = run.says("table `zzz.w` cannot be read and is not in the dump").says("marked as crashed");
    assert!(!run.said().contains("attempt"), "{}", run.said());
    scenario
        .plan(["ls", "latest", "-f", "p.plan"])
        .status(0)
        .says("db/databases/zzz.sql")
        .says("db/users.sql");
    scenario
        .plan(["restore", "p.plan", "--source", "db", "--to", "part"])
        .says("has only a part of source `db`: table `zzz.w`");
    let dumped = scenario.read("part/databases/zzz.sql");
    assert!(dumped.contains("CREATE TABLE `x`") && !dumped.contains("`w`"), "{dumped}");

    // What the plan names is missed.
    write_plan(scenario, "user = \"backup\"\n  databases = [\"zzz\"]", "retry {\n  attempts = 1\n}\n");
    before_dump(scenario, &drop);
    let run = scenario.next_day().plan(["run", "p.plan"]).status(1);
    run.says("database `zzz` was dropped while the run went: mend `databases` if it is to be gone");
}
