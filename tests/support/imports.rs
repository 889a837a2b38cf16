//! Finds which file of a Rust program uses what from which other file, from `use` lines and paths. Reads tokens, not
//! the meaning of macros; leaves out what is compiled for tests only.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

/// File names, such as `guard/mod.rs`, and their texts.
pub(crate) type Sources = BTreeMap<String, String>;

/// `(from, to)`: the file `from` uses something that the file `to` defines.
pub(crate) type Arrows = BTreeSet<(String, String)>;

/// What marks code that is no part of the program.
const FOR_TESTS: [&str; 2] = ["cfg(test)", "cfg(any(test,fuzzing))"];

type ModulePath = Vec<String>;

/// Reads all Rust files below a folder.
pub(crate) fn read_sources(folder: &Path) -> Sources {
    let mut sources = Sources::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).expect("a file below the folder").to_string_lossy().into_owned();
                sources.insert(name, fs::read_to_string(&path).expect("a text"));
            }
        }
    }
    sources
}

/// Returns the arrows between the files. A re-export is followed to the file that defines the item.
pub(crate) fn arrows(sources: &Sources) -> Arrows {
    let mut modules: BTreeMap<ModulePath, Module> = BTreeMap::new();
    for (file, text) in sources {
        modules.insert(module_path(file), Module::parse(file, text));
    }
    let is_test = |path: &ModulePath| {
        let declared_for_tests = |end: usize| {
            let parent = modules.get(&path[..end - 1]);
            parent.is_some_and(|parent| parent.test_modules.contains(&path[end - 1]))
        };
        (1..=path.len()).any(declared_for_tests)
    };
    let tests: Vec<ModulePath> = modules.keys().filter(|path| is_test(path)).cloned().collect();
    modules.retain(|path, _| !tests.contains(path));
    let program = Program { modules };
    program.modules.iter().flat_map(|(path, module)| program.arrows_from(path, module)).collect()
}

/// Returns the module of a file: `a/b.rs` and `a/b/mod.rs` are `a::b`; `main.rs` is the root.
fn module_path(file: &str) -> ModulePath {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|part| *part != "main").map(ToOwned::to_owned).collect()
}

struct Program {
    modules: BTreeMap<ModulePath, Module>,
}

/// What is known of one file.
struct Module {
    file: String,
    uses: Vec<Use>,
    /// Paths outside `use`.
    paths: Vec<Vec<String>>,
    test_modules: BTreeSet<String>,
}

/// One name that a `use` brings in.
struct Use {
    path: Vec<String>,
    /// The name in this file; `*` for the whole module.
    name: String,
    is_public: bool,
}

enum Target {
    Module(ModulePath),
    ItemOf(ModulePath),
}

impl Program {
    fn arrows_from(&self, path: &ModulePath, module: &Module) -> Vec<(String, String)> {
        let mut targets = Vec::new();
        let mut aliases: HashMap<&str, ModulePath> = HashMap::new();
        for used in &module.uses {
            match self.absolute(path, &used.path).and_then(|absolute| self.resolve(&absolute, 0)) {
                // Counts where the module is used.
                Some(Target::Module(target)) if used.name != "*" => {
                    aliases.insert(&used.name, target);
                }
                // A module that only re-exports what a child defines doesn't use it.
                Some(Target::ItemOf(target)) if used.is_public && target.starts_with(path) => {}
                Some(Target::Module(target) | Target::ItemOf(target)) => targets.push(target),
                None => {}
            }
        }
        for used in &module.paths {
            let absolute = match aliases.get(used[0].as_str()) {
                Some(target) => Some([target, &used[1..]].concat()),
                None => self.absolute(path, used),
            };
            if let Some(Target::Module(target) | Target::ItemOf(target)) =
                absolute.and_then(|path| self.resolve(&path, 0))
            {
                targets.push(target);
            }
        }
        let file = |target: &ModulePath| self.modules[target].file.clone();
        let arrows = targets.iter().map(|target| (module.file.clone(), file(target)));
        arrows.filter(|(from, to)| from != to).collect()
    }

    /// Returns a path from the root; `None` if it begins in another crate or at a name that is no module.
    fn absolute(&self, module: &ModulePath, path: &[String]) -> Option<Vec<String>> {
        let mut from = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => from.clear(),
            "self" | "super" => {}
            first => {
                let child = [module.as_slice(), &[first.to_owned()]].concat();
                return self.modules.contains_key(&child).then(|| [module.as_slice(), path].concat());
            }
        }
        while let Some(first) = rest.first().filter(|first| ["crate", "self", "super"].contains(&first.as_str())) {
            if first == "super" {
                from.pop();
            }
            rest = &rest[1..];
        }
        from.extend_from_slice(rest);
        Some(from)
    }

    /// Finds the module that a path from the root leads to, or the one that defines its item.
    fn resolve(&self, path: &[String], depth: usize) -> Option<Target> {
        let is_module = |length: &usize| self.modules.contains_key(&path[..*length]);
        let length = (0..=path.len()).rev().find(is_module)?;
        let module = path[..length].to_vec();
        let Some(item) = path.get(length) else { return Some(Target::Module(module)) };
        let handed_on = self.modules[&module].uses.iter().find(|used| used.name == *item && depth < 10);
        let followed = handed_on.and_then(|used| {
            let mut onward = self.absolute(&module, &used.path)?;
            onward.extend_from_slice(&path[length + 1..]);
            self.resolve(&onward, depth + 1)
        });
        Some(followed.unwrap_or(Target::ItemOf(module)))
    }
}

