use super::*;
use crate::keys::SecretKey;

fn key(n: u8) -> PublicKey {
    SecretKey::from_seed(&[n; 32]).public()
}

fn bench() -> Universe {
    Universe {
        version: 1,
        suite: Suite::Sha3Secp256k1,
        name: "bench \"one\"\n".to_owned(),
        created_utc_ns: 1_790_000_000_000_000_000,
        shard_bits: SHARD_BITS_DEFAULT,
        nodes: vec![NodeMember {
            name: "node-1".to_owned(),
            key: key(1),
        }],
        parties: vec![
            Party {
                name: "controller".to_owned(),
                roles: vec![Role::Dispatcher, Role::Meter],
                key: key(2),
            },
            Party {
                name: "market".to_owned(),
                roles: vec![Role::MarketOperator],
                key: key(3),
            },
        ],
        federation: None,
    }
}

#[test]
fn a_universe_reads_back_from_its_bytes_and_from_its_file() {
    let universe = bench();
    assert_eq!(
        Universe::from_canonical(&universe.canonical().unwrap()).unwrap(),
        universe
    );
    assert_eq!(
        Universe::from_json(&universe.to_json().unwrap()).unwrap(),
        universe
    );
}

#[test]
fn each_single_changed_byte_of_the_file_is_refused_or_names_another_universe() {
    let universe = bench();
    let json = universe.to_json().unwrap();
    for at in 0..json.len() {
        for xor in [1, 2, 0x20] {
            let mut bytes = json.clone().into_bytes();
            bytes[at] ^= xor;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(Universe::from_json(&changed).is_err(), "byte {at}");
            }
        }
    }
}

/// As [`bench`], kept by four nodes.
fn federated() -> Universe {
    let nodes = (1..=4).map(|n| NodeMember {
        name: format!("node-{n}"),
        key: key(20 + n),
    });
    Universe {
        version: 2,
        nodes: nodes.collect(),
        federation: Some(Federation {
            admin_threshold: 1,
            transport_keys: (1..=4).map(|n| [n; 32]).collect(),
            replicas: Federation::full_replication(4, SHARD_BITS_DEFAULT),
        }),
        ..bench()
    }
}

#[test]
fn a_universe_of_several_nodes_reads_back_and_is_another_one() {
    let universe = federated();
    let bytes = universe.canonical().unwrap();
    assert_eq!(Universe::from_canonical(&bytes).unwrap(), universe);
    let json = universe.to_json().unwrap();
    assert_eq!(Universe::from_json(&json).unwrap(), universe);
    let mut other = federated();
    let replicas = &mut other.federation.as_mut().unwrap().replicas;
    replicas[3].pop();
    assert_ne!(other.id().unwrap(), universe.id().unwrap());
}

#[test]
fn a_broken_rule_of_a_federation_is_named() {
    let check = |break_it: &dyn Fn(&mut Federation), expected: &str| {
        let mut universe = federated();
        break_it(universe.federation.as_mut().unwrap());
        let found = universe.canonical().unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    };
    check(&|f| f.transport_keys.truncate(3), "has a transport key");
    check(&|f| f.replicas.truncate(15), "has its list of replicas");
    check(&|f| f.replicas[5].clear(), "at least one");
    check(&|f| f.replicas[5].swap(0, 1), "sorted and unique");
    check(&|f| f.replicas[5][3] = 4, "among the nodes");
}

#[test]
fn a_broken_rule_is_named() {
    let check = |break_it: &dyn Fn(&mut Universe), expected: &str| {
        let mut universe = bench();
        break_it(&mut universe);
        let found = universe.canonical().unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    };
    check(&|u| u.version = 2, "The version is 1, or 2");
    check(&|u| u.name.clear(), "has a name");
    check(&|u| u.shard_bits = 17, "at most 16 shard bits");
    check(&|u| u.nodes.clear(), "at least one node");
    check(&|u| u.parties.swap(0, 1), "sorted and unique");
    check(
        &|u| u.parties[1].name = "controller".to_owned(),
        "sorted and unique",
    );
    check(&|u| u.parties[0].key = key(1), "No key serves two");
    check(&|u| u.parties[0].roles.clear(), "has roles");
    check(&|u| u.parties[0].roles.reverse(), "has roles");
    check(
        &|u| u.parties[0].key = PublicKey([5; 33]),
        "key of `controller`",
    );
}

#[test]
fn the_format_page_says_what_each_role_may_author() {
    let roles = Role::ALL.iter().map(|role| {
        let kinds: Vec<&str> = role.kinds().iter().map(|kind| kind.name()).collect();
        vec![
            role.name().to_owned(),
            role.code().to_string(),
            kinds.join(", "),
        ]
    });
    assert_eq!(crate::page::rows("role"), roles.collect::<Vec<_>>());
}
