//! One word for one thing, the field's word where there is one: the words that this project once made up stand in no identifier and in no
//! file's name. docs/design.md has the glossary.

use proc_macro2::{TokenStream, TokenTree};
use std::fs;
use std::path::{Path, PathBuf};

/// Words that are not used any more, and what is said instead.
const RETIRED: [(&str, &str); 43] = [
    ("door", "server"),
    ("gate", "acceptor"),
    ("porch", "half-open queue"),
    ("stranger", "half-open connection, other user"),
    ("strangers", "half-open connections"),
    ("crowd", "source bucket"),
    ("crowds", "source buckets"),
    ("roll", "registry"),
    ("seat", "permit"),
    ("seats", "permits"),
    ("member", "peer connection"),
    ("members", "peer connections"),
    ("guest", "peer"),
    ("guests", "peers"),
    ("desk", "peer handler"),
    ("refusals", "rejection log"),
    ("conduct", "peer policy"),
    ("aftermath", "deferred"),
    ("lender", "responder"),
    ("letters", "message buffers"),
    ("parcel", "frame"),
    ("parcels", "frames"),
    ("hail", "ready"),
    ("bell", "waker"),
    ("fate", "close reason"),
    ("bury", "tear down"),
    ("glance", "health check"),
    ("hush", "drain events"),
    ("keeper", "maintainer"),
    ("again", "retry, anew"),
    ("question", "call"),
    ("asker", "call context"),
    ("harmless", "idempotent"),
    ("told", "notified"),
    ("shrinks", "truncate_seq"),
    ("lineage", "client owner"),
    ("doomed", "orphans"),
    ("mending", "repair"),
    ("seen", "kernel cache state, observed"),
    ("visitor", "simulated peer"),
    ("deed", "event, operation"),
    ("pieces", "extent map, segments"),
    ("mutates", "is not idempotent"),
];

#[test]
fn retired_words_stand_in_no_identifier_and_no_name_of_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut read = 0;
    for name in ["meta", "rdma", "fs", "mount-tool", "tests"] {
        for path in rust_files(&root.join(name)) {
            let code = fs::read_to_string(&path).expect("a source can be read");
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let tokens: TokenStream = code.parse().expect("a source is Rust");
            let mut names = identifiers(tokens);
            names.push(stem);
            read += 1;
            found.extend(
                names
                    .iter()
                    .filter_map(|name| retired(name))
                    .map(|word| format!("{}: {word}", path.display())),
            );
        }
    }
    assert!(read > 100, "only {read} files were read");
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_retired_word_is_found_wherever_it_stands() {
    let code = "fn knock(at: &FrontDoor) { let asked_again = MAX_GUESTS; format!(\"door\"); } // a porch";
    let names = identifiers(code.parse().expect("it is Rust"));
    let found: Vec<_> = names.iter().filter_map(|name| retired(name)).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(retired("indoors").is_none() && retired("scroll_back").is_none());
}

/// What is wrong with a name, and what to call it; `None`: nothing.
fn retired(name: &str) -> Option<String> {
    let parts = parts(name);
    let (word, instead) = RETIRED
        .iter()
        .find(|(word, _)| parts.iter().any(|part| part == word))?;
    Some(format!("`{name}` has the retired word '{word}': say {instead}"))
}

/// `snake_case` and `CamelCase` names as the words that they consist of, in small letters.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for letter in name.chars() {
        let begins = letter == '_' || (letter.is_uppercase() && !before.is_uppercase());
        if begins {
            parts.push(String::new());
        }
        if letter != '_'
            && let Some(part) = parts.last_mut()
        {
            part.extend(letter.to_lowercase());
        }
        before = letter;
    }
    parts
}

/// All identifiers, within macros and attributes too; not what stands in strings and comments.
fn identifiers(tokens: TokenStream) -> Vec<String> {
    let mut names = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => names.push(ident.to_string()),
            TokenTree::Group(group) if !is_doc(&group.stream()) => names.extend(identifiers(group.stream())),
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    names
}

/// A doc comment, which the parser turns into an attribute.
fn is_doc(stream: &TokenStream) -> bool {
    matches!(stream.clone().into_iter().next(), Some(TokenTree::Ident(ident)) if ident == "doc")
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