impl Module {
    fn parse(file: &str, text: &str) -> Self {
        let mut module =
            Module { file: file.to_owned(), uses: Vec::new(), paths: Vec::new(), test_modules: BTreeSet::new() };
        let tokens = tokens(text);
        let mut at = 0;
        while at < tokens.len() {
            at = module.take(&tokens, at);
        }
        module
    }

    /// Reads the item at a token; returns the position of the next one.
    fn take(&mut self, tokens: &[String], at: usize) -> usize {
        let token = |index: usize| tokens.get(index).map_or("", String::as_str);
        let before = at.checked_sub(1).map_or("", token);
        if token(at) == "#" && token(at + 1) == "[" {
            let end = closing(tokens, at + 1);
            if !FOR_TESTS.contains(&tokens[at + 2..end].concat().as_str()) {
                // Other attributes may contain paths.
                return at + 1;
            }
            let (item, end) = item_after(tokens, end + 1);
            if let Some(name) = item.iter().position(|token| token == "mod").and_then(|index| item.get(index + 1)) {
                self.test_modules.insert(name.clone());
            }
            return end;
        }
        if token(at) == "use" {
            let end = (at..tokens.len()).find(|&index| token(index) == ";").unwrap_or(tokens.len());
            let is_public = before == "pub" || before == ")";
            use_tree(&tokens[at + 1..end], &[], is_public, &mut self.uses);
            return end + 1;
        }
        if is_name(token(at)) && token(at + 1) == "::" && before != "::" {
            let mut path = vec![tokens[at].clone()];
            let mut end = at + 1;
            while token(end) == "::" && is_name(token(end + 1)) {
                path.push(tokens[end + 1].clone());
                end += 2;
            }
            self.paths.push(path);
            return end;
        }
        at + 1
    }
}

/// Takes a `use` apart: `a::{b, c::{self, D as E}, f::*}`.
fn use_tree(tokens: &[String], prefix: &[String], is_public: bool, uses: &mut Vec<Use>) {
    let mut path = prefix.to_vec();
    for (index, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "::" => {}
            "{" => {
                let inside = &tokens[index + 1..closing(tokens, index)];
                for branch in branches(inside) {
                    use_tree(branch, &path, is_public, uses);
                }
                return;
            }
            "*" => return uses.push(Use { path, name: "*".into(), is_public }),
            "as" => {
                let name = tokens.get(index + 1).cloned().unwrap_or_default();
                return uses.push(Use { path, name, is_public });
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
    }
    if let Some(name) = path.last().cloned() {
        uses.push(Use { path, name, is_public });
    }
}

/// Splits at the commas outside braces.
fn branches(tokens: &[String]) -> Vec<&[String]> {
    let (mut depth, mut start, mut branches) = (0, 0, Vec::new());
    for (index, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                branches.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    branches.push(&tokens[start..]);
    branches.retain(|branch| !branch.is_empty());
    branches
}

/// Returns the item that begins at a token, and where the next one begins.
fn item_after(tokens: &[String], mut at: usize) -> (&[String], usize) {
    while tokens.get(at).is_some_and(|token| token == "#") {
        at = closing(tokens, at + 1) + 1;
    }
    let kind = tokens[at..].iter().find(|token| ["use", "{", ";"].contains(&token.as_str()));
    let is_use = kind.is_some_and(|token| token == "use");
    let ends = |index: &usize| tokens[*index] == ";" || (!is_use && tokens[*index] == "{");
    let end = (at..tokens.len()).find(ends).unwrap_or(tokens.len());
    let next = if tokens.get(end).is_some_and(|token| token == "{") { closing(tokens, end) } else { end };
    (&tokens[at..end], next + 1)
}

/// Returns where the bracket that opens at a token is closed.
fn closing(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits a program into names, `::` and single characters, without comments, strings and numbers.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = text_literal(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if is_name(rest) {
                tokens.push(rest[..length].to_owned());
            }
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// Returns the length of the string, character or lifetime that a text begins with.
fn text_literal(text: &str) -> Option<usize> {
    let prefix = text.find(|c: char| !c.is_ascii_lowercase())?;
    let unprefixed = &text[prefix..];
    let is_raw = ["r", "br", "cr"].contains(&&text[..prefix]);
    let is_plain = ["", "b", "c"].contains(&&text[..prefix]);
    if is_raw && unprefixed.starts_with(['"', '#']) {
        let hashes = unprefixed.find(|c| c != '#')?;
        let start = prefix + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
    }
    if is_plain && unprefixed.starts_with('"') {
        return Some(prefix + quoted(unprefixed, '"'));
    }
    if is_plain && unprefixed.starts_with('\'') {
        let mut inside = unprefixed.chars().skip(1);
        let (first, second) = (inside.next()?, inside.next());
        let is_character = first == '\\' || second == Some('\'');
        return Some(prefix + if is_character { quoted(unprefixed, '\'') } else { 1 });
    }
    None
}

/// Returns the length of a quoted text, including what `\` escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}
