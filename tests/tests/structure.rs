//! The shape of the sources: which crate knows which, modules bottom-up, files of a readable size, `unsafe` only where it is
//! proved, and documents that name tests that exist.

use rdmafs_tests::circles::circles;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 5] = ["meta", "rdma", "fs", "mount-tool", "tests"];

/// Files are shorter than so many lines, their tests among them.
const LONGEST: usize = 500;

#[test]
fn crates_know_only_what_stands_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = [
        ("meta", &[][..]),
        ("rdma", &[][..]),
        ("fs", &["rdmafs-meta", "rdmafs-rdma"][..]),
        ("mount-tool", &["rdmafs-fs"][..]),
    ]
    .into();
    for (name, allowed) in allowed {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let keys = manifest
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next());
        let ours: Vec<_> = keys.filter(|key| key.starts_with("rdmafs-")).collect();
        for dependency in ours {
            let own = format!("rdmafs-{name}");
            assert!(
                dependency == own || allowed.contains(&dependency),
                "{name} depends on {dependency}"
            );
        }
        let names_fuser = manifest.lines().any(|line| line.starts_with("fuser"));
        assert_eq!(names_fuser, name == "fs", "only fs may name fuser; {name}");
    }
}

#[test]
fn only_fs_fuse_names_fuser() {
    for name in CRATES {
        for (path, code) in sources(name) {
            let inside = path.starts_with(root().join("fs/src/fuse"));
            let names = words(&code).any(|word| word == "fuser");
            assert!(inside || !names, "{} names fuser", path.display());
        }
    }
}

#[test]
fn modules_stand_bottom_up() {
    for name in CRATES {
        let lib = root().join(name).join("src/lib.rs");
        if lib.exists() {
            check_order(name, &modules(&read(&lib)));
        }
    }
}

/// Every path that starts with `crate::` in a module must lead to itself or to a module declared before it.
fn check_order(name: &str, order: &[String]) {
    assert!(!order.is_empty(), "{name}/src/lib.rs declares no module");
    let place = |module: &str| order.iter().position(|m| m == module);
    for (path, code) in sources(name) {
        let Some(module) = module_of(name, &path) else {
            continue;
        };
        let own = place(&module).unwrap_or_else(|| panic!("{} is in no module of lib.rs", path.display()));
        for target in targets(&code) {
            let Some(there) = place(&target) else {
                panic!(
                    "{} names crate::{target}, which lib.rs does not declare",
                    path.display()
                );
            };
            assert!(
                there <= own,
                "{}: module {module} imports crate::{target}, which stands below it in {name}/src/lib.rs",
                path.display()
            );
        }
    }
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    for name in ["meta", "rdma", "fs", "mount-tool"] {
        let circles = circles(&root().join(name).join("src"));
        assert!(circles.is_empty(), "in {name}: {circles:?}");
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for name in CRATES {
        for path in files(&root().join(name), "rs") {
            let text = read(&path);
            let lines = text.lines().count();
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            assert!(lines < LONGEST, "{shown} has {lines} lines");
            assert!(text.starts_with("//!"), "{shown} does not say what it is");
        }
    }
}

/// A program that is built by itself (`-p rdmafs-mount-tool`) has nothing in it that only tests use.
#[test]
fn what_only_tests_use_is_compiled_for_them_alone() {
    for (index, module) in [
        ("rdma/src/lib.rs", "pub mod sim;"),
        ("meta/src/store/mod.rs", "pub mod conformance;"),
        ("fs/src/handler/mod.rs", "pub mod testing;"),
        ("fs/src/node/mod.rs", "pub(crate) mod stepped;"),
        ("fs/src/executor/mod.rs", "mod stepped;"),
    ] {
        let marked = format!("#[cfg(any(test, feature = \"testing\"))]\n{module}");
        let text = read(&root().join(index));
        assert!(text.contains(&marked), "{index}: {module}");
    }
    for name in ["meta", "rdma", "fs", "mount-tool"] {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let product = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        let turned_on = |line: &str| {
            let feature_itself = line.starts_with("testing = [");
            line.contains("testing") && !feature_itself && !line.starts_with('#')
        };
        let line = product.lines().find(|line| turned_on(line));
        assert_eq!(line, None, "{name}/Cargo.toml");
    }
}

/// `unsafe` stands in `rdma`, where memory is mapped or given to a device, and in at most one module of `fs`.
#[test]
fn unsafe_stands_only_where_it_is_proved() {
    let mut outside = BTreeSet::new();
    let allowed = ["arena", "buffer", "sys", "verbs"].map(|module| root().join("rdma/src").join(module));
    for name in CRATES {
        for (path, code) in sources(name) {
            let text = path.to_string_lossy().into_owned();
            let proved = allowed
                .iter()
                .any(|allowed| text.starts_with(&*allowed.to_string_lossy()));
            if !proved && words(&code).any(|word| word == "unsafe") {
                assert_eq!(name, "fs", "{text} uses unsafe");
                outside.insert(module_of(name, &path));
            }
        }
    }
    assert!(outside.len() <= 1, "unsafe in several modules of fs: {outside:?}");
    for pure in ["meta/src/lib.rs", "mount-tool/src/main.rs"] {
        let text = read(&root().join(pure));
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{pure} does not forbid unsafe"
        );
    }
}

