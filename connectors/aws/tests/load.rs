//! What is found in the environment and in profiles, and what is told where it is missing: by a process that has no other environment.

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
    let (is_found, said) = reach(r#"{"profile": "of_nobody"}"#, home.path(), &[REGION]);
    assert!(!is_found && said.contains("credentials"), "{said}");
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
