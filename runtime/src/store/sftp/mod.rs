//! The store that is a folder of an SSH file server. It is the folder's store over the file system of a server: what it takes
//! for granted (a name is given once, a file is whole before it has its name) is asked of the server by OpenSSH's extensions.
//!
//! What cannot be had there: a folder is not held open, so one that is exchanged for another, or for a link, in the moment
//! between a look and a request is not noticed.

mod login;
mod session;
mod trouble;
mod upload;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backplan_compiler::model::Store as Declared;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use russh_sftp::protocol::{FileAttributes, OpenFlags};

use self::login::Login;
use self::session::Session;
use self::upload::ServerFile;
use super::dir::{FolderStore, endless};
use super::engine;
use super::fs::{FileSystem, Kind, not_a_file, not_a_folder};
use super::{StoreError, StoreErrorKind};
use crate::places::anchor::Moved;

pub use self::login::Refusal;

/// A store in a folder of a file server.
pub type SftpStore = FolderStore<ServerFolder>;

/// Requests for parts of a file or a listing that are on their way at once.
const AT_ONCE: usize = 16;
const LISTINGS_AT_ONCE: usize = 8;
/// Answers of a listing that are held at the most; servers usually give a hundred names with each.
const ANSWERS_AT_ONCE: usize = 32;
/// A file that is written anew meanwhile may be listed twice; a server that says so often what it said first says it for ever.
const AGAIN: usize = 3;
/// Names of a folder, and folders of a store, at the most: a server could have them without end.
const MOST_NAMES: usize = if cfg!(test) { 1 << 13 } else { 1 << 22 };
const MOST_FOLDERS: usize = if cfg!(test) { 1 << 8 } else { 1 << 20 };
/// For so long nobody tries again to connect where it failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often something is made that is neither there nor can be made.
const ATTEMPTS: usize = 5;
/// Bytes of a path at the most: a server could have folders without end.
const LONGEST: usize = 4096;
/// With less room than this, a server that does not say why it failed has none.
const SCANT: u64 = 1 << 20;
/// Who may pass a store's folder: an archive of a log inside is another account's.
const ROOT_MODE: u32 = 0o751;
const FOLDER_MODE: u32 = 0o700;

/// Bits of a mode that say what kind of thing it is.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

impl SftpStore {
    /// Opens the folder of a declared store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Absent`] where the server has no such folder.
    pub fn connect(declared: &Declared) -> Result<SftpStore, StoreError> {
        SftpStore::reach(declared, false)
    }

    /// Opens it, and makes it first if need be; what it is in must be there.
    ///
    /// # Errors
    /// [`StoreErrorKind::Absent`] where that is not there.
    pub fn connect_or_make(declared: &Declared) -> Result<SftpStore, StoreError> {
        SftpStore::reach(declared, true)
    }

    /// Whether [`SftpStore::connect_or_make`] could make the folder: what it is to be in is there, and not read-only.
    pub fn may_make(declared: &Declared) -> bool {
        let Ok((login, path)) = Login::of(&declared.kind) else { return false };
        let above = match Path::new(&path).parent().and_then(Path::to_str) {
            None => return false,
            Some("") => ".".to_owned(),
            Some(above) => above.to_owned(),
        };
        let looked = Link::new(login).ask(|session| async move {
            let found = session.stat(above.clone()).await?;
            takes_something(&session, &above).await?;
            Ok(kind(&found) == Kind::Folder)
        });
        looked.unwrap_or(false)
    }

    fn reach(declared: &Declared, may_make: bool) -> Result<SftpStore, StoreError> {
        let place = PathBuf::from(declared.location().to_string());
        let failed = |cause: io::Error| super::dir::opening(&declared.name, &place, cause);
        let (login, path) = Login::of(&declared.kind).map_err(|words| StoreError {
            kind: StoreErrorKind::Handshake,
            ..failed(io::Error::other(words))
        })?;
        let link = Link::new(login);
        let path = if path.is_empty() { ".".to_owned() } else { path };
        let root = link.ask(move |session| root(session, path, may_make)).map_err(failed)?;
        Ok(FolderStore::over(&declared.name, &place, ServerFolder { link: Arc::new(link), root }))
    }
}

