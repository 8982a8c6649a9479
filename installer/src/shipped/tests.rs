use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;

const KERNEL: &str = "6.12";

/// A root as the image brings it, with a copy of it kept.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| write(root.path(), path, text);
    put("/var/lib/dpkg/info/tool.list", "/.\n/usr\n/usr/bin\n/bin/tool\n/usr/lib\n/usr/lib/modules\n/boot\n");
    put("/var/lib/dpkg/info/kernel:amd64.list", "/usr/lib/modules/6.12\n/boot/vmlinuz-6.12\n");
    put("/var/lib/dpkg/diversions", "/usr/bin/other\n/usr/bin/other.distrib\nlocal\n");
    put("/usr/bin/tool", "a tool");
    put("/usr/bin/hearth", "nobody's package");
    put("/usr/lib/modules/6.12/modules.dep", "an index");
    put("/boot/vmlinuz-6.12", "a kernel");
    put("/boot/initrd.img-6.12", "of the image");
    put("/boot/hearth/grub.cfg", "a menu");
    put("/etc/shadow", "root:*\n");
    put("/etc/deep/er/conf", "as it was\n");
    put("/etc/ld.so.cache", "libraries");
    symlink("/usr/share/zoneinfo/Etc/UTC", root.path().join("etc/localtime")).unwrap();
    symlink("boot/vmlinuz-6.12", root.path().join("vmlinuz")).unwrap();
    fs::create_dir_all(root.path().join("home")).unwrap();
    fs::set_permissions(root.path().join("etc/shadow"), Permissions::from_mode(0o640)).unwrap();
    keep(root.path()).unwrap();
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = below(root, Path::new(path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn told(root: &Path) -> Vec<String> {
    strays(root).unwrap().iter().map(ToString::to_string).collect()
}

fn foreign(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| format!("erase {path}")).collect()
}

/// Puts everything right but initramfs images, which need a whole system.
fn reset(root: &Path) {
    for stray in strays(root).unwrap() {
        if !matches!(stray, Stray::Initramfs(_)) {
            put_right(root, &stray).unwrap();
        }
    }
}

#[test]
fn what_the_image_brought_is_no_stray() {
    let root = root();
    assert_eq!(told(root.path()), [""; 0]);
    assert_eq!(below(root.path(), Path::new(KEPT)).metadata().unwrap().mode() & 0o777, 0o700);
    // What follows from the packages that are installed may change, and a copy that is there is kept.
    write(root.path(), "/var/lib/dpkg/status", "upgraded");
    write(root.path(), "/etc/ld.so.cache", "more libraries");
    write(root.path(), "/usr/bin/tool", "a newer tool");
    write(root.path(), "/usr/lib/modules/6.12/modules.alias", "another index");
    fs::remove_file(root.path().join("vmlinuz")).unwrap();
    keep(root.path()).unwrap();
    assert_eq!(told(root.path()), [""; 0]);
}

#[test]
fn what_the_owner_left_goes_and_what_was_changed_comes_back() {
    let root = root();
    for (path, text) in [
        ("/etc/shadow", "root:*\nada:$y$hash\n"),
        ("/etc/ssh/authorized_keys.d/ada", "a key"),
        ("/root/.ssh/authorized_keys", "a key"),
        ("/home/ada/notes", "mine"),
        ("/usr/local/bin/x", "mine"),
        ("/usr/lib/systemd/system/x.service", "put there by hand"),
        ("/boot/hearth/password.cfg", "a hash"),
        ("/srv/photos/one.jpg", "mine"),
        ("/var/lib/hearth/setup/sealed", "digest"),
    ] {
        write(root.path(), path, text);
    }
    fs::remove_file(root.path().join("etc/localtime")).unwrap();
    symlink("/usr/share/zoneinfo/Europe/Berlin", root.path().join("etc/localtime")).unwrap();
    fs::set_permissions(root.path().join("home"), Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(root.path().join("etc/deep")).unwrap();
    let mut wanted = foreign(&[
        "/boot/hearth/password.cfg",
        "/etc/ssh",
        "/home/ada",
        "/root",
        "/srv",
        "/usr/lib/systemd",
        "/usr/local",
        "/var/lib/hearth/setup",
    ]);
    let back = ["/etc/deep", "/etc/deep/er", "/etc/deep/er/conf", "/etc/localtime", "/etc/shadow", "/home"];
    wanted.extend(back.map(|path| format!("put back {path}")));
    assert_eq!(told(root.path()), wanted);
    reset(root.path());
    assert_eq!(told(root.path()), [""; 0]);
    let shadow = root.path().join("etc/shadow");
    assert_eq!(fs::read_to_string(&shadow).unwrap(), "root:*\n");
    assert_eq!(shadow.metadata().unwrap().mode() & 0o7777, 0o640);
    assert!(below(root.path(), Path::new(KEPT)).exists(), "the next reset needs the copy as well");
}

#[test]
fn the_kind_of_a_path_may_have_changed() {
    let root = root();
    fs::remove_file(root.path().join("etc/shadow")).unwrap();
    write(root.path(), "/etc/shadow/in/it", "a folder now");
    fs::remove_dir_all(root.path().join("etc/deep")).unwrap();
    symlink("/elsewhere", root.path().join("etc/deep")).unwrap();
    nix::unistd::mkfifo(&root.path().join("etc/pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    reset(root.path());
    assert_eq!(told(root.path()), [""; 0]);
    assert_eq!(fs::read_to_string(root.path().join("etc/deep/er/conf")).unwrap(), "as it was\n");
}

#[test]
fn what_is_erased_is_overwritten_unless_it_has_another_name() {
    let root = root();
    let (kept, tool) = (root.path().join("kept"), root.path().join("usr/bin/tool"));
    write(root.path(), "/etc/secret", "open sesame");
    write(root.path(), "/etc/shadow", "root:*\nada:hash");
    // Held open, to see what becomes of the bytes.
    let open = |path: &str| fs::File::open(below(root.path(), Path::new(path))).unwrap();
    let held = [open("/etc/secret"), open("/etc/shadow")];
    fs::hard_link(&tool, root.path().join("root-shell")).unwrap();
    reset(root.path());
    for file in held {
        let text = std::io::read_to_string(file).unwrap();
        assert!(!text.is_empty() && text.bytes().all(|byte| byte == 0), "{text:?}");
    }
    assert_eq!(fs::read_to_string(tool).unwrap(), "a tool", "a program was emptied by its other name");
    assert!(!kept.exists());
}

#[test]
fn what_a_power_cut_left_half_done_is_made_good() {
    let root = root();
    write(root.path(), "/etc/shadow.hearth-new", "half of");
    assert_eq!(told(root.path()), foreign(&["/etc/shadow.hearth-new"]));
    reset(root.path());
    let (whole, partial) = (below(root.path(), Path::new(KEPT)), root.path().join("var/lib/hearth/image/kept.partial"));
    fs::rename(&whole, &partial).unwrap();
    fs::remove_file(partial.join("tree/etc/shadow")).unwrap();
    keep(root.path()).unwrap();
    assert_eq!(told(root.path()), [""; 0]);
    assert!(whole.join("tree/etc/shadow").exists() && !partial.exists());
}

#[test]
fn an_initramfs_that_was_made_here_is_made_anew() {
    let root = root();
    write(root.path(), "/boot/initrd.img-6.12", "with a key in it");
    write(root.path(), "/boot/initrd.img-6.1", "its kernel is gone");
    write(root.path(), "/boot/initrd.img-6.13", "upgraded");
    write(root.path(), "/boot/vmlinuz-6.13", "a newer kernel");
    write(root.path(), "/var/lib/dpkg/info/newer.list", "/boot/vmlinuz-6.13\n");
    let found = strays(root.path()).unwrap();
    let initramfs = |kernel: &str| Stray::Initramfs(kernel.to_owned());
    let gone = Stray::Foreign("/boot/initrd.img-6.1".into());
    assert_eq!(found, [gone, initramfs(KERNEL), initramfs("6.13")]);
}

#[test]
fn a_program_that_was_set_aside_stays() {
    let root = root();
    write(root.path(), "/usr/bin/other.distrib", "the package's");
    write(root.path(), "/usr/bin/stranger", "nobody's");
    assert_eq!(told(root.path()), foreign(&["/usr/bin/stranger"]));
}
