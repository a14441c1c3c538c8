//! Secrets.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "misplaced_secret",
        text: "A secret is fetched when a step needs it and never printed. In a path, a name or an argument it\n\
             would be seen: in listings, in manifests, by every user of the machine. Programs are given it by\n\
             their environment.",
        failing: r#"plan api

store local: dir { path = "/backup" }
source dump: command {
  run = ["curl", "-H", env("API_TOKEN"), "https://api.example/dump"]
  as  = "dump.json"
}
archive dump { from = [dump], to = [local] }
"#,
        mended: r#"plan api

store local: dir { path = "/backup" }
source dump: command {
  run = ["fetch-dump", "https://api.example/dump"]
  as  = "dump.json"
  env = ["API_TOKEN=${env("API_TOKEN")}"]
}
archive dump { from = [dump], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "inline_secret",
        text: "A secret that is written into a plan is in every copy of it, and in its history for ever. The\n\
             plan works, and the secret is redacted in logs and manifests, but keep it elsewhere: in the\n\
             environment, in a file, in a password store. A secret given by `-p` is seen in the list of\n\
             processes.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
notify ops: webhook { url = "https://chat.example/hook/k2j5h8" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
notify ops: webhook { url = file("/etc/backplan/hook") }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "no_recipient",
        text: "An archive encrypted for nobody could not be opened by anybody, and an archive that was to be\n\
             encrypted must not be plain because a list is empty. Name the public key of whoever is to open it;\n\
             leave `encrypt` out only where the archive may be plain.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], encrypt = [] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from    = [site]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "bad_recipient",
        text: "A recipient is a public key: age's (`age1…`) or SSH's (`ssh-ed25519 …`, `ssh-rsa …` of 2048 to\n\
             4096 bits), whole to its last character. The private key has no place in a plan.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], encrypt = ["ops@example.com"] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from    = [site]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "left_in_clear",
        text: "Archives that are encrypted say that whoever can read the store must not read the data. The log of a\n\
             cluster has every row that was written, and a repository has all of them: in clear beside encrypted\n\
             archives they give away what these hide. Encrypt the log for the same keys, and give a repository a\n\
             `passphrase`. Where the log of a source goes elsewhere than its encrypted archive, this is told too.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source main: postgres { driver = basebackup }
archive main {
  from    = [main]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
wal main { to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source main: postgres { driver = basebackup }
archive main {
  from    = [main]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
wal main {
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "missing_identity",
        text: "A run holds public keys only. A rehearsal that restores from an encrypted archive needs the\n\
             private one.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from    = [site]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
verify { every = 7d, restore = site }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from    = [site]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
verify { every = 7d, restore = site, identity = file("/etc/backplan/id") }
"#,
        library: None,
        params: &[],
    },
];
