//! One connection: the system's `ssh`, and the protocol over its pipes.

use std::io::{self, Read};
use std::pin::Pin;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use russh_sftp::client::error::Error;
use russh_sftp::client::rawsession::{RawSftpSession, SftpResult};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, Status, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::watch;

use super::login::{Login, Refusal};
use super::trouble;
use crate::keeper;

/// A server that sends nothing for so long while it is asked is dead; a slow one sends something.
const SILENCE: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 60 });
/// How long a disk may take to sync a file: its server is silent meanwhile, and `ssh` sees whether it lives.
const SYNC: Duration = Duration::from_secs(600);
/// How long what came before the end of a connection may take to be handed on.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// Bytes in a request where a server does not say what it takes: every one takes this.
const LEAST: usize = 32 << 10;
/// Bytes in a request at the most.
const MOST: u64 = 256 << 10;
/// Bytes of what `ssh` says at its end.
const WORDS: usize = 4096;
/// How often a connection is tried that a busy server closed before anybody logged in.
const ATTEMPTS: u32 = 8;
/// Before the second attempt; each further one waits for longer, and for another time than others that began with it.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection. Dropped, it ends.
pub struct Session {
    raw: RawSftpSession,
    login: Login,
    heard: Arc<Heard>,
    ssh: Mutex<Child>,
    group: Pid,
    words: Arc<Words>,
    is_over: AtomicBool,
    /// What the server can do.
    pub can: Can,
}

/// What a server can do beyond the protocol's third version, which all speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Can {
    /// Make a file durable.
    pub sync: bool,
    /// Give a file a second name.
    pub link: bool,
    /// Rename in place of what is there.
    pub replace: bool,
    /// Tell how much room there is.
    pub room: bool,
    /// Bytes that are read with one request.
    pub read: usize,
    /// Bytes that are written with one request.
    pub write: usize,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("login", &self.login).field("can", &self.can).finish()
    }
}

impl Session {
    /// Connects. To be called on the engine's threads.
    ///
    /// # Errors
    /// Why not; [`Refusal`] where another attempt meets the same.
    pub async fn open(login: &Login) -> io::Result<Session> {
        let mut attempt = 1;
        loop {
            match Session::once(login).await {
                Err(error) if trouble::is_crowded(&error) && attempt < ATTEMPTS => {
                    let [chance] = crate::machine::random_bytes::<1>();
                    let chance = 1.0 + f64::from(chance) / 128.0;
                    tokio::time::sleep(PAUSE.mul_f64(chance) * attempt).await;
                    attempt += 1;
                }
                opened => return opened,
            }
        }
    }

    async fn once(login: &Login) -> io::Result<Session> {
        let mut session = Session::over(login, login.command())?;
        session.greet().await?;
        Ok(session)
    }

