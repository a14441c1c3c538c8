//! The syntax tree. Every node keeps its span; nothing here knows which kinds or attributes exist.

use crate::span::{Span, Spanned};

/// A name as written: `[a-z][a-z0-9_]*`.
pub type Ident = Spanned<String>;

/// One file: its items in the order written, and its comments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ast {
    /// Items in source order. A runnable file has exactly one [`Item::Plan`]; the compiler checks that.
    pub items: Vec<Item>,
    /// Every comment in source order, `#` included, end of line excluded. `# allow: NAME reason` is one of them.
    pub comments: Vec<Spanned<String>>,
}

/// What may stand at the top of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `plan NAME`
    Plan(PlanHeader),
    /// `import "path" { param = value }`
    Import(Import),
    /// `let NAME = EXPR`
    Let(Let),
    /// `param NAME : TYPE = EXPR`
    Param(Param),
    /// `KIND [NAME] [: TYPE] { … }`
    Decl(Decl),
}

/// `plan NAME`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanHeader {
    /// The plan's name.
    pub name: Ident,
    /// The whole item.
    pub span: Span,
}

/// `import "path" { param = value, … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The path, relative to the importing file. A literal without interpolation: imports are known before evaluation.
    pub path: Spanned<String>,
    /// Bindings of the library's parameters.
    pub bindings: Vec<Attr>,
    /// The whole item.
    pub span: Span,
}

/// `let NAME = EXPR`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Let {
    /// The name bound.
    pub name: Ident,
    /// Its value.
    pub value: Expr,
    /// The whole item.
    pub span: Span,
}

/// `param NAME [: TYPE] [= EXPR]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The name bound.
    pub name: Ident,
    /// The type's name as written; the compiler knows which exist.
    pub ty: Option<Ident>,
    /// The default.
    pub default: Option<Expr>,
    /// The whole item.
    pub span: Span,
}

/// `KIND [NAME] [: TYPE] { … }`, at the top of a file or nested in another block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decl {
    /// The first word.
    pub kind: Ident,
    /// The second word, if there is one before the colon or brace.
    pub name: Option<Ident>,
    /// The word behind the colon.
    pub ty: Option<Ident>,
    /// Statements between the braces, in source order.
    pub body: Vec<Entry>,
    /// From the kind to the closing brace.
    pub span: Span,
}

/// A statement in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// `name = expr`
    Attr(Attr),
    /// A nested block such as `keep { … }`.
    Block(Decl),
}

/// `name = expr`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    /// The attribute's name.
    pub name: Ident,
    /// Its value.
    pub value: Expr,
    /// From the name to the end of the value.
    pub span: Span,
}

/// An expression and its place.
pub type Expr = Spanned<ExprKind>;

/// What an expression is. Literals are already read: a size is in bytes, a duration in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExprKind {
    /// `"text ${expr} \n"`; a string without interpolation is one [`StrPart::Text`] (none if empty).
    Str(Vec<StrPart>),
    /// `'raw string'`
    RawStr(String),
    /// `12`
    Int(i64),
    /// `true` or `false`
    Bool(bool),
    /// `90s 15m 6h 30d 2w`, in seconds
    Duration(u64),
    /// `512B 64KiB 10MB 5GiB`, in bytes
    Size(u64),
    /// `50MiB/s`, in bytes per second
    Rate(u64),
    /// `02:30`
    TimeOfDay {
        /// 0 to 23
        hour: u8,
        /// 0 to 59
        minute: u8,
    },
    /// `10s..10m`: any two scalar literals
    Range(Box<Expr>, Box<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// A bare word: a reference, or a keyword of the attribute's type.
    Word(String),
    /// `name(arg, …)`
    Call {
        /// The function's name.
        name: Ident,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// `every 30m`, `hourly`, `daily at 02:30`, `weekly on sun at 03:00`, `monthly on 1 at 04:00`.
    /// `hourly` alone is a [`ExprKind::Word`]; the compiler reads it as a schedule where one is wanted.
    Schedule(SchedulePhrase),
}

/// Part of an interpolated string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StrPart {
    /// Text with escapes resolved.
    Text(String),
    /// `${expr}`
    Expr(Expr),
}

/// A schedule written in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchedulePhrase {
    /// `every 30m`, in seconds
    Every(u64),
    /// `daily at 02:30`
    Daily {
        /// hour and minute
        at: (u8, u8),
    },
    /// `weekly on sun at 03:00`
    Weekly {
        /// 0 is Monday, 6 is Sunday
        day: u8,
        /// hour and minute
        at: (u8, u8),
    },
    /// `monthly on 1 at 04:00`
    Monthly {
        /// 1 to 31
        day: u8,
        /// hour and minute
        at: (u8, u8),
    },
}
