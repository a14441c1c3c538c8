//! Whether a text is a public key that something can be encrypted for: of age's own kind, or of SSH.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bech32::Bech32;
use bech32::primitives::decode::CheckedHrpstring;

/// What is wrong with a public key, and what to do about it; `None`: nothing is.
pub fn fault(text: &str) -> Option<(&'static str, &'static str)> {
    const COPY: &str = "copy it again, to the last character";
    if text.starts_with("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY") {
        return Some((
            "this is a private key",
            "write the public key; keep the private one off this machine",
        ));
    }
    if text.starts_with("age1") {
        return (!is_native(text))
            .then_some(("this is no public key: a character is wrong or missing", COPY));
    }
    let mut words = text.split_ascii_whitespace();
    let kind = match words.next() {
        Some(kind @ ("ssh-ed25519" | "ssh-rsa")) => kind,
        Some(kind) if kind.starts_with("ecdsa-") || kind.starts_with("sk-") => {
            return Some((
                "an SSH key of this kind cannot be encrypted for",
                "use one of `ssh-ed25519` or `ssh-rsa`",
            ));
        }
        _ => return Some(("this is no public key", "write \"age1…\", \"ssh-ed25519 …\" or \"ssh-rsa …\"")),
    };
    let blob = words.next().and_then(|word| STANDARD.decode(word).ok()).unwrap_or_default();
    match (kind, fields(&blob).as_deref()) {
        ("ssh-ed25519", Some([name, key])) if *name == b"ssh-ed25519" && key.len() == 32 => None,
        ("ssh-rsa", Some([name, _, modulus])) if *name == b"ssh-rsa" => match bits(modulus) {
            ..2048 => Some(("this RSA key has less than 2048 bits, which is too weak", "use a longer one")),
            2048..=4096 => None,
            _ => Some(("this RSA key has more than 4096 bits, which is not read", "use a shorter one")),
        },
        _ => Some(("this is no public key: a character is wrong or missing", COPY)),
    }
}

fn is_native(text: &str) -> bool {
    let parsed = CheckedHrpstring::new::<Bech32>(text);
    parsed.is_ok_and(|key| key.hrp().as_str() == "age" && key.byte_iter().count() == 32)
}

/// The fields of an SSH key: each its length, then its bytes.
fn fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        fields.push(field);
        blob = rest;
    }
    Some(fields)
}

/// Bits of a number, its zeros in front not counted.
fn bits(number: &[u8]) -> usize {
    let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::fault;

    const NATIVE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn keys_are_keys_to_the_last_character() {
        for good in [NATIVE.to_owned(), SSH.to_owned(), format!("{SSH} somebody@some where")] {
            assert_eq!(fault(&good), None, "{good}");
        }
        let ends = |text: &str, end: &str| format!("{}{end}", &text[..text.len() - 1]);
        for (bad, what) in [
            (ends(NATIVE, "q"), "wrong or missing"),
            (NATIVE[..60].to_owned(), "wrong or missing"),
            (NATIVE.to_uppercase(), "no public key"),
            (SSH[..70].to_owned(), "wrong or missing"),
            (SSH.replace("ed25519", "rsa"), "wrong or missing"),
            ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==".to_owned(), "wrong or missing"),
            ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAf8=".to_owned(), "too weak"),
            ("ecdsa-sha2-nistp256 AAAA".to_owned(), "of this kind"),
            ("AGE-SECRET-KEY-1X".to_owned(), "a private key"),
            (String::new(), "no public key"),
        ] {
            assert!(fault(&bad).is_some_and(|(found, _)| found.contains(what)), "{bad}: {:?}", fault(&bad));
        }
    }
}
