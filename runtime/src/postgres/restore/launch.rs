//! What becomes of a cluster that is laid down: started until it has recovered, left to be started by hand, or rehearsed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::{ClusterError, ClusterOutcome, server_folder};
use super::outside::{self, Hold, Outside};
use crate::control::Control;
use crate::postgres::recovery::Action;
use crate::postgres::server::{Expect, Server, ServerError, Start};
use crate::postgres::wal::lsn::Lsn;

/// What is to become of it.
#[derive(Debug, Clone)]
pub enum Then {
    /// It is started, and runs on.
    Start(Starting),
    /// People start it.
    ByHand,
    /// The caller starts it, looks at it, and throws it away.
    Rehearse,
}

/// How a restored cluster is started.
#[derive(Debug, Clone)]
pub struct Starting {
    /// The port, a part of its socket's name.
    pub port: u16,
    /// A superuser of it.
    pub role: String,
    /// How long it may recover.
    pub patience: Duration,
    /// In a network namespace of its own.
    pub alone: bool,
    /// What its restore command needs of the environment.
    pub env: Vec<(OsString, OsString)>,
}

/// A cluster that is laid down.
pub(super) struct Laid<'a> {
    /// Its data directory.
    pub data: &'a Path,
    /// Where its tablespaces are.
    pub own: Vec<PathBuf>,
    /// Those that its log makes elsewhere.
    pub outside: Vec<Outside>,
    /// What it does at its target.
    pub action: Action,
    /// Where the last segment of its log ends, where all of it is to be replayed and that is known.
    pub end: Option<Lsn>,
    /// The folder of its server's programs.
    pub programs: Option<PathBuf>,
}

impl Laid<'_> {
    /// Does with it what is wanted.
    ///
    /// # Errors
    /// When it does not start or recover; then nothing runs.
    pub(super) fn go_on(
        self,
        then: &Then,
        outcome: &mut ClusterOutcome,
        control: &Control,
    ) -> Result<(), ClusterError> {
        match (then, &self.programs) {
            (Then::Start(starting), Some(programs)) => {
                let mut start = self.start(starting, programs)?;
                if !self.outside.is_empty() {
                    let settled = self.recover(&start, starting.patience, control)?;
                    start.own.extend(settled.iter().map(|(_, with)| with.clone()));
                    outcome.tablespaces.extend(settled);
                }
                let run = self.run(&start, starting.patience, control);
                (outcome.server, outcome.is_alone) = run.map_err(self.failed())?;
            }
            (Then::Start(_) | Then::ByHand, _) => {
                outcome.held = outside::hold_back(self.data, &self.outside)?;
            }
            (Then::Rehearse, _) => outcome.outside = self.outside,
        }
        Ok(())
    }

    fn failed(&self) -> impl Fn(ServerError) -> ClusterError + use<> {
        let data = self.data.to_path_buf();
        move |cause| match cause {
            ServerError::Stopped(stopped) => ClusterError::Stopped(stopped),
            cause => ClusterError::Server { data: data.clone(), cause },
        }
    }

    fn expected(&self) -> Expect {
        match self.action {
            Action::Promote => Expect::Open,
            Action::Pause => Expect::Paused,
            Action::Shutdown => Expect::Gone,
        }
    }

    fn start(&self, starting: &Starting, programs: &Path) -> Result<Start, ClusterError> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(super::cluster::file(path));
        let data = absolute(self.data)?;
        let scratch = server_folder(&data);
        Ok(Start {
            port: starting.port,
            role: starting.role.clone(),
            alone: starting.alone,
            own: self.own.iter().map(|own| absolute(own)).collect::<Result<_, _>>()?,
            stays: true,
            env: starting.env.clone(),
            ..Start::new(programs.to_path_buf(), data, scratch)
        })
    }

    /// Recovers with folders of its own in the place of those that its log makes elsewhere, and stops. Until then no other
    /// server starts on it: one that did not find those would write into what is there.
    fn recover(
        &self,
        start: &Start,
        patience: Duration,
        control: &Control,
    ) -> Result<Vec<(PathBuf, PathBuf)>, ClusterError> {
        if self.action != Action::Promote {
            let first = self.outside.first().map(|one| one.at.clone()).unwrap_or_default();
            outside::hold_back(self.data, &self.outside)?;
            return Err(ClusterError::OnlyPromoted { data: self.data.to_path_buf(), at: first });
        }
        outside::make(self.data, &self.outside)?;
        let hold = Hold::lay(self.data, &self.outside)?;
        let mut covers: Vec<_> = self.outside.iter().map(Outside::cover).collect();
        covers.push(hold.cover());
        let own = start.own.iter().cloned().chain(self.outside.iter().map(|one| one.with.clone()));
        let bound = Start { stays: false, covers, own: own.collect(), ..start.clone() };
        let recovered = Server::start(&bound, control).and_then(|mut server| {
            server.wait(Expect::Open, patience, control)?;
            self.end.map_or(Ok(()), |end| server.has_reached(end, control))?;
            server.stop();
            Ok(control.check()?)
        });
        recovered.map_err(self.failed())?;
        let settled = outside::settle(self.data, &self.outside)?;
        hold.lift()?;
        Ok(settled)
    }

    /// Starts it, and leaves it once it has recovered.
    fn run(
        &self,
        start: &Start,
        patience: Duration,
        control: &Control,
    ) -> Result<(Option<(PathBuf, u16)>, bool), ServerError> {
        let expect = self.expected();
        let mut server = Server::start(start, control)?;
        server.wait(expect, patience, control)?;
        if let (Expect::Open, Some(end)) = (expect, self.end) {
            server.has_reached(end, control)?;
        }
        let (sockets, port) = server.address();
        let (address, is_alone) = ((sockets.to_path_buf(), port), server.is_alone);
        server.leave();
        Ok(((expect != Expect::Gone).then_some(address), is_alone))
    }
}
