//! The page of the docs shows the code that the simulation runs.

#[test]
fn the_page_on_hosting_shows_the_code_that_runs() {
    let page = include_str!("../../../docs/hosting.md");
    let source = include_str!("../src/host.rs");
    let code = source.find("use std::").map(|from| source[from..].trim_end());
    assert!(
        code.is_some_and(|code| page.contains(code)),
        "copy tests/testkit/src/host.rs into docs/hosting.md"
    );
}
