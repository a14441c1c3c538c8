//! Each request to its answer, each notification to what it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsp_server::ErrorCode;
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionParams, CompletionParams, CompletionTextEdit,
    DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams, DocumentChanges,
    DocumentFormattingParams, DocumentHighlight, DocumentHighlightKind, DocumentSymbolParams,
    GotoDefinitionParams, HoverParams, Location, OneOf, OptionalVersionedTextDocumentIdentifier, Range,
    ReferenceParams, RenameParams, TextDocumentEdit, TextDocumentPositionParams, TextEdit, Uri,
    WorkspaceEdit,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::complete::complete;
use crate::examine::Fix;
use crate::files::File;
use crate::hover::hover;
use crate::mentions::{Meaning, Mention};
use crate::names::{self, Found};
use crate::outline::outline;
use crate::server::{Answer, Server, Trouble};
use crate::uri;

/// The answer to a request.
pub(crate) fn answer(server: &mut Server, method: &str, params: Value) -> Answer {
    match method {
        "textDocument/hover" => {
            let params: HoverParams = read(params)?;
            let (path, offset) = server.place(&params.text_document_position_params)?;
            write(hover(&mut server.files, &path, offset))
        }
        "textDocument/completion" => server.completion(read(params)?),
        "textDocument/definition" => server.definition(read(params)?),
        "textDocument/references" => server.references(read(params)?),
        "textDocument/documentHighlight" => server.highlights(read(params)?),
        "textDocument/documentSymbol" => {
            let params: DocumentSymbolParams = read(params)?;
            let file = server.file(&params.text_document.uri)?;
            write(outline(&file))
        }
        "textDocument/formatting" => server.formatting(read(params)?),
        "textDocument/codeAction" => server.code_actions(read(params)?),
        "textDocument/prepareRename" => server.prepare_rename(read(params)?),
        "textDocument/rename" => server.rename(read(params)?),
        _ => Err(Trouble {
            code: ErrorCode::MethodNotFound,
            message: format!("`{method}` is not known to this server"),
        }),
    }
}

/// Takes a notification; whether plans are to be examined for it.
pub(crate) fn take_note(server: &mut Server, method: &str, params: Value) -> Result<bool, serde_json::Error> {
    match method {
        "textDocument/didOpen" => {
            let params: DidOpenTextDocumentParams = serde_json::from_value(params)?;
            let document = params.text_document;
            server.files.open(document.uri, document.version, document.text);
        }
        "textDocument/didChange" => {
            let params: DidChangeTextDocumentParams = serde_json::from_value(params)?;
            server.files.change(
                &params.text_document.uri,
                params.text_document.version,
                params.content_changes,
            );
        }
        "textDocument/didClose" => {
            let params: DidCloseTextDocumentParams = serde_json::from_value(params)?;
            server.files.close(&params.text_document.uri);
        }
        "workspace/didChangeWatchedFiles" => server.files.look_again(),
        _ => return Ok(false),
    }
    Ok(true)
}

fn read<T: DeserializeOwned>(params: Value) -> Result<T, Trouble> {
    Ok(serde_json::from_value(params)?)
}

fn write<T: serde::Serialize>(answer: T) -> Answer {
    Ok(serde_json::to_value(answer)?)
}

fn failed(message: String) -> Trouble {
    Trouble { code: ErrorCode::RequestFailed, message }
}

impl Server {
    fn file(&mut self, uri: &Uri) -> Result<Arc<File>, Trouble> {
        let path = uri::to_path(uri);
        self.files.get(&path).map_err(|why| failed(format!("`{}` {why}", path.display())))
    }

    fn place(&mut self, at: &TextDocumentPositionParams) -> Result<(PathBuf, usize), Trouble> {
        let file = self.file(&at.text_document.uri)?;
        Ok((file.path().to_path_buf(), file.lines.offset(file.text(), at.position)))
    }

    fn mention(&mut self, at: &TextDocumentPositionParams) -> Result<(PathBuf, Option<Mention>), Trouble> {
        let (path, offset) = self.place(at)?;
        let mention = names::mention_at(&mut self.files, &path, offset);
        Ok((path, mention))
    }

    fn completion(&mut self, params: CompletionParams) -> Answer {
        let (path, offset) = self.place(&params.text_document_position)?;
        let mut items = complete(&mut self.files, &path, offset);
        if !self.client.snippets {
            for item in items.iter_mut().filter(|item| item.insert_text_format.is_some()) {
                item.insert_text_format = None;
                if let Some(CompletionTextEdit::Edit(edit)) = &mut item.text_edit {
                    edit.new_text.clone_from(&item.label);
                }
            }
        }
        write(items)
    }

    fn location(&self, found: &Found) -> Option<Location> {
        Some(Location {
            uri: self.files.uri(found.file.path())?,
            range: found.file.lines.range(found.file.text(), found.span),
        })
    }

    fn definition(&mut self, params: GotoDefinitionParams) -> Answer {
        let (path, mention) = self.mention(&params.text_document_position_params)?;
        let locations: Vec<Location> = match mention.map(|mention| mention.meaning) {
            Some(Meaning::Name(name)) => {
                let found = names::all_of(&mut self.files, &path, &name);
                found.iter().filter(|found| found.defines).filter_map(|found| self.location(found)).collect()
            }
            Some(Meaning::Import(path)) if self.files.get(&path).is_ok() => {
                let uri = self.files.uri(&path);
                uri.into_iter().map(|uri| Location { uri, range: Range::default() }).collect()
            }
            _ => Vec::new(),
        };
        write(locations)
    }

