//! In which order packages are configured. First what every Debian system has, because
//! any script may use it and no package says so. Then what the initramfs is made by, and
//! the certificates, so that both can be done on one core while the rest is configured on
//! the other.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;

use super::dpkgdb::Unpacked;

/// A package that owns something below one of these has a part in the initramfs, or in the
/// list of certificates.
const PARTS: [&str; 3] = ["/usr/share/initramfs-tools/", "/usr/lib/modules/", "/usr/share/ca-certificates/"];

/// The packages to configure before all others.
#[derive(Debug)]
pub struct Needed {
    /// By every script.
    pub by_all: BTreeSet<String>,
    /// Beside those, by what is done while the rest is configured.
    pub beside: BTreeSet<String>,
}

impl Needed {
    /// Finds them among `packages`, each with all it depends on.
    pub fn among(packages: &[Unpacked<'_>]) -> Result<Self> {
        let (mut essential, mut parts) = (Vec::new(), Vec::new());
        for package in packages {
            if package.field("Essential")? == "yes" {
                essential.push(package.package.name.clone());
            }
            if package.files.iter().any(|path| PARTS.iter().any(|parts| path.starts_with(parts))) {
                parts.push(package.package.name.clone());
            }
        }
        let relations = packages
            .iter()
            .map(|package| {
                let names = |field| package.field(field).map(|text| named(&text));
                let depends = [names("Pre-Depends")?, names("Depends")?].concat();
                Ok(Relations { name: package.package.name.clone(), depends, provides: names("Provides")? })
            })
            .collect::<Result<Vec<_>>>()?;
        let by_all = closure(essential, &relations);
        let beside = closure(parts, &relations).difference(&by_all).cloned().collect();
        Ok(Self { by_all, beside })
    }
}

struct Relations {
    name: String,
    depends: Vec<String>,
    provides: Vec<String>,
}

/// `roots` and everything they depend on. Of alternatives all that are there count: one
/// package too many costs nothing.
fn closure(roots: Vec<String>, relations: &[Relations]) -> BTreeSet<String> {
    let mut by_name: HashMap<&str, Vec<&Relations>> = HashMap::new();
    for relation in relations {
        for name in relation.provides.iter().chain([&relation.name]) {
            by_name.entry(name).or_default().push(relation);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = roots;
    while let Some(name) = open.pop() {
        for relation in by_name.get(name.as_str()).into_iter().flatten() {
            if found.insert(relation.name.clone()) {
                open.extend(relation.depends.iter().cloned());
            }
        }
    }
    found
}

/// The names in a field like `a (>= 1), b:any | c [amd64]`.
fn named(field: &str) -> Vec<String> {
    let name = |text: &str| text.split([' ', '(', ':', '[']).next().unwrap_or_default().to_owned();
    field.split([',', '|']).map(|text| name(text.trim())).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_without_versions_and_architectures() {
        assert_eq!(named("a (>= 1), b:any | c [amd64],\n d"), ["a", "b", "c", "d"]);
        assert!(named("").is_empty());
    }

    #[test]
    fn a_closure_follows_alternatives_and_what_is_provided_even_in_circles() {
        let package = |name: &str, depends: &str, provides: &str| Relations {
            name: name.into(),
            depends: named(depends),
            provides: named(provides),
        };
        let packages = [
            package("kernel", "tools | other", ""),
            package("tools", "libc, virtual", ""),
            package("libc", "gcc-base", ""),
            package("gcc-base", "libc", ""),
            package("real", "", "virtual (= 1)"),
            package("editor", "libc", ""),
        ];
        let found = closure(vec!["kernel".into()], &packages);
        assert_eq!(
            found.iter().map(String::as_str).collect::<Vec<_>>(),
            ["gcc-base", "kernel", "libc", "real", "tools"]
        );
    }
}
