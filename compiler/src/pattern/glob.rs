//! One pattern as tokens.

/// What matches a piece of a text. Only [`Token::Deep`], [`Token::Folders`] and a literal slash match a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// This byte.
    Byte(u8),
    /// Any byte.
    Any,
    /// One of these bytes.
    Set(Box<Set>),
    /// Any bytes, or none.
    Star,
    /// Any bytes, slashes among them, or none.
    Deep,
    /// Nothing, or any bytes up to and with a slash. [`Token::Inside`] stands behind it.
    Folders,
    /// Inside of what [`Token::Folders`] matches.
    Inside,
    /// Nothing at all: git never matches a pattern that is not complete.
    Never,
}

impl Token {
    /// Whether it is one byte, and this one.
    pub(super) fn takes(&self, byte: u8) -> bool {
        match self {
            Token::Byte(own) => *own == byte,
            Token::Any => byte != b'/',
            Token::Set(set) => byte != b'/' && set.has(byte),
            _ => false,
        }
    }
}

/// A set of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Set([u64; 4]);

impl Set {
    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte) / 64] |= 1 << (byte % 64);
    }

    pub(super) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte) / 64] & (1 << (byte % 64)) != 0
    }
}

/// A pattern without what stands around it.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    pub(super) tokens: Vec<Token>,
    /// The bytes that it begins with.
    prefix: Vec<u8>,
    /// The bytes behind the only star, where there is nothing else to it.
    suffix: Option<Vec<u8>>,
}

impl Glob {
    /// One that matches nothing.
    pub(super) fn never() -> Glob {
        Glob::of(vec![Token::Never])
    }

    /// A pattern of a single name, in which two stars are one.
    pub(super) fn of_name(text: &[u8]) -> Glob {
        Glob::of(tokens(text, false))
    }

    /// A pattern of a path, without the slash that anchors it.
    pub(super) fn of_path(text: &[u8]) -> Glob {
        Glob::of(tokens(text, true))
    }

    fn of(tokens: Vec<Token>) -> Glob {
        let bytes = |tokens: &[Token]| -> Vec<u8> {
            let literal = |token: &Token| match token {
                Token::Byte(byte) => Some(*byte),
                _ => None,
            };
            tokens.iter().map_while(literal).collect()
        };
        let prefix = bytes(&tokens);
        let suffix = match tokens.get(prefix.len()) {
            Some(Token::Star) => {
                let suffix = bytes(&tokens[prefix.len() + 1..]);
                (prefix.len() + 1 + suffix.len() == tokens.len()).then_some(suffix)
            }
            _ => None,
        };
        Glob { tokens, prefix, suffix }
    }

    /// Whether it matches all of a text.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(self.prefix.as_slice()) else { return false };
        if self.prefix.len() == self.tokens.len() {
            return rest.is_empty();
        }
        match &self.suffix {
            Some(suffix) => rest.strip_suffix(suffix.as_slice()).is_some_and(|star| !star.contains(&b'/')),
            None => matches(&self.tokens[self.prefix.len()..], rest),
        }
    }
}

/// Whether tokens match all of a text. Where one does not go on, only the last star before it needs another try: what a
/// star before that could take, the later one can take as well.
fn matches(tokens: &[Token], text: &[u8]) -> bool {
    let (mut at, mut token) = (0, 0);
    // Where to go on: the token behind, and the text's byte that comes to it next.
    let mut star: Option<(usize, usize)> = None;
    let mut deep: Option<(usize, usize, bool)> = None;
    loop {
        match tokens.get(token) {
            Some(Token::Star) => {
                token += 1;
                star = Some((token, at));
                continue;
            }
            Some(Token::Deep) => {
                token += 1;
                (star, deep) = (None, Some((token, at, false)));
                continue;
            }
            Some(Token::Folders) => {
                token += 2;
                (star, deep) = (None, Some((token, at, true)));
                continue;
            }
            Some(one) if text.get(at).is_some_and(|byte| one.takes(*byte)) => {
                token += 1;
                at += 1;
                continue;
            }
            None if at == text.len() => return true,
            _ => {}
        }
        if let Some((behind, from)) = star
            && text.get(from).is_some_and(|byte| *byte != b'/')
        {
            star = Some((behind, from + 1));
            (token, at) = (behind, from + 1);
        } else if let Some((behind, from, by_folder)) = deep {
            let step = match by_folder {
                true => text[from..].iter().position(|byte| *byte == b'/'),
                false => (from < text.len()).then_some(0),
            };
            let Some(step) = step else { return false };
            let next = from + step + 1;
            (star, deep) = (None, Some((behind, next, by_folder)));
            (token, at) = (behind, next);
        } else {
            return false;
        }
    }
}

