//! From where the page may be asked.

use super::*;

#[tokio::test]
async fn a_page_from_elsewhere_is_kept_out() {
    let mut server = server(None, 4).await;
    let port = server.address.port();
    let rows: &[(&str, &str, u16)] = &[
        ("GET", "Host: evil.example\r\n", 403),
        ("GET", "Host: 127.0.0.1.evil.example\r\n", 403),
        ("GET", "Host: localhost:1\r\n", 200),
        ("GET", "Host: [::1]:7070\r\n", 200),
        ("GET", "Host: [::1].evil.example\r\n", 403),
        (
            "POST",
            &format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"),
            202,
        ),
        (
            "POST",
            "Host: localhost\r\nOrigin: http://evil.example\r\n",
            403,
        ),
        ("POST", "Host: localhost\r\nOrigin: null\r\n", 403),
        // One that is there and says nothing is not ours either, nor is one without a host.
        ("POST", "Host: localhost\r\nOrigin: \r\n", 403),
        ("POST", "Host: localhost\r\nOrigin: http://\r\n", 403),
        ("POST", "Host: localhost\r\n", 202),
    ];
    for (method, headers, status) in rows {
        let path = if *method == "GET" {
            "/api/v1/state"
        } else {
            "/api/v1/safe"
        };
        let (got, _) = ask(&server, method, path, headers, "").await;
        assert_eq!(got, *status, "{method} {headers}");
    }
    assert_eq!(server.commands.recv().await, Some(WebCommand::Safe));
    assert_eq!(server.commands.recv().await, Some(WebCommand::Safe));
    assert!(server.commands.try_recv().is_err());
}

#[test]
fn beyond_this_machine_the_page_listens_only_with_tls_and_tokens() {
    let long = "0123456789abcdef";
    let rows = [
        ("127.0.0.1:7070", None, false, Ok(())),
        ("127.0.0.1:7070", None, true, Ok(())),
        ("[::1]:7070", Some("s3cret"), false, Ok(())),
        ("127.0.0.1:7070", Some(" "), false, Err("W002")),
        ("127.0.0.1:7070", Some("two words"), false, Err("W002")),
        ("127.0.0.1:7070", Some("gehe\u{ef}m"), false, Err("W002")),
        ("0.0.0.0:7070", None, false, Err("W001")),
        ("0.0.0.0:7070", Some(long), false, Err("W001")),
        ("192.168.1.2:7070", None, true, Err("W001")),
        ("[::]:7070", None, true, Err("W001")),
        ("[::ffff:127.0.0.1]:7070", None, false, Err("W001")),
        ("[::]:7070", Some("s3cret"), true, Err("W002")),
        ("[::]:7070", Some(long), true, Ok(())),
        ("192.168.1.2:7070", Some(long), true, Ok(())),
    ];
    for (addr, token, tls, expected) in rows {
        let tokens = Tokens::one(token.map(String::from));
        let told = check_listen(addr.parse().unwrap(), &tokens, tls);
        if let Err(fault) = &told
            && fault.code == "W001"
        {
            let help = fault.help.as_deref().unwrap();
            assert!(help.contains("gridrig init") && help.contains("ssh -L 7070"));
        }
        assert_eq!(
            told.map_err(|fault| fault.code),
            expected,
            "{addr} {token:?} {tls}"
        );
    }
}

#[test]
fn a_host_is_this_machine_only_by_its_own_names() {
    for (host, is) in [
        ("localhost", true),
        ("LOCALHOST:80", true),
        ("127.9.9.9:7070", true),
        ("[::1]", true),
        ("", false),
        ("10.0.0.1", false),
        ("localhost.evil.example", false),
        ("[::2]", false),
    ] {
        assert_eq!(guard::is_this_machine(host), is, "{host}");
    }
}
