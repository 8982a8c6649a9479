//! Which parts of root are what. It is a short list on purpose: whatever is not named here goes back to
//! what the image brought.

use std::path::Path;

use super::DIR;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// Stays as it is, whatever it is.
    Left,
    /// A program, or what belongs to programs: packages bring it.
    Program,
    /// Anything else.
    State,
}

/// What follows from the packages that are installed, and what this module keeps itself.
const LEFT: [&str; 10] = [
    DIR,
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/lib/initramfs-tools",
    // An index of the libraries.
    "/etc/ld.so.cache",
    // Where the newest kernels are.
    "/vmlinuz",
    "/vmlinuz.old",
    "/initrd.img",
    "/initrd.img.old",
    // The file system's own.
    "/lost+found",
];

/// Where programs are.
const PROGRAMS: [&str; 2] = ["/usr", "/boot"];

/// What is in their folders all the same, and is no program.
const NO_PROGRAMS: [&str; 3] = ["/usr/local", "/boot/hearth", "/boot/grub"];

/// What `path` is.
pub(super) fn zone(path: &Path) -> Zone {
    let is_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    if is_in(&LEFT) {
        Zone::Left
    } else if is_in(&PROGRAMS) && !is_in(&NO_PROGRAMS) {
        Zone::Program
    } else {
        Zone::State
    }
}

/// Whether something below the folder `path` stays as it is, so that the folder must stay as well.
pub(super) fn is_above_left(path: &Path) -> bool {
    LEFT.iter().any(|place| Path::new(place).starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_not_named_goes_back() {
        for (path, wanted) in [
            ("/etc/shadow", Zone::State),
            ("/etc/ld.so.cache", Zone::Left),
            ("/etc/ld.so.cache~", Zone::State),
            ("/usr", Zone::Program),
            ("/usr/lib/systemd/system/x.service", Zone::Program),
            ("/usr/local/bin/x", Zone::State),
            ("/usr/localx", Zone::Program),
            ("/boot/vmlinuz-6.12", Zone::Program),
            ("/boot/hearth/adopted", Zone::State),
            ("/var/lib/dpkg/status", Zone::Left),
            ("/var/lib/hearth/image/tree/etc/shadow", Zone::Left),
            ("/newly/made", Zone::State),
        ] {
            assert_eq!(zone(Path::new(path)), wanted, "{path}");
        }
        assert!(is_above_left(Path::new("/var/lib/hearth")) && !is_above_left(Path::new("/var/lib/hearth/setup")));
    }
}