    /// Starts what speaks with the server. Nothing was said yet.
    fn over(login: &Login, mut command: Command) -> io::Result<Session> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut ssh = keeper::spawn(&mut command, Signal::TERM).map_err(|error| {
            io::Error::other(Refusal(format!("`ssh` cannot be started: {error}; install OpenSSH's client")))
        })?;
        let group = Pid::from_child(&ssh);
        let (stdin, stdout) = (ssh.stdin.take(), ssh.stdout.take());
        let words = Arc::new(Words::default());
        if let Some(stderr) = ssh.stderr.take() {
            words.listen(stderr)?;
        }
        let missing = || io::Error::other("`ssh` has no pipes");
        let heard = Arc::new(Heard::default());
        let pipes = Pipes {
            from: ChildStdout::from_std(stdout.ok_or_else(missing)?)?,
            to: ChildStdin::from_std(stdin.ok_or_else(missing)?)?,
            heard: Arc::clone(&heard),
        };
        let raw = RawSftpSession::new(pipes);
        // Slow servers are told from dead ones here.
        raw.set_timeout(u64::from(u32::MAX));
        let can = Can { sync: false, link: false, replace: false, room: false, read: LEAST, write: LEAST };
        Ok(Session {
            raw,
            login: login.clone(),
            heard,
            ssh: Mutex::new(ssh),
            group,
            words,
            is_over: AtomicBool::new(false),
            can,
        })
    }

    async fn greet(&mut self) -> io::Result<()> {
        let version = self.ask(self.raw.init()).await?;
        if version.version != 3 {
            let text = format!("the server speaks version {} of SFTP, and not 3", version.version);
            return Err(io::Error::other(Refusal(text)));
        }
        let has =
            |name: &str, version_of: &str| version.extensions.get(name).is_some_and(|it| it == version_of);
        let mut can = Can {
            sync: has("fsync@openssh.com", "1"),
            link: has("hardlink@openssh.com", "1"),
            replace: has("posix-rename@openssh.com", "1"),
            room: has("statvfs@openssh.com", "2"),
            ..self.can
        };
        if has("limits@openssh.com", "1") {
            let limits = self.ask(self.raw.limits()).await?;
            let bytes = |limit: u64| match limit.min(MOST) {
                // None is said.
                0 => LEAST,
                limit => usize::try_from(limit).unwrap_or(LEAST),
            };
            (can.read, can.write) = (bytes(limits.max_read_len), bytes(limits.max_write_len));
        }
        self.can = can;
        Ok(())
    }

    /// Whether nothing can be asked any more.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Waits for an answer, for as long as the server lives.
    async fn ask<T>(&self, request: impl Future<Output = SftpResult<T>>) -> io::Result<T> {
        self.ask_for(SILENCE, request).await
    }

    async fn ask_for<T>(
        &self,
        patience: Duration,
        request: impl Future<Output = SftpResult<T>>,
    ) -> io::Result<T> {
        let begun = Instant::now();
        let mut request = std::pin::pin!(request);
        loop {
            let silent = self.heard.last().max(begun).elapsed();
            if silent >= patience {
                self.end();
                let text = format!("the server `{}` said nothing for {} s", self.login, patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            tokio::select! {
                answer = &mut request => return self.answered(answer).await,
                // Nobody answers a request that was made when the end was known to the protocol's own reader already.
                () = self.heard.closed() => {
                    let ended = Error::UnexpectedBehavior("the connection ended".to_owned());
                    let last = tokio::time::timeout(LAST_ANSWERS, &mut request).await;
                    return self.answered(last.unwrap_or(Err(ended))).await;
                }
                () = tokio::time::sleep(patience - silent) => {}
            }
        }
    }

    async fn answered<T>(&self, answer: SftpResult<T>) -> io::Result<T> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(Error::Status(status)) => Err(trouble::of(&status)),
            Err(error) => Err(self.lost(&error).await),
        }
    }

    /// What a connection that has ended, or makes no sense, ended of.
    async fn lost(&self, error: &Error) -> io::Error {
        self.end();
        for _ in 0..50 {
            if self.words.are_all() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let words = self.words.said();
        if let Some(refusal) = self.login.refusal(&words) {
            return io::Error::other(refusal);
        }
        let why = match (error, words.as_str()) {
            (Error::UnexpectedPacket | Error::Limited(_), "") => format!(": {error}"),
            (_, "") => String::new(),
            (_, words) => format!(": {words}"),
        };
        io::Error::new(io::ErrorKind::NotConnected, format!("the connection to `{}` ended{why}", self.login))
    }

    fn end(&self) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            let mut ssh = self.ssh.lock().unwrap_or_else(PoisonError::into_inner);
            // Its own end may have come first; else it could say something yet.
            if matches!(ssh.try_wait(), Ok(None)) {
                let _ = kill_process_group(self.group, Signal::TERM);
            }
        }
    }

    /// What stands under a path, no link being followed.
    pub async fn lstat(&self, path: String) -> io::Result<FileAttributes> {
        Ok(self.ask(self.raw.lstat(path)).await?.attrs)
    }

    /// The same behind links.
    pub async fn stat(&self, path: String) -> io::Result<FileAttributes> {
        Ok(self.ask(self.raw.stat(path)).await?.attrs)
    }

    /// A path from the root, without links.
    pub async fn real_path(&self, path: String) -> io::Result<String> {
        let found = self.ask(self.raw.realpath(path)).await?;
        let path = found.files.into_iter().next().map(|file| file.filename).unwrap_or_default();
        match path.starts_with('/') && !path.contains(char::REPLACEMENT_CHARACTER) {
            true => Ok(path),
            false => Err(io::Error::other(Refusal(format!("the server says that the folder is {path:?}")))),
        }
    }

    /// Opens a file.
    pub async fn open_file(&self, path: String, flags: OpenFlags, mode: Option<u32>) -> io::Result<String> {
        let attributes = FileAttributes { permissions: mode, ..FileAttributes::empty() };
        sound(self.ask(self.raw.open(path, flags, attributes)).await?.handle)
    }

    /// Opens a folder.
    pub async fn open_folder(&self, path: String) -> io::Result<String> {
        sound(self.ask(self.raw.opendir(path)).await?.handle)
    }

    /// Some of what stands in a folder; `None`: that was all.
    pub async fn read_folder(&self, handle: String) -> io::Result<Option<Vec<(String, FileAttributes)>>> {
        match self.ask(self.raw.readdir(handle)).await {
            Ok(found) => Ok(Some(found.files.into_iter().map(|file| (file.filename, file.attrs)).collect())),
            Err(error) if trouble::is_end(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `len` bytes of a file; fewer only at its end.
    pub async fn read(&self, handle: String, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let wanted = len - bytes.len();
            let ask = u32::try_from(wanted).unwrap_or(u32::MAX);
            match self.ask(self.raw.read(handle.clone(), offset + bytes.len() as u64, ask)).await {
                Ok(read) if read.data.is_empty() => break,
                Ok(read) if read.data.len() > wanted => {
                    return Err(io::Error::other("the server sends more than it is asked for"));
                }
                Ok(read) => bytes.extend(read.data),
                Err(error) if trouble::is_end(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// Writes bytes at a place of a file.
    pub async fn write(&self, handle: String, offset: u64, bytes: Vec<u8>) -> io::Result<()> {
        self.ask(self.raw.write(handle, offset, bytes)).await.map(drop)
    }

    /// Makes a file durable, where the server can.
    pub async fn sync(&self, handle: String) -> io::Result<()> {
        match self.can.sync {
            true => self.ask_for(SYNC, self.raw.fsync(handle)).await.map(drop),
            false => Ok(()),
        }
    }

    /// Sets permissions.
    pub async fn set_mode(&self, handle: String, mode: u32) -> io::Result<()> {
        let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        self.ask(self.raw.fsetstat(handle, attributes)).await.map(drop)
    }

    /// Closes a file or folder.
    pub async fn close(&self, handle: String) -> io::Result<()> {
        self.ask_for(SYNC, self.raw.close(handle)).await.map(drop)
    }

    /// Makes a folder.
    pub async fn make_folder(&self, path: String, mode: u32) -> io::Result<()> {
        let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        self.ask(self.raw.mkdir(path, attributes)).await.map(drop)
    }

    /// Removes a file.
    pub async fn remove(&self, path: String) -> io::Result<()> {
        self.ask(self.raw.remove(path)).await.map(drop)
    }

    /// Removes an empty folder.
    pub async fn remove_folder(&self, path: String) -> io::Result<()> {
        self.ask(self.raw.rmdir(path)).await.map(drop)
    }

    /// A second name for a file.
    pub async fn link(&self, from: String, to: String) -> io::Result<()> {
        self.ask(self.raw.hardlink(from, to)).await.map(drop)
    }

    /// Renames in place of what is there.
    pub async fn replace(&self, from: String, to: String) -> io::Result<()> {
        let mut words = Vec::new();
        for path in [&from, &to] {
            words.extend(u32::try_from(path.len()).unwrap_or(u32::MAX).to_be_bytes());
            words.extend(path.as_bytes());
        }
        let request = async {
            match self.raw.extended("posix-rename@openssh.com", words).await? {
                Packet::Status(Status { status_code: StatusCode::Ok, .. }) => Ok(()),
                Packet::Status(status) => Err(Error::Status(status)),
                _ => Err(Error::UnexpectedPacket),
            }
        };
        self.ask(request).await
    }

    /// Bytes and files that may be added; `None`: the server does not tell.
    pub async fn room(&self, path: String) -> Option<(u64, u64)> {
        if !self.can.room {
            return None;
        }
        let found = self.ask(self.raw.statvfs(path)).await.ok()?;
        // Some file systems count no files.
        let files = if found.inodes == 0 { u64::MAX } else { found.inodes_avail };
        Some((found.blocks_avail.saturating_mul(found.fragment_size), files))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.raw.close_session();
        let ssh = self.ssh.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !matches!(ssh.try_wait(), Ok(Some(_))) {
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = ssh.wait();
        }
        keeper::release(self.group);
    }
}

/// A handle that can be given back as it was.
fn sound(handle: String) -> io::Result<String> {
    match handle.contains(char::REPLACEMENT_CHARACTER) {
        false => Ok(handle),
        true => Err(io::Error::other(Refusal(
            "the server names its open files by bytes that are no text, which cannot be said back to it"
                .to_owned(),
        ))),
    }
}

/// When something last went over a connection, and whether nothing can come any more.
#[derive(Debug)]
struct Heard {
    last: Mutex<Instant>,
    is_closed: watch::Sender<bool>,
}

impl Default for Heard {
    fn default() -> Heard {
        Heard { last: Mutex::new(Instant::now()), is_closed: watch::Sender::new(false) }
    }
}

impl Heard {
    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, done: &Poll<io::Result<T>>) {
        if matches!(done, Poll::Ready(Ok(_))) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Waits until nothing can come any more.
    async fn closed(&self) {
        // The sender lives as long as this.
        let _ = self.is_closed.subscribe().wait_for(|is_closed| *is_closed).await;
    }
}

/// The two pipes of `ssh`, and when something last went through them.
struct Pipes {
    from: ChildStdout,
    to: ChildStdin,
    heard: Arc<Heard>,
}

impl AsyncRead for Pipes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (to.filled().len(), to.remaining());
        let done = Pin::new(&mut self.from).poll_read(cx, to);
        self.heard.note(&done);
        match &done {
            Poll::Ready(Ok(())) if room > 0 && to.filled().len() == before => self.heard.close(),
            Poll::Ready(Err(_)) => self.heard.close(),
            _ => {}
        }
        done
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.to).poll_write(cx, bytes);
        self.heard.note(&done);
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}

/// What `ssh` says.
#[derive(Debug, Default)]
struct Words {
    said: Mutex<Vec<u8>>,
    are_all: AtomicBool,
}

impl Words {
    /// Listens on a thread of its own, until nobody can say anything any more.
    fn listen(self: &Arc<Words>, mut from: ChildStderr) -> io::Result<()> {
        let words = Arc::clone(self);
        let listen = move || {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let mut said = words.said.lock().unwrap_or_else(PoisonError::into_inner);
                let room = WORDS.saturating_sub(said.len()).min(count);
                said.extend(&bytes[..room]);
            }
            words.are_all.store(true, Ordering::Relaxed);
        };
        std::thread::Builder::new().name("ssh".to_owned()).spawn(listen).map(drop)
    }

    fn are_all(&self) -> bool {
        self.are_all.load(Ordering::Relaxed)
    }

    /// In one line.
    fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        let line = lines.collect::<Vec<_>>().join("; ").replace(char::is_control, " ");
        line.trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use backplan_compiler::model::StoreKind;

    use super::*;

    #[test]
    fn what_is_asked_behind_the_end_of_a_connection_is_not_waited_for() {
        let (host, path) = ("h".to_owned(), "/x".to_owned());
        let kind = StoreKind::Sftp { host, port: None, user: None, key: None, path, known_hosts: None };
        let (login, _) = Login::of(&kind).unwrap();
        let engine = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        engine.block_on(async {
            let mut words = Command::new("sh");
            words.args(["-c", "echo no way there >&2"]);
            let session = Session::over(&login, words).unwrap();
            session.heard.closed().await;
            let begun = Instant::now();
            let error = session.ask(session.raw.init()).await.unwrap_err();
            assert!(begun.elapsed() < SILENCE / 2, "{:?}", begun.elapsed());
            assert_eq!(error.to_string(), "the connection to `h` ended: no way there");
        });
    }
}
