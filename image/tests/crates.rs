//! Every crate Hearth links comes from crates.io, pinned in Cargo.lock, under a
//! licence that lets anybody use the result. Asked of `cargo metadata`, so that
//! nothing else has to be installed to know.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences whose terms a binary without sources can keep.
const ALLOWED: [&str; 13] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
];

fn metadata() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Whether one side of an SPDX expression without parentheses around ANDs is allowed.
fn allowed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    flat.split(" AND ").all(|all| all.split(" OR ").any(|one| ALLOWED.contains(&one.trim())))
}

#[test]
fn every_crate_has_an_allowed_licence_and_source() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    let packages = metadata["packages"].as_array().unwrap();
    for package in packages {
        let name = format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        match package["source"].as_str() {
            None => continue,
            Some(source) if source.starts_with("registry+") && source.ends_with("crates.io-index") => {}
            Some(source) => wrong.push(format!("{name} comes from {source}")),
        }
        match package["license"].as_str() {
            Some(licence) if allowed(licence) => {}
            licence => wrong.push(format!("{name} has the licence {}", licence.unwrap_or("none that cargo knows"))),
        }
    }
    assert!(packages.len() > 50, "cargo metadata lists only {} crates", packages.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn licence_expressions_are_judged() {
    for good in ["MIT OR Apache-2.0", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "Unlicense OR MIT"] {
        assert!(allowed(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-2.0", "SSPL-1.0 OR GPL-3.0", ""] {
        assert!(!allowed(bad), "{bad}");
    }
}
