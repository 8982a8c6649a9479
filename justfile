# Every task a person runs. `just` alone lists them.

builder := justfile_directory() / "target/release/hearth-image"
test_image := justfile_directory() / "target/test-image" / "hearth-" + version + "-amd64.img"
version := `sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml`
as_builder := "HEARTH_IMAGE_BIN=" + builder
vm_tests := as_builder + " HEARTH_TEST_IMAGE=" + test_image + " cargo test --locked -p hearth-qemu-tests"

_default:
    @just --list --unsorted

# Build the image into out/, compressed too
image *flags: _builder
    {{builder}} build --compress {{flags}}

# Try the image in a virtual machine
boot *flags: _builder
    {{builder}} boot {{flags}}

# Check the image in out/ against its manifest
verify *flags: _builder
    {{builder}} verify {{flags}}

# Everything CI runs
test: lint unit _builder faults _test-image two-builds vm

# Formatting, clippy, and the licence and source of every crate
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
    cargo test --locked --quiet -p hearth-image --test crates

# Unit, golden and property tests
unit:
    cargo test --locked --quiet -p hearth -p hearth-image -p hearth-qemu-tests -p hearth-bench --lib --bins
    cargo test --locked --quiet -p hearth-image --test cli --test host --test answers --test flash

# What archives, caches, networks and signals may do to a build
faults: _builder
    {{as_builder}} cargo test --locked --quiet -p hearth-image --test archive --test interrupts

# Write what is generated from the sources: docs/answers.md and the example answer file
generate:
    HEARTH_BLESS=1 cargo test --locked --quiet -p hearth --lib answers::tests::the_generated_files

# Two builds, as different users in different folders, must be the same bytes
two-builds: _builder _test-image
    ./qemu-tests/two-builds {{builder}}

# The virtual machine tests of every run: the boots, running from the disk, upgrades, flashing, SSH before setup, and
# setting up by an answer file
vm: _packed-image
    {{vm_tests}} --test boots -- --test-threads=1
    {{vm_tests}} --test adopt -- --test-threads=1 a_machine_runs_from_its_disk a_copy_of_the_image
    {{vm_tests}} --test packages -- --test-threads=1
    {{vm_tests}} --test flash -- --test-threads=1 an_interrupted_flash
    {{vm_tests}} --test claim -- --test-threads=1 s9_a_code
    {{vm_tests}} --test setup -- --test-threads=1 an_answer_file

# Signals at every stage of a whole build; then the slow virtual machine tests of the image, too: power
# cuts, twins, identities, disk sizes, recovery, answer files, the harness itself
prove-image: _builder _test-image
    {{as_builder}} HEARTH_TEST_IMAGE={{test_image}} cargo test --locked -p hearth-image --test whole -- --test-threads=1
    {{vm_tests}} --test boots --test adopt --test packages --test answers --test harness -- --test-threads=1

# Flashing: power cuts at any instant, disks that must not be written to, broken disks and images
prove-flash: _packed-image
    {{vm_tests}} --test flash --test flash_faults --test flash_refusals -- --test-threads=1

# SSH before setup, by the code on the page and by what flash leaves for a machine without a screen; the questions, on one console and several,
# and life at a television afterwards; starting over, the boot menu's recovery, and repair of a machine whose system is destroyed.
# Pictures of every page: target/screens
prove-consoles: _packed-image
    {{vm_tests}} --test claim --test questions --test session --test television -- --test-threads=1
    {{vm_tests}} --test reset --test repair -- --test-threads=1

# Setting up by an answer file: on this disk, from a stick on another, encrypted, with arrays, absent disks and routers, by Wi-Fi,
# through power cuts at every step; and which ports are open meanwhile
prove-setup: _packed-image
    {{vm_tests}} --test setup --test setup_disk --test setup_hardships --test setup_arrays --test setup_luks --test answers -- --test-threads=1
    {{vm_tests}} --test setup_sweep --test setup_wifi --test setup_cuts -- --test-threads=1

# README's first command in a minimal Debian 13 (as root), and the boot of what it made
prove-newcomer: _builder
    ./qemu-tests/newcomer target/newcomer
    {{as_builder}} HEARTH_TEST_IMAGE={{justfile_directory()}}/target/newcomer/hearth-{{version}}-amd64.img cargo test --locked -p hearth-qemu-tests --test boots -- --test-threads=1 bios uefi

# flash beside bmaptool and dd, with the image in `folder` (root; needs bmap-tools and zstd)
bench-flash folder="out":
    cargo run --locked --quiet --release -p hearth-bench --bin flash -- {{folder}}

# Measure building and starting the image beside Debian's mkosi, into docs/benchmarks.md (8 minutes, quiet machine)
bench *flags: _builder
    cargo run --locked --quiet --release -p hearth-bench -- {{flags}}

_builder:
    cargo build --locked --quiet --release -p hearth-image

_test-image: _builder
    {{builder}} build --out target/test-image

_packed-image: _builder
    {{builder}} build --compress --out target/test-image