fn tokens(text: &[u8], is_path: bool) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len());
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    // What git holds against the path byte by byte it takes off both: two stars behind it are at a beginning.
    let first = text.iter().position(is_special).unwrap_or(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'?' => tokens.push(Token::Any),
            b'\\' => {
                at += 1;
                tokens.push(text.get(at).map_or(Token::Never, |byte| Token::Byte(*byte)));
            }
            b'*' => {
                let start = at;
                while text.get(at + 1) == Some(&b'*') {
                    at += 1;
                }
                let rest = &text[at + 1..];
                let is_left = start == first || text[start - 1] == b'/';
                let is_wide = is_path && at > start && is_left;
                if is_wide && rest.first() == Some(&b'/') {
                    tokens.extend([Token::Folders, Token::Inside]);
                    at += 1;
                } else if is_wide && (rest.is_empty() || rest.starts_with(b"\\/")) {
                    tokens.push(Token::Deep);
                } else {
                    tokens.push(Token::Star);
                }
            }
            b'[' => match set(&text[at + 1..]) {
                Some((set, length)) => {
                    tokens.push(Token::Set(Box::new(set)));
                    at += length;
                }
                None => {
                    tokens.push(Token::Never);
                    return tokens;
                }
            },
            byte => tokens.push(Token::Byte(*byte)),
        }
        at += 1;
    }
    tokens
}

/// The set that begins behind a `[`, and how long it is with its `]`. `None`: it has no end, or a class that there is not.
fn set(text: &[u8]) -> Option<(Set, usize)> {
    let is_negated = matches!(text.first(), Some(b'!' | b'^'));
    let mut at = usize::from(is_negated);
    let mut set = Set::default();
    // The byte from which a `-` leads on.
    let mut low: Option<u8> = None;
    let begin = at;
    loop {
        let byte = *text.get(at)?;
        if byte == b']' && at > begin {
            break;
        }
        at += 1;
        match (byte, low) {
            (b'\\', _) => {
                let byte = *text.get(at)?;
                at += 1;
                set.add(byte);
                low = Some(byte);
            }
            (b'-', Some(from)) if text.get(at).is_some_and(|next| *next != b']') => {
                at += usize::from(text[at] == b'\\');
                let to = *text.get(at)?;
                at += 1;
                (from..=to).for_each(|byte| set.add(byte));
                low = None;
            }
            (b'[', _) if text.get(at) == Some(&b':') => {
                let end = at + 1 + text[at + 1..].iter().position(|byte| *byte == b']')?;
                let name = text[at + 1..end].strip_suffix(b":");
                match name {
                    Some(name) => {
                        let class = class(name)?;
                        (0..=u8::MAX).filter(|byte| class(*byte)).for_each(|byte| set.add(byte));
                        low = None;
                        at = end + 1;
                    }
                    None => {
                        set.add(b'[');
                        low = Some(b'[');
                    }
                }
            }
            (byte, _) => {
                set.add(byte);
                low = Some(byte);
            }
        }
    }
    if is_negated {
        set.0.iter_mut().for_each(|word| *word = !*word);
    }
    Some((set, at + 1))
}

/// The bytes of a class, `[:NAME:]`, in no locale.
fn class(name: &[u8]) -> Option<fn(u8) -> bool> {
    Some(match name {
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"print" => |byte| byte == b' ' || byte.is_ascii_graphic(),
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"space" => |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return None,
    })
}
