#[test]
#[ignore]
fn x() { let p = "/home/x"; let h = "pypi.org"; }
