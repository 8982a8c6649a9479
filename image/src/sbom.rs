//! The software bill of materials: every Debian package in the image, as SPDX 2.3
//! JSON, for the tools that look for known flaws.

use std::time::{Duration, UNIX_EPOCH};

use hearth::manifest::{Manifest, Package};
use serde_json::{Value, json};

/// The SPDX document for `manifest`, whose packages are those of the Debian suite `suite`.
pub fn spdx(manifest: &Manifest, suite: &str) -> Value {
    let time = iso_time(manifest.source_date_epoch);
    let image = "SPDXRef-image";
    let mut packages = vec![json!({
        "SPDXID": image,
        "name": "hearth",
        "versionInfo": manifest.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "packageFileName": manifest.image.name,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": manifest.image.sha256 }],
    })];
    let mut relations = vec![json!({
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": image,
    })];
    for package in &manifest.packages {
        let id = format!("SPDXRef-deb-{}", id_part(&package.name));
        relations.push(json!({ "spdxElementId": image, "relationshipType": "CONTAINS", "relatedSpdxElement": id }));
        packages.push(json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "supplier": "Organization: Debian",
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": package.sha256 }],
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl(package, suite),
            }],
        }));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("hearth-{}-{}", manifest.version, manifest.arch),
        "documentNamespace": format!("urn:uuid:{}", manifest.image_id),
        "creationInfo": { "created": time, "creators": [format!("Tool: hearth-image-{}", manifest.version)] },
        "packages": packages,
        "relationships": relations,
    })
}

/// SPDX ids have letters, digits, dots and dashes only.
fn id_part(name: &str) -> String {
    name.replace('+', "-plus-")
}

/// The package's URL in the form that vulnerability databases know.
fn purl(package: &Package, suite: &str) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('+', "%2B").replace(':', "%3A");
    format!(
        "pkg:deb/debian/{}@{}?arch={}&distro={suite}",
        escape(&package.name),
        escape(&package.version),
        package.arch
    )
}

/// Seconds since 1970 as `2026-01-31T12:00:00Z`.
fn iso_time(epoch: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(epoch)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_spdx_wants_them() {
        assert_eq!(iso_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_time(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(iso_time(1_795_392_000), "2026-11-23T00:00:00Z");
    }

    #[test]
    fn a_package_url_is_escaped() {
        let package = Package {
            name: "libstdc++6".into(),
            version: "1:14.2-1+b1".into(),
            arch: "amd64".into(),
            sha256: hearth::digest::Digest::of(""),
        };
        assert_eq!(purl(&package, "trixie"), "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2-1%2Bb1?arch=amd64&distro=trixie");
    }
}
