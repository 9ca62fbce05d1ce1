//! Accounts that log in by MariaDB's ed25519, and connections by TLS.

use std::fs;
use std::path::Path;

use crate::certificates::Certificates;
use crate::mariadb::Mariadb;
use crate::peer::{COMPLETES, LEECHES, announce, wait_accepted};
use crate::site::{Schema, Site, hash, project_file, settings, stop};
use crate::support::process::command;
use crate::support::{PATIENCE, wait_until};

#[test]
fn an_account_by_ed25519_is_as_good_as_any() {
    let (site, home) = (Schema::create(), tempfile::tempdir().expect("a temporary directory"));
    site.log_in_by_ed25519();
    site.list(&[(hash(1), "Demo")]);
    let tracker = site.tracker(home.path(), &settings("registered", "flush_interval = \"1s\""));
    wait_accepted(&tracker, &hash(1), 1);
    announce(tracker.address, &hash(1), 1, COMPLETES).accepted();
    wait_until(PATIENCE, "the download is written", || {
        site.column("downloaded", &hash(1)) == Some(1)
    });
    stop(tracker);
    assert!(site.torrent(&["list"]).contains("Demo"), "the command logs in as well");
}

#[test]
fn a_connection_is_encrypted_as_the_url_says() {
    let certificates = Certificates::make();
    let path = |name: &str| certificates.path(name).display().to_string();
    let server = Mariadb::start_with(&certificates.arguments());
    let site = Schema::create_in(&server, &project_file("schema/mysql.sql"));
    server.client(&format!("ALTER USER {}@'127.0.0.1' REQUIRE SSL", site.name));
    let (ca, other) = (path("ca.pem"), path("other.pem"));
    // The account exists at 127.0.0.1 alone, by which localhost is reached too.
    let by_name = site.url().replace("127.0.0.1", "localhost");
    let rows = [
        ("not encrypted", site.url(), Some("Access denied")),
        ("disabled", site.url() + "?ssl_mode=disabled", Some("Access denied")),
        ("required", site.url() + "?ssl_mode=required", None),
        ("verified", format!("{by_name}?ssl_ca={ca}"), None),
        ("verified by another name", format!("{}?ssl_ca={ca}", site.url()), Some("certificate")),
        ("its authority", format!("{}?ssl_ca={ca}&ssl_mode=verify-ca", site.url()), None),
        ("another authority", format!("{by_name}?ssl_ca={other}"), Some("certificate")),
        ("public authorities", by_name.clone() + "?ssl_mode=verify-identity", Some("certificate")),
        ("no such mode", site.url() + "?ssl_mode=on", Some("verify-identity")),
        ("no such file", site.url() + "?ssl_ca=/no/such", Some("/no/such")),
    ];
    for (what, url, problem) in rows {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut list = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
        list.args(["torrent", "list", "--database", &url]);
        let output = list.output().expect("the program can be run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), problem.is_none(), "{what}: {stderr}");
        if let Some(problem) = problem {
            assert!(stderr.contains(problem), "{what}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
        }
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    fs::write(home.path().join("url"), format!("{by_name}?ssl_ca={ca}\n"))
        .expect("a temporary directory can be written to");
    site.list(&[(hash(1), "Demo")]);
    let url_file = format!("url_file = {:?}", home.path().join("url"));
    let settings = settings("registered", &url_file);
    let tracker = crate::support::tracker::Tracker::start_in(
        home.path(),
        std::net::Ipv4Addr::LOCALHOST.into(),
        &settings,
        |_| (),
    );
    wait_accepted(&tracker, &hash(1), 1);
    announce(tracker.address, &hash(1), 1, LEECHES).accepted();
    stop(tracker);
}

#[test]
fn a_server_without_tls_is_told_of() {
    let site = Schema::create();
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut list = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
    list.args(["torrent", "list", "--database", &(site.url() + "?ssl_mode=required")]);
    let output = list.output().expect("the program can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the server offers no TLS; write ?ssl_mode=disabled"), "{stderr}");
}
