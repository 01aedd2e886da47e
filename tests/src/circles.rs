//! Which source files import one another in a circle.
//!
//! A file imports another one when a path in it (in a `use`, an expression, a type, or among the words given to a macro) leads to something
//! that is defined there: `crate::`, `self::`, `super::`, modules and imported names are followed, and so are re-exports, to the file that
//! defines the thing. A `pub use` in a file that declares modules imports nothing: it only passes on. Code of tests counts for nothing.
//! Method calls are not followed: without types nobody knows where they lead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// The names of a path, outermost first.
type Names = Vec<String>;

/// A module: its file may hold other ones, inline.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// What it defines, apart from modules.
    items: BTreeSet<String>,
    children: BTreeSet<String>,
    imports: Vec<Import>,
    /// All paths that stand in its code.
    paths: BTreeSet<Names>,
}

struct Import {
    /// What it is called here; `None` for all names of a module (`*`).
    name: Option<String>,
    target: Names,
    public: bool,
}

/// The modules of a crate, by their path.
struct Crate(BTreeMap<Names, Module>);

/// The circles among the files below `source`, whose root is its `lib.rs` or `main.rs`: of each one its files, relative to `source`, sorted.
///
/// # Panics
/// A file cannot be read, or is no Rust.
#[must_use]
pub fn circles(source: &Path) -> Vec<BTreeSet<PathBuf>> {
    let edges = imports(source);
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        edges.keys().map(|file| (file, reachable(&edges, file))).collect();
    let mut found: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (file, below) in &reached {
        if found.iter().any(|circle| circle.contains(*file)) {
            continue;
        }
        let back = below
            .iter()
            .filter(|other| reached.get(**other).is_some_and(|there| there.contains(file)));
        let circle: BTreeSet<PathBuf> = back.map(|other| (*other).clone()).collect();
        if circle.len() > 1 {
            found.push(circle);
        }
    }
    found
}

/// Which file imports which, relative to `source`.
///
/// # Panics
/// See [`circles`].
#[must_use]
pub fn imports(source: &Path) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let root = ["lib.rs", "main.rs"].map(|name| source.join(name));
    let root = root.into_iter().find(|root| root.exists()).expect("a root");
    let mut all = Crate(BTreeMap::new());
    all.load_file(Vec::new(), &root, source);
    let relative = |file: &Path| file.strip_prefix(source).expect("below it").to_owned();
    let mut edges: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    let declares = |file: &Path| {
        all.0
            .values()
            .any(|module| module.file == file && !module.children.is_empty())
    };
    for (path, module) in &all.0 {
        let passes_on = declares(&module.file);
        // What comes by `*` counts where it is named.
        let imports = module.imports.iter().filter(|import| import.name.is_some());
        let imported = imports.filter(|import| !(import.public && passes_on));
        let named = imported.map(|import| &import.target).chain(&module.paths);
        let there: BTreeSet<PathBuf> = named
            .filter_map(|target| all.file_of(path, target, &mut BTreeSet::new()))
            .filter(|file| *file != module.file)
            .map(|file| relative(&file))
            .collect();
        edges.entry(relative(&module.file)).or_default().extend(there);
    }
    edges
}

fn reachable<'a>(edges: &'a BTreeMap<PathBuf, BTreeSet<PathBuf>>, from: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        for below in edges.get(file).into_iter().flatten() {
            if found.insert(below) {
                next.push(below);
            }
        }
    }
    found
}

impl Crate {
    fn load_file(&mut self, path: Names, file: &Path, folder: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.load(path, file, folder, &parsed.items);
    }

    /// `folder` holds the files of its child modules.
    fn load(&mut self, path: Names, file: &Path, folder: &Path, items: &[syn::Item]) {
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                syn::Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let below: Names = path.iter().cloned().chain([name.clone()]).collect();
                    let folder = folder.join(&name);
                    match &child.content {
                        Some((_, items)) => self.load(below, file, &folder, items),
                        None => self.load_file(below, &file_of_module(&folder), &folder),
                    }
                    module.children.insert(name);
                }
                syn::Item::Use(item) => {
                    let public = !matches!(item.vis, syn::Visibility::Inherited);
                    flatten(&item.tree, &mut Vec::new(), public, &mut module.imports);
                }
                item => {
                    module.items.extend(name_of(item));
                    let mut reader = Reader(&mut module);
                    reader.visit_item(item);
                }
            }
        }
        self.0.insert(path, module);
    }

    /// The file that defines what `names` mean inside the module `from`; `None` for what is no part of this crate.
    fn file_of(
        &self,
        from: &[String],
        names: &[String],
        observed: &mut BTreeSet<(Names, Names)>,
    ) -> Option<PathBuf> {
        if !observed.insert((from.to_vec(), names.to_vec())) {
            return None;
        }
        let module = self.0.get(from)?;
        let Some((first, rest)) = names.split_first() else {
            return Some(module.file.clone());
        };
        match first.as_str() {
            "crate" => return self.file_of(&[], rest, observed),
            "self" => return self.file_of(from, rest, observed),
            "super" => return self.file_of(&from[..from.len().checked_sub(1)?], rest, observed),
            _ => {}
        }
        if module.children.contains(first) {
            let below: Names = from.iter().cloned().chain([first.clone()]).collect();
            return self.file_of(&below, rest, observed);
        }
        if module.items.contains(first) {
            return Some(module.file.clone());
        }
        let by_name = module
            .imports
            .iter()
            .find(|import| import.name.as_ref() == Some(first));
        if let Some(import) = by_name {
            let target: Names = import.target.iter().chain(rest).cloned().collect();
            return self.file_of(from, &target, observed);
        }
        let all = module.imports.iter().filter(|import| import.name.is_none());
        all.map(|import| import.target.iter().chain(names).cloned().collect::<Names>())
            .find_map(|target| self.file_of(from, &target, observed))
    }
}