/// Whether a server takes anything: one that is read-only says so before it looks whether there is such a file, and without being
/// asked to make one another says that there is none.
async fn takes_something(session: &Session, root: &str) -> io::Result<()> {
    let chance = crate::text::hex(&crate::machine::random_bytes::<8>());
    let asked = session.open_file(format!("{root}/{chance}/{chance}"), OpenFlags::WRITE, None).await;
    match asked {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(io::Error::new(error.kind(), "its server takes nothing: it is read-only"))
        }
        _ => Ok(()),
    }
}

/// The folder, without links; made if it may be.
async fn root(session: Arc<Session>, path: String, may_make: bool) -> io::Result<String> {
    let made = match may_make {
        true => session.make_folder(path.clone(), ROOT_MODE).await,
        false => Ok(()),
    };
    // Most servers do not say that it is there already.
    let found = match session.stat(path.clone()).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(made.err().unwrap_or(error)),
        found => found?,
    };
    match kind(&found) {
        Kind::Folder => session.real_path(path).await,
        _ => Err(io::Error::from(io::ErrorKind::NotADirectory)),
    }
}

/// Connections to one server, one at a time: made anew where it ended.
#[derive(Debug)]
struct Link {
    login: Login,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Arc<Session>>,
    failed: Option<(Instant, io::ErrorKind, String)>,
}

impl Link {
    fn new(login: Login) -> Link {
        Link { login, state: Mutex::default() }
    }

    fn session(&self) -> io::Result<Arc<Session>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = state.session.as_ref().filter(|session| !session.is_over()) {
            return Ok(Arc::clone(session));
        }
        if let Some((at, kind, words)) = &state.failed
            && at.elapsed() < PATIENCE
        {
            return Err(io::Error::new(*kind, words.clone()));
        }
        let login = self.login.clone();
        match engine::run(async move { Session::open(&login).await }) {
            Ok(session) => {
                let session = Arc::new(session);
                *state = State { session: Some(Arc::clone(&session)), failed: None };
                Ok(session)
            }
            Err(error) => {
                if error.get_ref().is_none_or(|inner| !inner.is::<Refusal>()) {
                    state.failed = Some((Instant::now(), error.kind(), error.to_string()));
                }
                Err(error)
            }
        }
    }

    /// Asks something of the server, connecting first where need be.
    fn ask<T, F>(&self, work: impl FnOnce(Arc<Session>) -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        engine::run(work(self.session()?))
    }
}

/// A folder of a file server.
#[derive(Debug)]
pub struct ServerFolder {
    link: Arc<Link>,
    /// From the server's root.
    root: String,
}

fn kind(attributes: &FileAttributes) -> Kind {
    match attributes.permissions.unwrap_or_default() & KIND {
        REGULAR => Kind::File(attributes.size.unwrap_or_default()),
        DIRECTORY => Kind::Folder,
        _ => Kind::Other,
    }
}

/// A path below the root, looked at component by component.
#[derive(Debug, Clone)]
struct Below {
    root: String,
    path: String,
}

impl Below {
    fn whole(&self) -> String {
        self.at(&self.path)
    }

    fn at(&self, path: &str) -> String {
        match path {
            "" => self.root.clone(),
            path => format!("{}/{path}", self.root.trim_end_matches('/')),
        }
    }

    /// The folders on the way to it, from the top; not the root, whose own path may lead through links.
    fn folders(&self) -> Vec<String> {
        self.path.match_indices('/').map(|(at, _)| self.path[..at].to_owned()).collect()
    }

