//! The server against the in-crate client.

use super::*;
use crate::nbd::{Beyond, Client, Fault, Op};

const MIB: u64 = 1 << 20;

fn serve_disk(disk: Disk) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(disk, &dir.path().join("nbd")).unwrap();
    (dir, server)
}

#[test]
fn every_command() {
    let (_dir, server) = serve_disk(Disk::empty(8 * MIB).unwrap());
    let mut client = Client::connect(server.path()).unwrap();
    assert_eq!(client.size(), 8 * MIB);
    client.write(1000, &[5; 5000], false).unwrap();
    assert_eq!(client.read(999, 3).unwrap(), [0, 5, 5]);
    client.flush().unwrap();
    client.write_zeroes(1001, 1).unwrap();
    client.trim(2 * 1024 * 1024, 4 << 20).unwrap();
    assert_eq!(client.read(1000, 3).unwrap(), [5, 0, 5]);
    assert_eq!(server.disk().stats().flushes, 1);
}

#[test]
fn several_connections_see_one_disk() {
    let (_dir, server) = serve_disk(Disk::empty(MIB).unwrap());
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(server.path()).unwrap()).collect();
    clients[0].write(0, b"one", false).unwrap();
    assert_eq!(clients[1].read(0, 3).unwrap(), b"one");
    clients[2].flush().unwrap();
    server.disk().cut(Survivors::None);
    server.disk().restore_power();
    assert_eq!(clients[1].read(0, 3).unwrap(), b"one");
}

#[test]
fn a_cut_ends_connections_and_loses_what_was_not_durable() {
    let (_dir, server) = serve_disk(Disk::empty(MIB).unwrap());
    let mut client = Client::connect(server.path()).unwrap();
    client.write(0, &[1; 512], true).unwrap();
    client.write(512, &[2; 512], false).unwrap();
    assert_eq!(server.cut(Survivors::None), 512);
    assert!(client.read(0, 1).is_err());
    server.disk().restore_power();
    let mut again = Client::connect(server.path()).unwrap();
    assert_eq!(again.read(511, 2).unwrap(), [1, 0]);
}

#[test]
fn errors_arrive_with_their_number_and_the_connection_lives_on() {
    let (_dir, server) = serve_disk(Disk::lying(MIB, 2 * MIB, Beyond::Vanishes).unwrap());
    let mut client = Client::connect(server.path()).unwrap();
    assert_eq!(client.size(), 2 * MIB);
    server.disk().add_fault(Fault::Error(Op::Write, 4096..8192));
    server.disk().add_fault(Fault::Flip { offset: 7, bit: 0 });
    assert_eq!(client.write(8191, b"x", false).unwrap_err().raw_os_error(), Some(nix::libc::EIO));
    assert_eq!(client.read(2 * MIB - 1, 2).unwrap_err().raw_os_error(), Some(nix::libc::EINVAL));
    assert_eq!(client.read(7, 1).unwrap(), [1]);
    client.write(MIB, b"gone", true).unwrap();
    assert_eq!(client.read(MIB, 4).unwrap(), [0; 4]);
}

#[test]
fn dropping_the_server_frees_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nbd");
    for _ in 0..2 {
        let server = Server::start(Disk::empty(MIB).unwrap(), &path).unwrap();
        assert_eq!(Client::connect(server.path()).unwrap().size(), MIB);
    }
    assert!(!path.exists());
}
