//! `# allow: NAME reason`: a warning or note that a person has read and accepts. It stands behind the text it speaks
//! of, or on a line of its own above it. Errors cannot be allowed.

use backplan_grammar::Span;

use crate::codes;
use crate::finding::{Finding, Severity};
use crate::resolve::suggest::{did_you_mean, nearest};
use crate::sources::{FileId, Place, SourceSet};

/// One allowance.
struct Allow<'a> {
    name: &'a str,
    reason: &'a str,
    /// The whole comment.
    text: &'a str,
    place: Place,
    /// The line that it speaks of: the range of its bytes.
    line: Span,
}

/// What is left of the findings, and what the allowances come to.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// What is not allowed; with it what is wrong with allowances.
    pub findings: Vec<Finding>,
    /// Allowances of libraries that this plan does not need: another plan that imports the library may.
    pub idle: Vec<Finding>,
}

/// Takes away what is allowed, and tells of allowances that allow nothing: only where `checked` says that everything was
/// looked for.
pub(crate) fn apply(set: &SourceSet, findings: Vec<Finding>, checked: bool) -> Applied {
    let allows: Vec<Allow<'_>> = set.iter().flat_map(|(file, _)| allows_of(set, file)).collect();
    let mut used = vec![false; allows.len()];
    let mut applied = Applied::default();
    for finding in findings {
        let allowed = allows.iter().position(|allow| allow.covers(&finding));
        match allowed {
            Some(index) if finding.severity != Severity::Error => used[index] = true,
            _ => applied.findings.push(finding),
        }
    }
    for (allow, used) in allows.iter().zip(used).filter(|_| checked) {
        let is_elsewheres = !used && allow.place.file != set.root() && allow.is_possible();
        let told = if is_elsewheres { &mut applied.idle } else { &mut applied.findings };
        told.extend(allow.complaint(used));
    }
    applied
}

impl Allow<'_> {
    fn covers(&self, finding: &Finding) -> bool {
        let at = finding.primary.place;
        let on_line = (self.line.start..=self.line.end).contains(&at.span.start);
        finding.name == self.name && at.file == self.place.file && on_line
    }

    /// Whether any plan may have such a finding, and have it allowed.
    fn is_possible(&self) -> bool {
        codes::CODES.iter().any(|code| code.name == self.name && code.severity != Severity::Error)
    }

    fn complaint(&self, used: bool) -> Option<Finding> {
        let name = self.name;
        if used {
            let message = format!("the allowance of `{name}` gives no reason");
            let finding = Finding::new(&codes::ALLOW_WITHOUT_REASON, self.place, message);
            return self
                .reason
                .is_empty()
                .then(|| finding.help(format!("say why it may be: `# allow: {name} the reason`")));
        }
        let help = match codes::code(name) {
            None => did_you_mean(name, codes::CODES.iter().map(|code| code.name))
                .unwrap_or_else(|| "write `# allow: NAME reason` with the name that a finding shows".into()),
            Some(code) if codes::LIVE.contains(&code) => {
                "what the world lacks cannot be allowed: it is told by `plan check --live` alone".into()
            }
            Some(code) if code.severity == Severity::Error => "an error cannot be allowed: mend it".into(),
            Some(_) => "delete it; the line it speaks of has no such finding".into(),
        };
        let message = format!("nothing to allow: no finding `{name}` here");
        let finding = Finding::new(&codes::UNUSED_ALLOW, self.place, message).help(help);
        if let Some(near) = nearest(name, codes::CODES.iter().map(|code| code.name))
            && near != name
        {
            let new = self.text.replacen(name, near, 1);
            return Some(finding.instead(self.text, Some(&new)));
        }
        Some(finding.instead(self.text, Some("")))
    }
}

fn allows_of(set: &SourceSet, file: FileId) -> impl Iterator<Item = Allow<'_>> {
    let source = set.file(file);
    source.parsed.ast.comments.iter().filter_map(move |comment| {
        let words = comment.node.trim_start_matches('#').trim_start().strip_prefix("allow:")?.trim();
        let (name, reason) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
        let line = line_spoken_of(&source.text, comment.span);
        Some(Allow {
            name,
            reason: reason.trim(),
            text: &comment.node,
            place: Place { file, span: comment.span },
            line,
        })
    })
}

/// The line of a comment; for a comment alone on its line, the next one that is neither empty nor a comment.
fn line_spoken_of(text: &str, comment: Span) -> Span {
    let start = text[..comment.start].rfind('\n').map_or(0, |end| end + 1);
    let end_of = |start: usize| text[start..].find('\n').map_or(text.len(), |length| start + length);
    let mut line = Span::new(start, end_of(start));
    let alone = text[start..comment.start].trim().is_empty();
    while alone && line.end < text.len() && is_idle(&text[line.start..line.end]) {
        line = Span::new(line.end + 1, end_of(line.end + 1));
    }
    line
}

fn is_idle(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}