    /// Sees that all on the way are folders, and no links.
    async fn check_way(&self, session: &Session) -> io::Result<()> {
        if self.path.len() > LONGEST {
            return Err(io::Error::from(io::ErrorKind::InvalidFilename));
        }
        let looks = self.folders().into_iter().map(|folder| async move {
            match kind(&session.lstat(self.at(&folder)).await?) {
                Kind::Folder => Ok(()),
                _ => Err(not_a_folder(&folder)),
            }
        });
        try_join_all(looks).await.map(drop)
    }

    /// The same, and that it is itself one.
    async fn check_folder(&self, session: &Session) -> io::Result<()> {
        let below = Below { path: format!("{}/.", self.path), ..self.clone() };
        match self.path.as_str() {
            "" => Ok(()),
            _ => below.check_way(session).await,
        }
    }

    /// What stands there.
    async fn look(&self, session: &Session) -> io::Result<Kind> {
        let look = async { session.lstat(self.whole()).await };
        // Both at once: that a folder is missing on the way says the same as that it is not there.
        let (way, found) = futures_util::future::join(self.check_way(session), look).await;
        way?;
        Ok(kind(&found?))
    }

    /// Makes something new. A server has no words for what is there already: it is looked for, and where it went away
    /// meanwhile tried again.
    async fn make<T, F: Future<Output = io::Result<T>>>(
        &self,
        session: &Session,
        make: impl Fn() -> F,
    ) -> io::Result<T> {
        let mut attempt = 1;
        loop {
            let error = match make().await {
                Err(error) => self.explain(session, error).await,
                made => return made,
            };
            if !trouble::is_vague(&error) || attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// An error for which the server had no words, told better: what is there already, or no room.
    async fn explain(&self, session: &Session, error: io::Error) -> io::Error {
        if !trouble::is_vague(&error) {
            return error;
        }
        if session.lstat(self.whole()).await.is_ok() {
            return io::Error::from(io::ErrorKind::AlreadyExists);
        }
        no_room(session, &self.root).await.unwrap_or(error)
    }
}

/// That there is no room, if so.
async fn no_room(session: &Session, root: &str) -> Option<io::Error> {
    match session.room(root.to_owned()).await {
        Some((bytes, files)) if bytes < SCANT || files == 0 => {
            Some(io::Error::new(io::ErrorKind::StorageFull, "no room is left on the server"))
        }
        _ => None,
    }
}

impl ServerFolder {
    /// Does something below the root.
    fn with<T, F>(&self, path: &str, work: impl FnOnce(Arc<Session>, Below) -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        let below = Below { root: self.root.clone(), path: path.to_owned() };
        self.link.ask(|session| work(session, below))
    }

    /// Asks what can be asked twice: where the connection ends meanwhile, once more over a new one. Not after a silence, for which
    /// was waited long enough.
    fn look<T, F>(&self, path: &str, work: impl Fn(Arc<Session>, Below) -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        let session = self.link.session()?;
        let below = Below { root: self.root.clone(), path: path.to_owned() };
        match engine::run(work(Arc::clone(&session), below)) {
            Err(error) if session.is_over() && error.kind() != io::ErrorKind::TimedOut => {
                self.with(path, work)
            }
            answer => answer,
        }
    }

    /// The same with two paths, whose ways are both looked at first.
    fn with_two<F>(
        &self,
        from: &str,
        to: &str,
        work: impl FnOnce(Arc<Session>, String, Below) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let from = Below { root: self.root.clone(), path: from.to_owned() };
        self.with(to, |session, to| async move {
            let (left, right) =
                futures_util::future::join(from.check_way(&session), to.check_way(&session)).await;
            left.and(right)?;
            let whole = from.whole();
            work(session, whole, to).await
        })
    }
}

async fn read(session: Arc<Session>, below: Below, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    // Looked at first: a pipe that somebody put there would hold up the server for good.
    let Kind::File(size) = below.look(&session).await? else { return Err(not_a_file()) };
    let len = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
    if len == 0 {
        return Ok(Vec::new());
    }
    let handle = session.open_file(below.whole(), OpenFlags::READ, None).await?;
    let piece = session.can.read;
    let pieces = (0..len.div_ceil(piece)).map(|index| {
        let (session, handle, at) = (&session, handle.clone(), index * piece);
        let wanted = piece.min(len - at);
        async move { Ok::<_, io::Error>((wanted, session.read(handle, offset + at as u64, wanted).await?)) }
    });
    let mut pieces = stream::iter(pieces).buffered(AT_ONCE);
    let mut bytes = Vec::new();
    let all: io::Result<()> = async {
        while let Some((wanted, piece)) = pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
            if piece.len() < wanted {
                break;
            }
        }
        Ok(())
    }
    .await;
    drop(pieces);
    close_later(session, handle);
    all.map(|()| bytes)
}

/// Nothing depends on whether it could be closed, nor waits for it.
fn close_later(session: Arc<Session>, handle: String) {
    drop(engine::start(async move { session.close(handle).await }));
}

/// A folder that is being listed.
struct Listing {
    session: Arc<Session>,
    handle: String,
    /// What the server said first.
    first: Option<Vec<String>>,
    /// How often it has said that again.
    again: usize,
    /// Names and answers until now.
    seen: usize,
}

/// Some of a folder, and how it goes on; `None`: that was all.
type Piece = (Vec<(String, Kind)>, Option<Listing>);

impl Listing {
    async fn begin(session: Arc<Session>, below: Below) -> io::Result<Piece> {
        below.check_folder(&session).await?;
        let handle = session.open_folder(below.whole()).await?;
        Listing { session, handle, first: None, again: 0, seen: 0 }.next().await
    }

