//! Folders of keys: whole, half and damaged ones.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::web::tls::Tls;

/// 2026-11-22T10:00:00 UTC.
pub(in crate::web) const NOW: UtcTime = UtcTime::from_unix_nanos(1_795_341_600_000_000_000);

fn names() -> Vec<String> {
    ["bench.lab", "127.0.0.1"].map(String::from).into()
}

fn made(folder: &Path) -> Vec<(String, bool)> {
    let name = |piece: &Piece| {
        let name = piece.path.file_name().unwrap();
        name.to_string_lossy().into_owned()
    };
    let pieces = init(folder, &names(), &[], NOW).unwrap();
    pieces.iter().map(|p| (name(p), p.is_new)).collect()
}

const ALL: [&str; 5] = [
    CA_KEY_FILE,
    CA_FILE,
    SERVER_KEY_FILE,
    SERVER_FILE,
    TOKENS_FILE,
];

#[test]
fn keys_are_made_once_are_their_owners_alone_and_what_is_missing_is_made_anew() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("a/keys");
    let bytes = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let told = |new: &[&str]| ALL.map(|name| (name.to_owned(), new.contains(&name)));
    assert_eq!(made(&folder), told(&ALL));
    for (name, expected) in ALL.iter().zip([0o600, 0o644, 0o600, 0o644, 0o600]) {
        let found = std::fs::metadata(folder.join(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, expected, "{name}");
    }
    // Whatever is taken away is made anew, and nothing else is touched.
    for gone in [
        &[][..],
        &[TOKENS_FILE],
        &[SERVER_FILE],
        &[SERVER_KEY_FILE, SERVER_FILE],
        &[CA_FILE, SERVER_FILE],
    ] {
        let before = ALL.map(bytes);
        for name in gone {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        assert_eq!(made(&folder), told(gone), "{gone:?}");
        for (name, before) in ALL.iter().zip(before) {
            assert_eq!(bytes(name) == before, !gone.contains(name), "{name}");
        }
        // The authority is the same one all along, so the page is trusted as before.
        Tls::read(&folder, NOW).unwrap();
    }
    // The authority's key may be kept elsewhere.
    std::fs::remove_file(folder.join(CA_KEY_FILE)).unwrap();
    assert_eq!(made(&folder).len(), 4);
}

#[test]
fn what_cannot_be_completed_is_left_alone_with_a_reason() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("keys");
    init(&folder, &names(), &[], NOW).unwrap();
    let refused = |gone: &[&str], words: &str| {
        let moved = |name: &str| (folder.join(name), place.path().join(name));
        for (from, to) in gone.iter().map(|name| moved(name)) {
            std::fs::rename(from, to).unwrap();
        }
        let fault = init(&folder, &names(), &[], NOW).unwrap_err();
        assert_eq!(fault.code, "R127");
        assert!(fault.message.contains(words), "{fault}");
        for (to, from) in gone.iter().map(|name| moved(name)) {
            std::fs::rename(from, to).unwrap();
        }
    };
    refused(&[SERVER_KEY_FILE], "not its key server.key");
    refused(&[CA_KEY_FILE, SERVER_FILE], "not its key ca.key");
    std::fs::remove_file(folder.join(SERVER_FILE)).unwrap();
    std::fs::write(folder.join(CA_KEY_FILE), "no key").unwrap();
    refused(&[], "is not one of `gridrig init`");
    for name in ["", "bench lab", "-", "münchen.lab"] {
        let fault = init(&folder, &[name.to_owned()], &[], NOW).unwrap_err();
        assert!(fault.message.contains("neither the name"), "{fault}");
    }
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(init(&file, &names(), &[], NOW).unwrap_err().code, "R127");
}

#[test]
fn addresses_of_this_machine_are_those_that_others_can_route_to() {
    let trie = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/24 2 0 2
        |-- 10.1.0.0
           /24 link UNICAST
        |-- 10.1.0.11
           /32 host LOCAL
        |-- 10.1.0.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
Local:
        |-- 10.1.0.11
           /32 host LOCAL
";
    assert_eq!(addresses_v4(trie), [Ipv4Addr::new(10, 1, 0, 11)]);
    let list = "\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000021122fffe334455 02 40 20 80     eth0
fd000000000000000000000000000011 02 40 00 80     eth0
";
    let expected: Ipv6Addr = "fd00::11".parse().unwrap();
    assert_eq!(addresses_v6(list), [expected]);
    let here = names_of_this_machine();
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert!(here.iter().any(|n| n == name), "{here:?}");
    }
}

#[test]
fn a_bidder_has_a_token_of_its_own_in_a_new_tokens_file_and_nothing_is_added_to_one_that_is_there()
{
    let folder = tempfile::tempdir().unwrap();
    let bidders = ["plug1".to_owned()];
    for bad in ["", "a b", "x\"y", "a.b"] {
        let fault = init(folder.path(), &names(), &[bad.to_owned()], NOW).unwrap_err();
        assert_eq!(fault.code, "R127", "{bad}");
        assert!(!folder.path().join(TOKENS_FILE).exists());
    }
    init(folder.path(), &names(), &bidders, NOW).unwrap();
    let path = folder.path().join(TOKENS_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("[token.bid-plug1]") && text.contains("participant = \"plug1\""));
    let fault = init(folder.path(), &names(), &bidders, NOW).unwrap_err();
    assert_eq!(fault.code, "R127");
    assert!(fault.to_string().contains("already"), "{fault}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}
