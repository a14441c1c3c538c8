#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use backplan_compiler::graph::Undo;
use backplan_compiler::model::{ArchiveId, SourceId, StoreId};

use super::*;
use crate::run::event::Unobserved;

type Behaviour = Box<dyn Fn(&Step, &Control, usize) -> Result<Performed, Failure> + Send + Sync>;

/// Work that behaves as a test says, and remembers the order in which steps began.
struct Fake {
    behave: Behaviour,
    window: Option<u64>,
    began: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Work for Fake {
    fn perform(&self, step: &Step, control: &Control) -> Result<Performed, Failure> {
        let attempt = {
            let mut began = self.began.lock().unwrap();
            began.push(step.id.0.clone());
            began.iter().filter(|id| **id == step.id.0).count()
        };
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let result = (self.behave)(step, control, attempt);
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn time_of(&self, _: usize) -> Option<(String, u64)> {
        Some(("w".to_owned(), self.window?))
    }
}

fn step(id: &str, action: Action, needs: &[&str]) -> Step {
    Step {
        id: StepId(id.to_owned()),
        action,
        needs: needs.iter().map(|need| StepId((*need).to_owned())).collect(),
        parts: Vec::new(),
        reads: BTreeSet::new(),
        writes: BTreeSet::new(),
        deletes: BTreeSet::new(),
        retry: None,
        timeout: None,
        undo: Undo::None,
    }
}

/// Two sources, `a` within a window, an archive of each, two stores.
fn graph() -> Vec<Step> {
    vec![
        step("lock", Action::LockHost, &[]),
        step("lock/x", Action::LockStore(StoreId(0)), &["lock"]),
        step("lock/y", Action::LockStore(StoreId(1)), &["lock/x"]),
        step("recover", Action::Recover, &["lock/y"]),
        step("enter/w", Action::Enter(0), &["recover"]),
        step("scan/a", Action::Scan(SourceId(0)), &["enter/w"]),
        step("scan/b", Action::Scan(SourceId(1)), &["recover"]),
        step("pack/a", Action::Pack(ArchiveId(0)), &["scan/a"]),
        step("pack/b", Action::Pack(ArchiveId(1)), &["scan/b"]),
        step("leave/w", Action::Leave(0), &["enter/w", "pack/a"]),
        step("publish/a/x", Action::Publish(ArchiveId(0), StoreId(0)), &["pack/a", "lock/x"]),
        step("publish/b/x", Action::Publish(ArchiveId(1), StoreId(0)), &["pack/b", "lock/x"]),
        step("publish/a/y", Action::Publish(ArchiveId(0), StoreId(1)), &["pack/a", "lock/y"]),
        step("commit/x", Action::Commit(StoreId(0)), &["publish/a/x", "publish/b/x", "lock/x"]),
        step("commit/y", Action::Commit(StoreId(1)), &["publish/a/y", "lock/y"]),
        step("clear/after", Action::ClearStaging(When::After), &["leave/w", "commit/x", "commit/y"]),
        step("unlock", Action::Unlock, &["clear/after"]),
        step("notify/n", Action::Notify(0, When::After), &["unlock"]),
    ]
}

struct Run {
    execution: Execution,
    began: Vec<String>,
    most_at_once: usize,
}

impl Run {
    fn outcome(&self, id: &str) -> &Outcome {
        &self.execution.steps[&StepId(id.to_owned())].outcome
    }

    fn not_run(&self, id: &str) -> &str {
        match self.outcome(id) {
            Outcome::NotRun(reason) => reason,
            other => panic!("{id}: {other:?}"),
        }
    }

    fn failed(&self, id: &str) -> &str {
        match self.outcome(id) {
            Outcome::Failed(reason) => reason,
            other => panic!("{id}: {other:?}"),
        }
    }

    fn assert_done(&self, ids: &[&str]) {
        for id in ids {
            assert_eq!(*self.outcome(id), Outcome::Done, "{id}");
        }
    }
}

fn run_with(
    steps: Vec<Step>,
    window: Option<u64>,
    signal_at: Option<&'static str>,
    behave: impl Fn(&Step, &Control, usize) -> Result<Performed, Failure> + Send + Sync + 'static,
) -> Run {
    let graph = Arc::new(StepGraph::new(steps, BTreeMap::new()).unwrap());
    let (send, receive) = mpsc::channel(1);
    let behave: Behaviour = Box::new(move |step, control, attempt| {
        if signal_at == Some(step.id.0.as_str()) {
            send.blocking_send(StopSignal::Terminate).unwrap();
        }
        behave(step, control, attempt)
    });
    let work = Arc::new(Fake {
        behave,
        window,
        began: Mutex::default(),
        at_once: AtomicUsize::new(0),
        most_at_once: AtomicUsize::new(0),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bounds = Bounds { jobs: 2, timeout: None };
    let doing = execute(graph, Arc::clone(&work) as Arc<dyn Work>, bounds, Arc::new(Unobserved), receive);
    let execution = runtime.block_on(doing);
    let began = work.began.lock().unwrap().clone();
    Run { execution, began, most_at_once: work.most_at_once.load(Ordering::SeqCst) }
}

fn run(behave: impl Fn(&Step, &Control, usize) -> Result<Performed, Failure> + Send + Sync + 'static) -> Run {
    run_with(graph(), None, None, behave)
}

/// Waits until it is told to stop.
fn until_stopped(control: &Control) -> Result<Performed, Failure> {
    let until = Instant::now() + Duration::from_secs(20);
    while control.check().is_ok() {
        assert!(Instant::now() < until, "nobody said stop");
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(Failure::stopped())
}

#[test]
fn every_step_runs_once_behind_what_it_needs_and_no_more_than_the_limit_at_once() {
    let run = run(|_, _, _| {
        std::thread::sleep(Duration::from_millis(3));
        Ok(Performed::Done(Output::Nothing))
    });
    assert_eq!(run.began.len(), graph().len());
    for step in graph() {
        let at = |id: &str| run.began.iter().position(|began| began == id).unwrap();
        assert!(step.needs.iter().all(|need| at(&need.0) < at(&step.id.0)), "{}", step.id);
    }
    assert!((2..=3).contains(&run.most_at_once), "{}", run.most_at_once);
}

#[test]
fn what_is_whole_is_committed_when_a_source_fails() {
    let run = run(|step, _, _| match step.id.0.as_str() {
        "scan/a" => Err(Failure::lasting("no such folder")),
        _ => Ok(Performed::Done(Output::Nothing)),
    });
    assert_eq!(run.failed("scan/a"), "no such folder");
    assert_eq!(run.not_run("pack/a"), "`scan/a` failed");
    assert_eq!(run.not_run("publish/a/x"), "`pack/a` was not run");
    assert_eq!(run.not_run("commit/y"), "`publish/a/y` was not run");
    run.assert_done(&["leave/w", "publish/b/x", "commit/x", "clear/after", "unlock", "notify/n"]);
}

#[test]
fn one_store_that_drops_out_or_fails_keeps_the_other() {
    for failure in [None, Some(Failure::lasting("the wrong disk"))] {
        let run = run(move |step, _, _| match (step.id.0.as_str(), &failure) {
            ("lock/x", None) => Ok(Performed::Dropped("not mounted".to_owned())),
            ("lock/x", Some(failure)) => Err(failure.clone()),
            _ => Ok(Performed::Done(Output::Nothing)),
        });
        run.assert_done(&["recover", "publish/a/y", "commit/y", "unlock"]);
        assert!(run.not_run("publish/a/x").contains("`lock/x`"));
        assert!(run.not_run("commit/x").contains("`lock/x`"));
    }
}

#[test]
fn a_lock_that_another_run_holds_ends_the_run_in_silence() {
    let busy = Failure { message: "pid 7".to_owned(), kind: FailureKind::Busy };
    let run = run(move |step, _, _| match step.id.0.as_str() {
        "lock/x" => Err(busy.clone()),
        _ => Ok(Performed::Done(Output::Nothing)),
    });
    assert!(run.execution.busy);
    assert_eq!(run.began, ["lock", "lock/x", "clear/after", "unlock"]);
}

#[test]
fn a_passing_failure_is_tried_again_as_often_as_the_plan_says() {
    let retry = Some(Retry { attempts: 3, backoff_first: 0, backoff_most: 0 });
    let steps = || {
        let mut steps = graph();
        steps.iter_mut().find(|step| step.id.0 == "scan/a").unwrap().retry = retry.clone();
        steps
    };
    let fails_until = |last: usize| {
        move |step: &Step, _: &Control, attempt| match step.id.0.as_str() {
            "scan/a" if attempt < last => Err(Failure::passing("not yet")),
            _ => Ok(Performed::Done(Output::Nothing)),
        }
    };
    let run = run_with(steps(), None, None, fails_until(3));
    run.assert_done(&["scan/a", "pack/a"]);
    assert_eq!(run.execution.steps[&StepId("scan/a".to_owned())].attempts, 3);
    let run = run_with(steps(), None, None, fails_until(4));
    assert_eq!(run.failed("scan/a"), "not yet");
}

#[test]
fn a_signal_stops_what_runs_and_closes_what_is_open() {
    let run = run_with(graph(), None, Some("pack/a"), |step, control, _| match step.id.0.as_str() {
        "pack/a" => until_stopped(control),
        _ => Ok(Performed::Done(Output::Nothing)),
    });
    assert_eq!(run.execution.signal, Some(StopSignal::Terminate));
    assert_eq!(run.failed("pack/a"), "the run was stopped");
    assert_eq!(run.not_run("commit/x"), "the run was stopped");
    run.assert_done(&["leave/w", "clear/after", "unlock", "notify/n"]);
}

#[test]
fn a_window_is_left_when_its_time_is_over_and_other_archives_go_on() {
    let run = run_with(graph(), Some(0), None, |step, control, _| match step.id.0.as_str() {
        "scan/a" => until_stopped(control),
        _ => Ok(Performed::Done(Output::Nothing)),
    });
    // A timeout of nothing may be over before the step has begun.
    match run.outcome("scan/a") {
        Outcome::Failed(why) | Outcome::NotRun(why) => {
            assert_eq!(why, "the `timeout` of window `w` was over")
        }
        other => panic!("{other:?}"),
    }
    run.assert_done(&["leave/w", "commit/x"]);
    assert!(matches!(run.outcome("pack/a"), Outcome::NotRun(_)));
}

#[test]
fn a_window_that_could_not_be_entered_is_left_all_the_same() {
    let run = run(|step, _, _| match step.id.0.as_str() {
        "enter/w" => Err(Failure::lasting("half entered")),
        _ => Ok(Performed::Done(Output::Nothing)),
    });
    run.assert_done(&["leave/w", "commit/x"]);
    assert_eq!(run.not_run("scan/a"), "`enter/w` failed");
}

#[test]
fn a_step_that_takes_longer_than_its_timeout_fails() {
    let mut steps = graph();
    steps.iter_mut().find(|step| step.id.0 == "scan/b").unwrap().timeout = Some(0);
    let run = run_with(steps, None, None, |step, control, _| match step.id.0.as_str() {
        "scan/b" => until_stopped(control),
        _ => Ok(Performed::Done(Output::Nothing)),
    });
    assert_eq!(run.failed("scan/b"), "it took longer than its `timeout`");
    run.assert_done(&["commit/x", "commit/y"]);
}

#[test]
fn a_defect_in_a_step_is_a_failure_and_locks_are_released() {
    let run = run(|step, _, _| match step.id.0.as_str() {
        "scan/a" => panic!("defect"),
        _ => Ok(Performed::Done(Output::Nothing)),
    });
    assert!(run.failed("scan/a").contains("defect"));
    run.assert_done(&["leave/w", "unlock"]);
}

#[test]
fn the_wait_between_attempts_doubles_and_is_bounded() {
    let retry = Retry { attempts: 9, backoff_first: 10, backoff_most: 60 };
    for (attempt, most) in [(1, 10), (2, 20), (3, 40), (4, 60), (40, 60)] {
        let wait = backoff(&retry, attempt);
        assert!(
            wait <= Duration::from_secs(most) && wait >= Duration::from_secs(most) / 2,
            "{attempt}: {wait:?}"
        );
    }
}
