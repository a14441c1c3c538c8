//! The loop: messages in, answers out. One thread answers; a second examines plans and tells what it found. A panic is
//! logged, answered as an internal error, and the loop goes on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use backplan_compiler::sources::Inputs;
use lsp_server::{Connection, ErrorCode, Message, Notification, ProtocolError, Request, Response};
use lsp_types::InitializeParams;
use serde_json::Value;

use crate::files::Files;
use crate::watch::Watch;
use crate::{announce, answer, uri};

/// How long after the last change a plan is examined: while a word is typed there is nothing to tell.
const PAUSE: Duration = Duration::from_millis(120);

/// Why the server ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client did not keep to the protocol.
    #[error("the editor did not keep to the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The client's first message cannot be read.
    #[error("the editor's `initialize` cannot be read: {0}")]
    Initialize(#[from] serde_json::Error),
    /// A stream failed.
    #[error("the connection to the editor broke: {0}")]
    Stream(#[from] std::io::Error),
}

/// What the client can do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Client {
    pub snippets: bool,
    pub versioned_edits: bool,
    pub watches: bool,
}

/// Serves one editor over the standard streams until it says `exit`. `false`: it ended without saying so.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(inputs: Inputs) -> Result<bool, ServeError> {
    let (connection, threads) = Connection::stdio();
    let ended_well = converse(&connection, inputs)?;
    drop(connection);
    threads.join()?;
    Ok(ended_well)
}

/// The conversation, from `initialize` to `exit`.
fn converse(connection: &Connection, inputs: Inputs) -> Result<bool, ServeError> {
    let (id, params) = connection.initialize_start()?;
    let params: InitializeParams = serde_json::from_value(params)?;
    connection.initialize_finish(id, announce::capabilities())?;
    let client = announce::client(&params);
    let mut files = Files::default();
    files.look_below(announce::folders(&params).iter().map(uri::to_path).collect());
    let sender = connection.sender.clone();
    let send = move |message| {
        // What cannot be sent was for an editor that has gone; the loop sees that too.
        let _ = sender.send(message);
    };
    let watch = Watch::start(send, inputs.clone());
    let mut server = Server { files, inputs, client, watch, due: None, is_leaving: false };
    if client.watches {
        let _ = connection.sender.send(announce::watch_files());
    }
    Ok(server.run(connection))
}

/// The state of one conversation.
pub(crate) struct Server {
    pub files: Files,
    pub inputs: Inputs,
    pub client: Client,
    pub watch: Watch,
    /// When plans are to be examined.
    due: Option<Instant>,
    /// The client said `shutdown`: `exit` is to follow.
    is_leaving: bool,
}

impl Server {
    fn run(&mut self, connection: &Connection) -> bool {
        loop {
            let message = match self.due {
                None => connection.receiver.recv().ok(),
                Some(due) => match connection.receiver.recv_deadline(due) {
                    Ok(message) => Some(message),
                    Err(error) if error.is_timeout() => {
                        self.examine();
                        continue;
                    }
                    Err(_) => None,
                },
            };
            match message {
                None => return false,
                Some(Message::Request(request)) => {
                    let answer = match (self.is_leaving, request.method.as_str()) {
                        (true, _) => {
                            let message = "the server was told to shut down".to_owned();
                            Response::new_err(request.id, ErrorCode::InvalidRequest as i32, message)
                        }
                        (false, "shutdown") => {
                            self.is_leaving = true;
                            Response { id: request.id, response_result: Ok(Value::Null) }
                        }
                        (false, _) => self.respond(request),
                    };
                    let _ = connection.sender.send(answer.into());
                }
                Some(Message::Notification(notification)) if notification.method == "exit" => {
                    return self.is_leaving;
                }
                // What is closed or changed on the way out is of no more interest.
                Some(Message::Notification(_)) if self.is_leaving => {}
                Some(Message::Notification(notification)) => self.take_note(notification),
                Some(Message::Response(_)) => {}
            }
        }
    }

    /// Examines the plans of all open texts.
    fn examine(&mut self) {
        self.due = None;
        let done = catch_unwind(AssertUnwindSafe(|| self.watch.look(&mut self.files)));
        if let Err(panic) = done {
            log(&*panic, "examining");
        }
    }

    fn respond(&mut self, request: Request) -> Response {
        let Request { id, method, params } = request;
        let answer = catch_unwind(AssertUnwindSafe(|| answer::answer(self, &method, params)));
        match answer {
            // Not `new_ok`, which copies a value node by node.
            Ok(Ok(value)) => Response { id, response_result: Ok(value) },
            Ok(Err(trouble)) => Response::new_err(id, trouble.code as i32, trouble.message),
            Err(panic) => {
                log(&*panic, &method);
                let message = format!("`{method}` failed; the server goes on");
                Response::new_err(id, ErrorCode::InternalError as i32, message)
            }
        }
    }

    fn take_note(&mut self, notification: Notification) {
        let Notification { method, params } = notification;
        let noted = catch_unwind(AssertUnwindSafe(|| answer::take_note(self, &method, params)));
        match noted {
            Ok(Ok(true)) => self.due = Some(Instant::now() + PAUSE),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!("`{method}` cannot be read: {error}"),
            Err(panic) => log(&*panic, &method),
        }
    }
}

/// What a request cannot be answered for.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub code: ErrorCode,
    pub message: String,
}

impl From<serde_json::Error> for Trouble {
    fn from(error: serde_json::Error) -> Self {
        Trouble { code: ErrorCode::InvalidParams, message: error.to_string() }
    }
}

/// An answer, or why there is none.
pub(crate) type Answer = Result<Value, Trouble>;

fn log(panic: &(dyn Any + Send), what: &str) {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!("`{what}` panicked: {text}");
}
