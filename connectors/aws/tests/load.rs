//! What is found in the environment and in profiles, and what is told where it is missing: by a process that has no other environment.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use tidelock_processes::example;

/// What the process says, and whether it found everything.
fn reach(settings: &str, home: &Path, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(example("reach"));
    // Nobody is to wait for an instance that this machine is not.
    command.arg(settings).env_clear().env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true");
    command.envs(environment.iter().copied());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let output = command.output().expect("the example was built");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

const REGION: (&str, &str) = ("AWS_REGION", "eu-central-1");
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "s3cret")];

#[test]
fn a_region_and_credentials_that_are_not_there_are_told_with_where_they_were_looked_for() {
    let home = tempfile::tempdir().expect("a folder");
    for (environment, parts) in [
        (vec![], ["setting=region", "AWS_REGION"]),
        (KEYS.to_vec(), ["setting=region", "AWS_REGION"]),
        (vec![REGION], ["look for credentials", "AWS_ACCESS_KEY_ID"]),
        (vec![REGION, KEYS[0]], ["look for credentials", "AWS_ACCESS_KEY_ID"]),
    ] {
        let (is_found, said) = reach("{}", home.path(), &environment);
        assert!(!is_found && parts.iter().all(|part| said.contains(part)), "{environment:?}: {said}");
    }
}

/// A metadata service that refuses everything; it serves as long as this process lives.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            // All of the request, or closing the connection would take the answer away.
            let (mut read, mut some) = (Vec::new(), [0; 1_024]);
            while !read.ends_with(b"\r\n\r\n") {
                match connection.read(&mut some).expect("a request") {
                    0 => break,
                    length => read.extend_from_slice(&some[..length]),
                }
            }
            let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = connection.write_all(answer);
        }
    });
    address
}

#[test]
fn where_the_metadata_service_refuses_a_person_is_told_where_credentials_were_looked_for_and_nobody_tries_again()
 {
    let home = tempfile::tempdir().expect("a folder");
    let service = format!("http://{}", refusing());
    let environment = [
        REGION,
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.as_str()),
    ];
    let (is_found, said) = reach("{}", home.path(), &environment);
    assert!(!is_found, "{said}");
    for part in
        ["HTTP 403", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED", "(Config, Halt)"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_profile_that_a_setting_names_counts_and_not_what_is_in_the_environment() {
    let home = tempfile::tempdir().expect("a folder");
    let everything = [REGION, KEYS[0], KEYS[1]];
    let names_it = |profile: &str| format!(r#"{{"profile": "{profile}"}}"#);
    let refused = |profile: &str| {
        let (is_found, said) = reach(&names_it(profile), home.path(), &everything);
        let is_named = said.contains(profile) && said.contains("the setting `profile`");
        assert!(!is_found && is_named && said.contains("(Config, Halt)"), "{profile}: {said}");
    };
    // There are no files, a file without it, and one that has no credentials for it.
    refused("bare");
    std::fs::create_dir(home.path().join(".aws")).expect("a folder");
    let profiles = "[profile bare]\nregion = us-east-1\n\n[profile whole]\nregion = us-east-1\naws_access_key_id = AKIDEXAMPLE\n\
                    aws_secret_access_key = s3cret\n";
    std::fs::write(home.path().join(".aws/config"), profiles).expect("written");
    refused("of_nobody");
    refused("bare");
    let (is_found, said) = reach(&names_it("whole"), home.path(), &everything);
    assert!(is_found && said.contains("us-east-1"), "its region, too: {said}");
    let (is_found, said) = reach("{}", home.path(), &everything);
    assert!(is_found && said.contains("eu-central-1"), "{said}");
}

#[test]
fn they_come_from_the_environment_or_a_profile_and_are_not_shown() {
    let home = tempfile::tempdir().expect("a folder");
    let (is_found, said) = reach("{}", home.path(), &[REGION, KEYS[0], KEYS[1]]);
    assert!(is_found && said.contains("eu-central-1") && !said.contains("s3cret"), "{said}");
    std::fs::create_dir(home.path().join(".aws")).expect("a folder");
    let process = r#"{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "s3cret"}"#;
    let profiles = format!(
        "[profile by_process]\nregion = us-east-1\ncredential_process = echo '{process}'\n\n[profile by_keys]\naws_access_key_id = AKIDEXAMPLE\n\
         aws_secret_access_key = s3cret\n"
    );
    std::fs::write(home.path().join(".aws/config"), profiles).expect("written");
    let (is_found, said) = reach(r#"{"profile": "by_process"}"#, home.path(), &[]);
    assert!(is_found && said.contains("us-east-1"), "{said}");
    let (is_found, said) = reach(r#"{"profile": "by_keys", "region": "eu-west-1"}"#, home.path(), &[REGION]);
    assert!(is_found && said.contains("eu-west-1") && !said.contains("s3cret"), "{said}");
}
