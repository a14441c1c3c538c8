//! A page that needs nothing else: what every page that the program writes has in common. It is read on a phone, in the dark, in
//! print and without colours: whatever a colour says, a word says too.

/// Colours and type of every page.
const STYLE: &str = ":root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--tint:#f3f5f7;--link:#0550ae;\
--good:#116329;--look:#7a4b00;--bad:#b3191e}\
@media(prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e6e9ed;--soft:#a2acb7;--line:#3a424c;--tint:#1e2329;--link:#7ab7ff;\
--good:#6fd08c;--look:#f0b75e;--bad:#ff8f8a}}\
@media print{:root{--page:#fff;--ink:#000;--soft:#333;--line:#999;--tint:#fff;--link:#000;--good:#000;--look:#000;--bad:#000}}\
html,body{background:var(--page);color:var(--ink)}";

/// A whole page. `style`, `body` and `script` are the caller's own text; the title is escaped here.
pub fn page(title: &str, style: &str, body: &str, script: &str) -> String {
    let script = if script.is_empty() { String::new() } else { format!("<script>{script}</script>\n") };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\n\
         <style>{STYLE}{style}</style></head>\n<body>\n{body}\n{script}</body>\n</html>\n",
        escaped(title)
    )
}

/// Text as it may stand in a page, between tags and in attributes. Characters that steer a reader become signs that show them:
/// controls, and those that turn the direction of what follows.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(sign),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}')
            }
            sign if sign.is_control() => out.push('\u{fffd}'),
            sign => out.push(sign),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, page};

    #[test]
    fn what_a_name_says_is_text() {
        let told = page("<script>x</script>", "", &escaped("a\"'<&\u{202e}\u{1b}"), "");
        assert!(told.contains("&lt;script&gt;x&lt;/script&gt;") && !told.contains("<script"), "{told}");
        assert!(told.contains("a&quot;&#39;&lt;&amp;\u{fffd}\u{fffd}"), "{told}");
    }
}
