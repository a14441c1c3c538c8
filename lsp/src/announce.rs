//! The handshake: what this server can do, and what the editor says of itself.

use lsp_server::{Message, Request};
use lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CompletionOptions,
    HoverProviderCapability, InitializeParams, OneOf, RenameOptions, ServerCapabilities,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions, Uri,
};
use serde_json::{Value, json};

use crate::server::Client;

/// The answer to `initialize`.
pub(crate) fn capabilities() -> Value {
    let capabilities = ServerCapabilities {
        text_document_sync: Some(TextDocumentSyncCapability::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::INCREMENTAL),
            ..TextDocumentSyncOptions::default()
        })),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some([":", "[", "{", "\"", "/", "="].map(str::to_owned).to_vec()),
            ..CompletionOptions::default()
        }),
        definition_provider: Some(OneOf::Left(true)),
        references_provider: Some(OneOf::Left(true)),
        document_highlight_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        document_formatting_provider: Some(OneOf::Left(true)),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]),
            ..CodeActionOptions::default()
        })),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: Default::default(),
        })),
        ..ServerCapabilities::default()
    };
    json!({
        "capabilities": capabilities,
        "serverInfo": { "name": "plan", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// What the editor can do.
pub(crate) fn client(params: &InitializeParams) -> Client {
    let document = params.capabilities.text_document.as_ref();
    let workspace = params.capabilities.workspace.as_ref();
    let completion = document.and_then(|document| document.completion.as_ref()?.completion_item.as_ref());
    let watches = workspace.and_then(|workspace| workspace.did_change_watched_files?.dynamic_registration);
    let edits = workspace.and_then(|workspace| workspace.workspace_edit.as_ref()?.document_changes);
    Client {
        snippets: completion.and_then(|item| item.snippet_support).unwrap_or(false),
        versioned_edits: edits.unwrap_or(false),
        watches: watches.unwrap_or(false),
    }
}

/// The folders that the editor works in.
pub(crate) fn folders(params: &InitializeParams) -> Vec<Uri> {
    // Older editors know one folder, under a name that the protocol has given up.
    #[allow(deprecated)]
    let root = params.root_uri.clone();
    match &params.workspace_folders {
        Some(folders) if !folders.is_empty() => folders.iter().map(|folder| folder.uri.clone()).collect(),
        _ => root.into_iter().collect(),
    }
}

/// Asks to be told when plan files come and go.
pub(crate) fn watch_files() -> Message {
    let watchers = json!([{ "globPattern": "**/*.plan" }]);
    let registration = json!({
        "id": "plan-files",
        "method": "workspace/didChangeWatchedFiles",
        "registerOptions": { "watchers": watchers },
    });
    let params = json!({ "registrations": [registration] });
    Request::new("plan-files".to_owned().into(), "client/registerCapability".to_owned(), params).into()
}