fn file_of_module(folder: &Path) -> PathBuf {
    let inside = folder.join("mod.rs");
    if inside.exists() {
        inside
    } else {
        folder.with_extension("rs")
    }
}

/// Collects the paths of code.
struct Reader<'a>(&'a mut Module);

impl<'a> Visit<'a> for Reader<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if path.leading_colon.is_none() {
            self.0.paths.insert(names);
        }
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {
        // `pub(crate)` and `pub(in crate::a)` say who may see a thing: they import nothing.
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        // In a function.
        flatten(&item.tree, &mut Vec::new(), false, &mut self.0.imports);
    }

    fn visit_impl_item(&mut self, item: &'a syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Const(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_macro(&mut self, item: &'a syn::Macro) {
        visit::visit_macro(self, item);
        // `a::b` as the compiler writes it between words.
        let text = item.tokens.to_string().replace(" :: ", "::");
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        for word in words.filter(|word| word.contains("::") && !word.starts_with(':')) {
            let names: Names = word
                .split("::")
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            self.0.paths.insert(names);
        }
    }
}

fn flatten(tree: &syn::UseTree, before: &mut Names, public: bool, found: &mut Vec<Import>) {
    let mut import = |name: Option<String>, target: Names| {
        // `use a::{self}` means `a`.
        let name = name.map(|name| {
            if name == "self" {
                target.last().cloned().unwrap_or(name)
            } else {
                name
            }
        });
        found.push(Import { name, target, public });
    };
    let with = |before: &Names, name: &syn::Ident| -> Names {
        let own = (name != "self").then(|| name.to_string());
        before.iter().cloned().chain(own).collect()
    };
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, public, found);
            before.pop();
        }
        syn::UseTree::Name(name) => import(Some(name.ident.to_string()), with(before, &name.ident)),
        syn::UseTree::Rename(renamed) => {
            import(Some(renamed.rename.to_string()), with(before, &renamed.ident))
        }
        syn::UseTree::Glob(_) => import(None, before.clone()),
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, public, found);
            }
        }
    }
}

/// `#[test]`, and what is there only where `test` or `fuzzing` is.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let text = list.tokens.to_string();
            let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            words.any(|word| word == "test" || word == "fuzzing") && !text.contains("not")
        }
        meta => meta.path().is_ident("test"),
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate of these files.
    fn of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let shown =
            |circle: BTreeSet<PathBuf>| circle.iter().map(|file| file.display().to_string()).collect();
        circles(folder.path()).into_iter().map(shown).collect()
    }

    #[test]
    fn files_that_go_one_way_are_no_circle() {
        let lib = ("lib.rs", "mod a; mod b; pub use b::B;");
        let b = (
            "b.rs",
            "use crate::a::A; pub struct B(A); #[cfg(test)] mod tests { use crate::c::C; }",
        );
        assert!(of(&[lib, ("a.rs", "pub struct A;"), b]).is_empty());
    }

    #[test]
    fn who_may_see_a_thing_is_no_import() {
        let lib = ("lib.rs", "mod a; pub fn f() { a::f() }");
        let a = (
            "a.rs",
            "pub(crate) fn f() {} pub(in crate) struct A { pub(crate) a: u8 }",
        );
        assert!(of(&[lib, a]).is_empty());
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let back = [
            "use crate::b::B; pub struct A(Option<Box<B>>);",
            "pub struct A; fn f() { super::b::f() }",
            "pub struct A; fn f() { use crate::*; drop::<Option<b::B>>(None); }",
            "use crate::{b as other}; pub struct A; fn f() -> Option<other::B> { None }",
            "use crate::B; pub struct A(Option<Box<B>>);",
            "pub struct A; fn f() { println!(\"{}\", crate::b::f()); }",
            "use crate::all::*; pub struct A(Option<Box<B>>);",
        ];
        for a in back {
            let lib = (
                "lib.rs",
                "mod a; mod all { pub use crate::b::B; } mod b; pub use b::B;",
            );
            let b = ("b.rs", "use crate::a::A; pub struct B(A); pub fn f() {}");
            let found = of(&[lib, ("a.rs", a), b]);
            assert_eq!(found, [["a.rs", "b.rs"]], "{a}");
        }
    }

    #[test]
    fn a_module_and_what_it_holds_may_be_a_circle_and_longer_ones_are() {
        let lib = ("lib.rs", "mod m;");
        let parent = ("m/mod.rs", "mod child; pub struct M; fn f() { child::g() }");
        let child = ("m/child.rs", "use super::M; pub fn g() -> Option<M> { None }");
        assert_eq!(of(&[lib, parent, child]), [["m/child.rs", "m/mod.rs"]]);
        let lib = ("lib.rs", "mod a; mod b; mod c;");
        let (a, b, c) = (
            "use crate::b::B; pub struct A;",
            "use crate::c::C; pub struct B;",
            "use crate::a::A; pub struct C;",
        );
        assert_eq!(
            of(&[lib, ("a.rs", a), ("b.rs", b), ("c.rs", c)]),
            [["a.rs", "b.rs", "c.rs"]]
        );
    }
}