    /// So many answers more as are asked for at once, or all that there are.
    async fn next(mut self) -> io::Result<Piece> {
        let (session, handle) = (Arc::clone(&self.session), self.handle.clone());
        let asks = (0..ANSWERS_AT_ONCE).map(|_| session.read_folder(handle.clone()));
        let mut answers = stream::iter(asks).buffered(LISTINGS_AT_ONCE);
        let (mut found, mut goes_on) = (Vec::new(), true);
        let all: io::Result<()> = async {
            while let Some(some) = answers.try_next().await? {
                let Some(some) = some else {
                    goes_on = false;
                    break;
                };
                self.see(&some)?;
                // What is not UTF-8 was not named by us; and no name leads elsewhere.
                let named = some.into_iter().filter(|(name, _)| {
                    !matches!(name.as_str(), "" | "." | "..")
                        && !name.contains(['/', '\0', char::REPLACEMENT_CHARACTER])
                });
                found.extend(named.map(|(name, attributes)| (name, kind(&attributes))));
            }
            Ok(())
        }
        .await;
        drop(answers);
        if all.is_ok() && goes_on {
            return Ok((found, Some(self)));
        }
        close_later(session, self.handle);
        all.map(|()| (found, None))
    }

    /// Sees that a listing may have an end: that it does not begin again, and that nobody has so many files.
    fn see(&mut self, answer: &[(String, FileAttributes)]) -> io::Result<()> {
        self.seen += answer.len() + 1;
        match &self.first {
            None => self.first = Some(answer.iter().map(|(name, _)| name.clone()).collect()),
            Some(first) => {
                self.again += usize::from(first.iter().eq(answer.iter().map(|(name, _)| name)));
            }
        }
        if self.again >= AGAIN || self.seen > MOST_NAMES { Err(endless()) } else { Ok(()) }
    }
}

impl FileSystem for ServerFolder {
    type File = ServerFile;

    fn in_place(&self, _root: &Path) -> Result<(), Moved> {
        // Each request goes by the path: in a folder that was put in the place of another there is no lease of this run.
        Ok(())
    }

    fn is_durable(&self) -> bool {
        self.link.session().is_ok_and(|session| session.can.sync)
    }

