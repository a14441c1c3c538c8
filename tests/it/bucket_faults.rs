//! What a bucket does to its guests: each of it costs a run at the most, never a backup, and is told with what to do about it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::bucket_memory::{Contents, Death, Memory};
use crate::bucket_way::{Fate, deciding};
use crate::buckets::{Server, store};
use crate::scenario::{Answer, Scenario, rounds, shell};

/// A plan of one folder of files, in a bucket behind a way.
struct World {
    scenario: Scenario,
    server: Server,
    /// While it is shut, the fate of a request is the way's.
    is_shut: Arc<AtomicBool>,
}

impl World {
    /// With a first backup, made over a way that does nothing yet.
    fn begin(bytes: usize, fate: impl Fn(&str) -> Fate + Send + Sync + 'static) -> World {
        let server = Server::start();
        let is_shut = Arc::new(AtomicBool::new(false));
        let shut = Arc::clone(&is_shut);
        let port =
            deciding(
                server.port,
                move |head| {
                    if shut.load(Ordering::SeqCst) { fate(head) } else { Fate::Carried }
                },
            );
        let text = format!(
            "plan p\n{}source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = [site]\n  to = [far]\n}}\n\
             retry {{\n  attempts = 1\n}}\n",
            store("far", port, "")
        );
        let scenario = Scenario::new().file("p.plan", text).file("site/sub/a", "day 0");
        let scenario = scenario.env("KEY_ID", "the-id-of-a-key").env("KEY", "the-key-of-that-id");
        shell(&scenario.path("site"), &format!("head -c {bytes} /dev/urandom > big"));
        scenario.next_day().plan(["run"]).status(0);
        World { scenario, server, is_shut }
    }

    fn shut(&self, is_shut: bool) {
        self.is_shut.store(is_shut, Ordering::SeqCst);
    }

    /// A run over the way as it is then: it makes no backup, and takes none.
    fn costs_a_run(&self, code: i32) -> Answer {
        let before = self.runs();
        self.scenario.write("site/sub/a", "another day");
        self.shut(true);
        let answer = self.scenario.next_day().plan(["run"]).status(code);
        self.shut(false);
        assert_eq!(self.runs(), before);
        self.scenario.plan(["verify", "--all"]).status(0);
        answer
    }

    /// The runs that there are.
    fn runs(&self) -> BTreeSet<String> {
        let keys = self.server.keys();
        keys.into_iter().filter(|key| key.contains("/manifests/")).collect()
    }

    /// The next run makes a backup, which comes back.
    fn goes_on(&self, to: &str) {
        let before = self.runs().len();
        self.scenario.next_day().plan(["run"]).status(0);
        assert_eq!(self.runs().len(), before + 1);
        self.comes_back(to);
        assert_eq!(self.server.unfinished(), 0);
    }

    fn comes_back(&self, to: &str) {
        self.scenario.plan(["restore", "--to", to]).status(0);
        let found = shell(&self.scenario.path("."), &format!("find {to} -type d -name site | tail -1"));
        shell(&self.scenario.path("."), &format!("diff -r site {}", found.trim()));
    }

    fn artefact(&self) -> String {
        self.server.keys().into_iter().rfind(|key| key.ends_with(".tar.gz")).unwrap()
    }
}

fn is_listing(head: &str) -> bool {
    head.lines().next().is_some_and(|line| line.contains("list-type=2"))
}

