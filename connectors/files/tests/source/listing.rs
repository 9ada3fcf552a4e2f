//! What listing a folder must find, and pass over: what is told is tried in the crate.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;
use tidelock::{ErrorKind, Source, Split};
use tidelock_files::SourceFormat;

use super::common::{assert_names, first_run};
use super::{config, source};

async fn names(folder: &Path, glob: &str, follow_links: bool) -> tidelock::Result<Vec<String>> {
    let mut config = config(folder, SourceFormat::Lines);
    config.glob = glob.into();
    config.follow_links = follow_links;
    let found = source::<String>(config).discover(&first_run()).await?;
    Ok(found.new.iter().map(|split| split.id().to_string()).collect())
}

#[tokio::test]
async fn discovery_looks_only_where_the_glob_can_match() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for folder in ["logs/2013", "lost+found", "secret"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    fs::write(path("logs/2013/a.csv"), "").unwrap();
    fs::write(path("lost+found/b.csv"), "").unwrap();
    fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let odd = OsStr::from_bytes(b"odd-\xFF.txt");
    fs::write(folder.path().join(odd), "").unwrap();
    fs::create_dir(folder.path().join(OsStr::from_bytes(b"folder-\xFF"))).unwrap();

    assert_eq!(names(folder.path(), "logs/*/*.csv", false).await.unwrap(), ["logs/2013/a.csv"]);
    assert_eq!(names(folder.path(), "l*/**/*.csv", false).await.unwrap(), ["logs/2013/a.csv"]);
    let error = names(folder.path(), "*.txt", false).await.unwrap_err();
    assert_names(&error, ErrorKind::Data, &["odd-", "not UTF-8"]);
    fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn links_to_folders_are_followed_if_asked_and_rings_are_noticed() {
    let folder = TempDir::new().unwrap();
    let elsewhere = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    fs::write(folder.path().join("a/x.txt"), "").unwrap();
    fs::write(elsewhere.path().join("y.txt"), "").unwrap();
    symlink(elsewhere.path(), folder.path().join("b")).unwrap();
    symlink(folder.path(), folder.path().join("a/ring")).unwrap();
    symlink(folder.path().join("nothing"), folder.path().join("dangling.txt")).unwrap();
    symlink(elsewhere.path().join("y.txt"), folder.path().join("linked.txt")).unwrap();
    assert_eq!(names(folder.path(), "**/*.txt", false).await.unwrap(), ["a/x.txt", "linked.txt"]);
    assert_eq!(names(folder.path(), "**/*.txt", true).await.unwrap(), ["a/x.txt", "b/y.txt", "linked.txt"]);
    assert_eq!(names(folder.path(), "b/*.txt", true).await.unwrap(), ["b/y.txt"]);
}

#[tokio::test]
async fn a_link_that_leads_nowhere_is_an_error_only_where_the_glob_takes_it() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.txt"), "").unwrap();
    symlink("ring.log", folder.path().join("ring.log")).unwrap();
    assert_eq!(names(folder.path(), "*.txt", false).await.unwrap(), ["a.txt"]);
    let error = names(folder.path(), "*", false).await.unwrap_err();
    assert!(error.to_string().contains("ring.log"), "{error}");
}
