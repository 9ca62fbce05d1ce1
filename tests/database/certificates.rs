//! Certificates of the tests' own, made by openssl for servers of theirs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::process::program;

/// An authority, and a certificate of its for `localhost`; another authority beside.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    #[track_caller]
    pub(crate) fn make() -> Certificates {
        let made = Certificates(tempfile::tempdir().expect("a temporary directory"));
        for name in ["ca", "other"] {
            made.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key \
                 -out {name}.pem -addext basicConstraints=critical,CA:TRUE"
            ));
        }
        made.openssl(
            "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr",
        );
        fs::write(made.0.path().join("names"), "subjectAltName=DNS:localhost\n")
            .expect("a temporary directory can be written to");
        made.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile \
             names -out server.pem",
        );
        made
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new(program("openssl", "openssl"))
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl can be run");
        assert!(output.status.success(), "openssl {arguments}: {output:?}");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What a server is started with that has the certificate.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let path = |name| self.path(name).display().to_string();
        vec![
            format!("--ssl-cert={}", path("server.pem")),
            format!("--ssl-key={}", path("server.key")),
        ]
    }
}