#[test]
fn a_bucket_that_refuses_costs_a_run_and_says_what_to_do() {
    // What keys may not do, and a clock that is wrong: the one of listings alone, the other of everything.
    let is_late = Arc::new(AtomicBool::new(false));
    let late = Arc::clone(&is_late);
    let world = World::begin(1000, move |head| match late.load(Ordering::SeqCst) {
        true => Fate::Refused(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        false if is_listing(head) => Fate::Forbidden,
        false => Fate::Carried,
    });
    world.costs_a_run(1).says("AccessDenied").says("what these keys may do there");
    for command in ["list", "status", "verify"] {
        world.shut(true);
        world.scenario.plan([command]).status(1).says("AccessDenied");
        world.shut(false);
    }
    world.goes_on("back");
    is_late.store(true, Ordering::SeqCst);
    world.costs_a_run(1).says("RequestTimeTooSkewed").says("the clock of this machine");
    world.goes_on("again");
}

#[test]
fn what_a_bucket_refuses_for_good_is_not_packed_again() {
    let parts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&parts);
    let world = World::begin(9_000_000, move |head| {
        let is_part = head.starts_with("PUT ") && head.lines().next().unwrap().contains("partNumber=1");
        count.fetch_add(usize::from(is_part), Ordering::SeqCst);
        if is_part { Fate::Forbidden } else { Fate::Carried }
    });
    let plan = world.scenario.read("p.plan").replace("attempts = 1", "attempts = 3");
    world.scenario.write("p.plan", plan);
    world.costs_a_run(1).says("AccessDenied").says("what these keys may do there");
    assert_eq!(parts.load(Ordering::SeqCst), 1);
    world.goes_on("back");
}

#[test]
fn a_connection_that_is_reset_within_a_part_costs_a_run_only_where_it_always_is() {
    let (resets, is_always) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (count, always) = (Arc::clone(&resets), Arc::clone(&is_always));
    let world = World::begin(9_000_000, move |head| {
        let is_part = head.starts_with("PUT ") && head.lines().next().unwrap().contains("partNumber=1");
        if is_part && (count.fetch_add(1, Ordering::SeqCst) == 0 || always.load(Ordering::SeqCst)) {
            return Fate::Reset;
        }
        // The server is slow besides: its answers come in pieces.
        if always.load(Ordering::SeqCst) { Fate::Carried } else { Fate::Slow }
    });
    // A server that is never heard out is away.
    world.costs_a_run(1).says("Connection reset by peer").says("can be reached from here");
    assert!(resets.load(Ordering::SeqCst) > 1, "a part is sent more than once");
    world.goes_on("back");
    // Once only: it is sent again, and the run makes its backup.
    is_always.store(false, Ordering::SeqCst);
    resets.store(0, Ordering::SeqCst);
    world.shut(true);
    world.goes_on("again");
    assert!(resets.load(Ordering::SeqCst) > 1);
}

#[test]
fn what_a_bucket_gives_back_otherwise_is_found_by_all_who_read_it() {
    let cut = Arc::new(Mutex::new(String::new()));
    let name = Arc::clone(&cut);
    let world = World::begin(300_000, move |head| {
        let (line, name) = (head.lines().next().unwrap_or_default(), name.lock().unwrap());
        let is_cut = line.starts_with("GET ") && !name.is_empty() && line.contains(name.as_str());
        if is_cut { Fate::Cut } else { Fate::Carried }
    });
    let artefact = world.artefact();
    *cut.lock().unwrap() = artefact.rsplit('/').next().unwrap().to_owned();
    // Each answer ends too early, however often it is asked for.
    world.shut(true);
    for (command, to) in [("verify", None), ("restore", Some("cut"))] {
        let answer = world.scenario.plan([command].into_iter().chain(to.map(|_| "--to")).chain(to));
        assert!(answer.code != 0, "{answer:?}");
        answer.says("store `far`");
    }
    world.shut(false);
    world.comes_back("back");
    // As many bytes as before, and one of them another.
    world.server.exchange(&artefact, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
    });
    let found = world.scenario.plan(["verify"]);
    assert!(found.code != 0, "{found:?}");
    let restored = world.scenario.plan(["restore", "--to", "changed"]);
    assert!(restored.code != 0, "{restored:?}");
    // The next run makes a backup that is whole, and what was changed is still told.
    world.scenario.write("site/sub/a", "another day");
    world.scenario.next_day().plan(["run"]);
    world.comes_back("whole");
    assert!(world.scenario.plan(["verify", "--all"]).code != 0);
}

/// One of several that try a run whose connection dies, with a plan and a bucket of his own.
struct Trying {
    scenario: Scenario,
    memory: Memory,
    begin: Contents,
}