    fn references(&mut self, params: ReferenceParams) -> Answer {
        let (path, mention) = self.mention(&params.text_document_position)?;
        let found = self.found(&path, mention);
        let with_declaration = params.context.include_declaration;
        let found = found.iter().filter(|found| with_declaration || !found.defines);
        write(found.filter_map(|found| self.location(found)).collect::<Vec<_>>())
    }

    fn found(&mut self, path: &Path, mention: Option<Mention>) -> Vec<Found> {
        match mention.map(|mention| mention.meaning) {
            Some(Meaning::Name(name)) => names::all_of(&mut self.files, path, &name),
            _ => Vec::new(),
        }
    }

    fn highlights(&mut self, params: lsp_types::DocumentHighlightParams) -> Answer {
        let (path, mention) = self.mention(&params.text_document_position_params)?;
        let found = self.found(&path, mention);
        let here = found.iter().filter(|found| found.file.path() == path);
        let highlights = here.map(|found| DocumentHighlight {
            range: found.file.lines.range(found.file.text(), found.span),
            kind: Some(if found.defines {
                DocumentHighlightKind::WRITE
            } else {
                DocumentHighlightKind::READ
            }),
        });
        write(highlights.collect::<Vec<_>>())
    }

    fn formatting(&mut self, params: DocumentFormattingParams) -> Answer {
        let file = self.file(&params.text_document.uri)?;
        let edits = match backplan_grammar::format(file.text()) {
            Ok(formatted) if formatted != file.text() => {
                vec![TextEdit { range: file.lines.whole(file.text()), new_text: formatted }]
            }
            // A text that cannot be read is left as it is; its diagnostics say why.
            _ => Vec::new(),
        };
        write(edits)
    }

    fn code_actions(&mut self, params: CodeActionParams) -> Answer {
        let path = self.file(&params.text_document.uri)?.path().to_path_buf();
        let told = self.watch.told_now(&mut self.files, &path);
        let mut actions: Vec<CodeAction> = Vec::new();
        for one in told.iter().filter(|one| touches(one.diagnostic.range, params.range)) {
            for (index, fix) in one.fixes.iter().enumerate() {
                let action = CodeAction {
                    title: fix.title.clone(),
                    kind: Some(CodeActionKind::QUICKFIX),
                    diagnostics: Some(vec![one.diagnostic.clone()]),
                    edit: Some(self.fix(fix)),
                    is_preferred: Some(index == 0),
                    ..CodeAction::default()
                };
                // A library's findings are the same in each plan that imports it.
                if !actions.contains(&action) {
                    actions.push(action);
                }
            }
        }
        write(actions)
    }

    fn fix(&self, fix: &Fix) -> WorkspaceEdit {
        self.edit(fix.edits.clone())
    }

    /// Changes of texts, in the form that the editor knows.
    // The key is the protocol's; nothing changes in it while it is one.
    #[allow(clippy::mutable_key_type)]
    fn edit(&self, edits: Vec<(Uri, Option<i32>, TextEdit)>) -> WorkspaceEdit {
        let mut by_file: HashMap<Uri, (Option<i32>, Vec<TextEdit>)> = HashMap::new();
        for (uri, version, edit) in edits {
            by_file.entry(uri).or_insert_with(|| (version, Vec::new())).1.push(edit);
        }
        if !self.client.versioned_edits {
            let changes = by_file.into_iter().map(|(uri, (_, edits))| (uri, edits)).collect();
            return WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() };
        }
        let changes = by_file.into_iter().map(|(uri, (version, edits))| TextDocumentEdit {
            text_document: OptionalVersionedTextDocumentIdentifier { uri, version },
            edits: edits.into_iter().map(OneOf::Left).collect(),
        });
        let document_changes = Some(DocumentChanges::Edits(changes.collect()));
        WorkspaceEdit { document_changes, ..WorkspaceEdit::default() }
    }

    fn prepare_rename(&mut self, params: TextDocumentPositionParams) -> Answer {
        let file = self.file(&params.text_document.uri)?;
        let (_, mention) = self.mention(&params)?;
        match mention {
            Some(mention) if matches!(mention.meaning, Meaning::Name(_)) => {
                let placeholder = file.text().get(mention.span.start..mention.span.end);
                write(json!({
                    "range": file.lines.range(file.text(), mention.span),
                    "placeholder": placeholder.unwrap_or_default(),
                }))
            }
            _ => Ok(Value::Null),
        }
    }

    fn rename(&mut self, params: RenameParams) -> Answer {
        let (path, mention) = self.mention(&params.text_document_position)?;
        let Some(Meaning::Name(name)) = mention.map(|mention| mention.meaning) else {
            return Err(failed("there is no name here that could be changed".into()));
        };
        let found = names::renamed(&mut self.files, &self.inputs, &path, &name, &params.new_name);
        let found = found.map_err(|why| failed(format!("it cannot be renamed: {why}")))?;
        let edits = found.iter().filter_map(|found| {
            let location = self.location(found)?;
            let edit = TextEdit { range: location.range, new_text: params.new_name.clone() };
            Some((location.uri, self.files.version(found.file.path()), edit))
        });
        let edits = edits.collect();
        write(self.edit(edits))
    }
}

fn touches(one: Range, other: Range) -> bool {
    one.start <= other.end && other.start <= one.end
}
