//! A compact rendering of a syntax tree, spans left out: what snapshots and properties compare.

use backplan_grammar::ast::{Ast, Attr, Decl, Entry, Expr, ExprKind, Item, SchedulePhrase, StrPart};

/// The tree of `ast`, one statement a line, then its comments.
pub fn outline(ast: &Ast) -> String {
    let mut out = items(ast);
    for comment in &ast.comments {
        out.push_str(&format!("{}\n", comment.node));
    }
    out
}

/// The items alone.
pub fn items(ast: &Ast) -> String {
    let mut out = String::new();
    for item in &ast.items {
        match item {
            Item::Plan(plan) => out.push_str(&format!("plan {}\n", plan.name.node)),
            Item::Import(import) => {
                out.push_str(&format!("import {:?}\n", import.path.node));
                import.bindings.iter().for_each(|binding| attr(binding, 1, &mut out));
            }
            Item::Let(binding) => {
                out.push_str(&format!("let {} = {}\n", binding.name.node, expr(&binding.value)));
            }
            Item::Param(param) => {
                let ty = param.ty.as_ref().map_or("-", |ty| ty.node.as_str());
                let default = param.default.as_ref().map_or("-".into(), expr);
                out.push_str(&format!("param {}: {ty} = {default}\n", param.name.node));
            }
            Item::Decl(block) => decl(block, 0, &mut out),
        }
    }
    out
}

fn decl(decl_: &Decl, level: usize, out: &mut String) {
    let name = decl_.name.as_ref().map_or("-", |name| name.node.as_str());
    let ty = decl_.ty.as_ref().map_or("-", |ty| ty.node.as_str());
    out.push_str(&format!("{}{} {name}: {ty}\n", "  ".repeat(level), decl_.kind.node));
    for entry in &decl_.body {
        match entry {
            Entry::Attr(inner) => attr(inner, level + 1, out),
            Entry::Block(inner) => decl(inner, level + 1, out),
        }
    }
}

fn attr(attr: &Attr, level: usize, out: &mut String) {
    out.push_str(&format!("{}{} = {}\n", "  ".repeat(level), attr.name.node, expr(&attr.value)));
}

fn list(values: &[Expr]) -> String {
    values.iter().map(expr).collect::<Vec<_>>().join(", ")
}

/// One expression: its kind and its value.
pub fn expr(value: &Expr) -> String {
    match &value.node {
        ExprKind::Str(parts) => {
            let parts = parts.iter().map(|part| match part {
                StrPart::Text(text) => format!("{text:?}"),
                StrPart::Expr(inner) => format!("${{{}}}", expr(inner)),
            });
            format!("str({})", parts.collect::<Vec<_>>().join(" "))
        }
        ExprKind::RawStr(text) => format!("raw({text:?})"),
        ExprKind::Int(int) => format!("int({int})"),
        ExprKind::Bool(bool) => format!("bool({bool})"),
        ExprKind::Duration(seconds) => format!("duration({seconds}s)"),
        ExprKind::Size(bytes) => format!("size({bytes}B)"),
        ExprKind::Rate(bytes) => format!("rate({bytes}B/s)"),
        ExprKind::TimeOfDay { hour, minute } => format!("time({hour}:{minute})"),
        ExprKind::Range(from, to) => format!("range({}, {})", expr(from), expr(to)),
        ExprKind::List(values) => format!("[{}]", list(values)),
        ExprKind::Word(word) => format!("word({word})"),
        ExprKind::Call { name, args } => format!("call {}({})", name.node, list(args)),
        ExprKind::Schedule(SchedulePhrase::Every(seconds)) => format!("every({seconds}s)"),
        ExprKind::Schedule(phrase) => format!("{phrase:?}").to_lowercase(),
    }
}