    fn read(&self, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.look(path, |session, below| read(session, below, offset, len))
    }

    fn stat(&self, path: &str) -> io::Result<Option<Kind>> {
        let found = self.look(path, |session, below| async move { below.look(&session).await });
        match found {
            Ok(kind) => Ok(Some(kind)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn each(&self, folder: &str, take: &mut dyn FnMut(String, Kind)) -> io::Result<()> {
        let (mut some, mut rest) = self.look(folder, Listing::begin)?;
        loop {
            some.into_iter().for_each(|(name, kind)| take(name, kind));
            // Behind the first piece nothing is asked twice: what was handed on would be again.
            let Some(listing) = rest else { return Ok(()) };
            (some, rest) = engine::run(listing.next())?;
        }
    }

    fn most_folders(&self) -> usize {
        MOST_FOLDERS
    }

    fn may_write(&self) -> io::Result<()> {
        self.link.ask({
            let root = self.root.clone();
            |session| async move {
                // One that takes nothing has none of what writes, and is told of as what it is.
                takes_something(&session, &root).await?;
                able(&session)
            }
        })
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        self.with(path, |session, below| async move {
            able(&session)?;
            below.check_way(&session).await?;
            below.make(&session, || session.make_folder(below.whole(), FOLDER_MODE)).await
        })
    }

    fn create_file(&self, path: &str, mode: u32) -> io::Result<ServerFile> {
        let root = self.root.clone();
        self.with(path, |session, below| async move {
            able(&session)?;
            below.check_way(&session).await?;
            let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
            let handle = below.make(&session, || session.open_file(below.whole(), flags, Some(mode))).await?;
            Ok(ServerFile::new(session, root, handle))
        })
    }

    fn link_host(&self, _file: &Path, _path: &str, _mode: u32) -> io::Result<()> {
        Err(trouble::unsupported())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.with_two(from, to, |session, from, to| async move {
            if !session.can.link {
                return Err(trouble::unsupported());
            }
            match session.link(from, to.whole()).await {
                // A file system without links says so by this; whether it is for want of a right is seen by what is tried next.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(trouble::unsupported()),
                // A name that was taken may be free again: what is tried next finds out.
                Err(error) => match to.explain(&session, error).await {
                    error if trouble::is_vague(&error) => Err(trouble::unsupported()),
                    error => Err(error),
                },
                linked => linked,
            }
        })
    }

    fn rename_new(&self, _from: &str, _to: &str) -> io::Result<()> {
        // Servers differ in what their own renaming does to what is there.
        Err(trouble::unsupported())
    }

    fn rename_over(&self, from: &str, to: &str) -> io::Result<()> {
        self.with_two(from, to, |session, from, to| async move {
            able(&session)?;
            session.replace(from, to.whole()).await
        })
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.with(path, |session, below| async move {
            below.check_way(&session).await?;
            session.remove(below.whole()).await
        })
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.with(path, |session, below| async move {
            below.check_way(&session).await?;
            session.remove_folder(below.whole()).await
        })
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.with(path, |session, below| async move {
            if !session.can.sync {
                return Ok(());
            }
            below.check_folder(&session).await?;
            // A folder that is opened as a file is one that OpenSSH's server syncs; where it cannot be, nothing more is known.
            match session.open_file(below.whole(), OpenFlags::READ, None).await {
                Ok(handle) => {
                    let synced = session.sync(handle.clone()).await;
                    close_later(session, handle);
                    synced
                }
                Err(error) if trouble::is_vague(&error) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}

/// Refuses to write where nothing can be replaced: a lease could not be kept up.
fn able(session: &Session) -> io::Result<()> {
    match session.can.replace {
        true => Ok(()),
        false => Err(io::Error::other(Refusal(
            "the server has no `posix-rename@openssh.com`, without which nothing can be replaced as a whole: it can be read \
             from, and not written to"
                .to_owned(),
        ))),
    }
}