impl Trying {
    /// With a first backup, and the bucket and this machine's state kept as they are behind it.
    fn begin(bytes: usize) -> Trying {
        let memory = Memory::start();
        let text = format!(
            "plan p\n{}source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = [site]\n  to = [far]\n}}\n\
             keep {{\n  last = 1\n}}\nretry {{\n  attempts = 1\n}}\n",
            store("far", memory.port, "")
        );
        let scenario = Scenario::new().file("p.plan", text).file("site/sub/a", "day 0");
        let scenario = scenario.env("KEY_ID", "the-id-of-a-key").env("KEY", "the-key-of-that-id");
        // Nothing that becomes smaller.
        shell(&scenario.path("site"), &format!("head -c {bytes} /dev/urandom > big"));
        scenario.next_day().plan(["run"]).status(0);
        shell(&scenario.path(".."), "cp -a state kept");
        let begin = memory.contents();
        Trying { scenario, memory, begin }
    }

    /// A run of the second day; from this request on nobody answers.
    fn run(&self, day: usize, death: Option<Death>) -> Answer {
        shell(&self.scenario.path(".."), "rm -rf state && cp -a kept state");
        self.memory.begin(self.begin.clone(), death);
        self.scenario.write("site/sub/a", format!("{day} to the death"));
        self.scenario.next_day().plan(["run"])
    }

    /// Whatever request it dies at: what is listed is whole, and the next run succeeds, leaves nothing behind, and comes back.
    fn dies(&self, request: usize, is_answer_lost: bool) -> i32 {
        let cut = self.run(request, Some(Death { request, is_answer_lost }));
        let of = format!("request {request}, answer lost: {is_answer_lost}: {cut:?}");
        assert!([0, 1, 3].contains(&cut.code), "{of}");
        self.memory.live();
        let whole = self.scenario.plan(["verify", "--all"]);
        assert_eq!(whole.code, 0, "{of}\n{whole:?}");
        let next = self.scenario.next_day().plan(["run"]);
        assert_eq!(next.code, 0, "{of}\n{next:?}");
        assert_eq!((self.memory.ending(".tar.gz"), self.memory.unfinished()), (1, 0), "{of}\n{next:?}");
        shell(&self.scenario.path("."), "rm -rf back");
        self.scenario.plan(["restore", "--to", "back"]).status(0);
        shell(&self.scenario.path("."), "diff -r site back/site/site");
        cut.code
    }
}

/// Lets runs die at some of these requests, spread over all of them, each lost by itself and with its answer lost; several at once.
fn die(trying: Vec<Trying>, requests: &[usize], most: u32) {
    let all = requests.iter().flat_map(|request| [(*request, false), (*request, true)]);
    let all: Vec<(usize, bool)> = all.collect();
    let count = (rounds(most) as usize).min(all.len());
    let chosen: Vec<(usize, bool)> = (0..count).map(|at| all[at * all.len() / count]).collect();
    let (next, codes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let (chosen, next, found) = (&chosen, &next, &codes);
    thread::scope(|scope| {
        for own in trying {
            scope.spawn(move || {
                while let Some((request, is_answer_lost)) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let code = own.dies(*request, *is_answer_lost);
                    found.lock().unwrap().push((*request, *is_answer_lost, code));
                }
            });
        }
    });
    let mut codes = codes.into_inner().unwrap();
    codes.sort_unstable();
    println!("of {requests:?}: {codes:?}");
    assert_eq!(codes.len(), count);
}

/// `BACKPLAN_TEST_ROUNDS=999` tries every request. A run waits most of its time, for a server that is dead: many go at once.
#[test]
fn a_connection_that_dies_at_any_request_of_a_run_costs_no_backup() {
    let trying: Vec<Trying> = (0..10).map(|_| Trying::begin(1000)).collect();
    trying[0].run(0, None).status(0);
    let requests: Vec<usize> = (1..=trying[0].memory.seen()).collect();
    assert!(requests.len() > 20, "{requests:?}");
    die(trying, &requests, 20);
}

/// The same of those that bring an artefact in parts.
#[test]
fn a_connection_that_dies_at_any_part_costs_no_backup() {
    let trying: Vec<Trying> = (0..3).map(|_| Trying::begin(9_000_000)).collect();
    trying[0].run(0, None).status(0);
    let requests = trying[0].memory.parts();
    assert!(requests.len() > 3, "{requests:?}");
    die(trying, &requests, 3);
}