/// By `shown`, which writes as text what a terminal would obey; `Path::display` does not.
#[test]
fn names_of_others_get_into_texts_by_one_way() {
    for name in ["rdma", "fs", "mount-tool"] {
        for (path, code) in sources(name) {
            let bypasses = code.contains(".display()");
            assert!(
                !bypasses,
                "{} shows a path by itself: use shown()",
                path.display()
            );
        }
    }
}

/// A document names a test, between backquotes, as a shell test (`NN-name.sh`), as a file or folder of the sources, or as
/// `file.rs::name`; each must exist.
#[test]
fn documents_name_tests_that_exist() {
    let mut named = 0;
    for path in files(&root().join("docs"), "md") {
        let text = read(&path);
        for quoted in text.split('`').skip(1).step_by(2) {
            let there = names_a_test(quoted).map(|test| exists(&test));
            assert!(there != Some(false), "{}: there is no {quoted}", path.display());
            named += u32::from(there.is_some());
        }
    }
    assert!(named > 30, "only {named} names were understood");
}

/// The test that a quoted word names, from the root; `None` where it names something else.
fn names_a_test(quoted: &str) -> Option<String> {
    let word = quoted.split(' ').next().unwrap_or_default();
    let shell = word.len() > 3 && word[..2].bytes().all(|b| b.is_ascii_digit()) && word.ends_with(".sh");
    let ours = CRATES.iter().any(|name| word.starts_with(&format!("{name}/")));
    match shell {
        true => Some(format!("tests/shell/{word}")),
        false => ours.then(|| word.to_owned()),
    }
}

fn exists(test: &str) -> bool {
    let (path, function) = test.split_once("::").unwrap_or((test, ""));
    let path = root().join(path);
    let defined = || read(&path).contains(&format!("fn {function}("));
    path.exists() && (function.is_empty() || defined())
}

/// Each guarantee of the semantics, a list item, ends with the tests that hold it, in brackets.
#[test]
fn each_sentence_of_the_semantics_has_a_test() {
    let text = read(&root().join("docs/semantics.md"));
    let items: Vec<&str> = text.split("\n- ").skip(1).collect();
    assert!(items.len() > 15, "only {} guarantees were found", items.len());
    for item in items {
        let item = item.split("\n\n").next().unwrap().trim_end();
        let tests = item.rsplit_once('[').map_or("", |(_, tests)| tests);
        let named = tests.split('`').skip(1).step_by(2).filter_map(names_a_test);
        assert!(
            item.ends_with(']') && named.count() > 0,
            "no test is named for: {item}"
        );
    }
}

// --- a small reader of Rust ---

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files with this ending below a folder, build products left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The source files of a crate with their code: no comments, no strings, no test modules.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let paths = files(&root().join(name).join("src"), "rs");
    let bare: Vec<_> = paths
        .into_iter()
        .map(|path| (path.clone(), bare(&read(&path))))
        .collect();
    let tests: BTreeSet<_> = bare
        .iter()
        .flat_map(|(path, code)| test_files(path, code))
        .collect();
    let is_test = |path: &Path| {
        tests
            .iter()
            .any(|test| path.starts_with(test) || path == test.with_extension("rs"))
    };
    let product = bare.into_iter().filter(|(path, _)| !is_test(path));
    product.map(|(path, code)| (path, without_tests(&code))).collect()
}

/// Modules `#[cfg(test)] mod x;` in files of their own, as paths without ending.
fn test_files(path: &Path, code: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().expect("a file").to_string_lossy();
    let folder = match &*stem {
        "mod" | "lib" | "main" => path.parent().expect("a folder").to_owned(),
        _ => path.with_extension(""),
    };
    let marked = code.split("#[cfg(test)]").skip(1);
    let names = marked.filter_map(|rest| {
        let line = rest.trim_start().split(['{', ';']).next()?;
        line.split_whitespace().skip_while(|word| *word != "mod").nth(1)
    });
    names.map(|name| folder.join(name)).collect()
}

/// Cuts `#[cfg(test)]` items with a body.
fn without_tests(code: &str) -> String {
    let mut parts = code.split("#[cfg(test)]");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept += &part[end_of_item(part)..];
    }
    kept
}

/// Where the item that starts here ends: at its `;`, or after its braces.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The code without comments, strings and character literals, which are replaced by spaces.
fn bare(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(text, at);
        if end > at {
            out.push(b' ');
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// One past the comment or literal that starts here; `at` if none does.
fn skip(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    let to = |end: Option<usize>| at + end.unwrap_or(rest.len());
    let find = |what: &[u8], from: usize| {
        rest[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map(|p| p + from)
    };
    let word_before = at > 0 && is_word(text.as_bytes()[at - 1]);
    match rest {
        [b'/', b'/', ..] => to(find(b"\n", 0)),
        [b'/', b'*', ..] => to(find(b"*/", 2).map(|p| p + 2)),
        [b'r', b'#', b'"', ..] if !word_before => to(find(b"\"#", 3).map(|p| p + 2)),
        [b'r', b'"', ..] if !word_before => to(find(b"\"", 2).map(|p| p + 1)),
        [b'"', ..] => to(end_of_string(rest)),
        [b'\'', b'\\', ..] => to(find(b"'", 3).map(|p| p + 1)),
        [b'\'', _, b'\'', ..] => at + 3,
        _ => at,
    }
}

fn end_of_string(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// The modules that a lib.rs declares, in its order.
fn modules(lib: &str) -> Vec<String> {
    let code = without_tests(&bare(lib));
    let after_mod = code
        .split("mod ")
        .skip(1)
        .filter_map(|rest| rest.split(';').next());
    after_mod.map(|name| name.trim().to_owned()).collect()
}

/// The top module that a file belongs to; `None` for lib.rs and main.rs themselves.
fn module_of(name: &str, path: &Path) -> Option<String> {
    let inside = path
        .strip_prefix(root().join(name).join("src"))
        .expect("a source file");
    let first = inside
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy();
    let module = first.trim_end_matches(".rs").to_owned();
    (module != "lib" && module != "main").then_some(module)
}

/// The first names of all paths `crate::x` and `crate::{x::.., y}`.
fn targets(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let starts: Vec<_> = code.match_indices("crate::").map(|(at, _)| at).collect();
    for start in starts {
        if start > 0 && (is_word(code.as_bytes()[start - 1]) || code[..start].ends_with('$')) {
            continue;
        }
        let rest = &code[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(first_names(list)),
            None => found.extend(words(rest).next().map(str::to_owned)),
        }
    }
    found
}

/// The first name of each part of `x::{..}, y}`.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut part) = (0, Vec::new(), String::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(words(&std::mem::take(&mut part)).next().map(str::to_owned)),
            _ => {}
        }
        part.push(c);
    }
    names.extend(words(&part).next().map(str::to_owned));
    names
}

#[test]
fn the_reader_of_rust_reads() {
    let code = "use crate::a::B; // crate::no\n/* crate::no2 */ let s = \"crate::no3 \\\" {\"; let c = '{'; \
                use crate::{b::{c, d}, e}; fn f() { crate::g::h() } #[cfg(test)] mod tests { use crate::no4; }";
    let wanted = ["a", "b", "e", "g"].map(str::to_owned).into();
    assert_eq!(targets(&without_tests(&bare(code))), wanted);
    assert_eq!(
        modules("//! mod no;\npub mod a;\nmod b;\n#[cfg(test)]\nmod tests;\n"),
        ["a", "b"]
    );
    assert_eq!(
        words(&bare("r#\"unsafe\"# + 'u' + b'\\'' + unsafe_x")).collect::<Vec<_>>(),
        ["b", "unsafe_x"]
    );
}
