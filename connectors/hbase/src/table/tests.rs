use super::*;

#[test]
fn a_name_that_no_table_can_have_is_refused() {
    for name in ["orders", "shop:orders", "a.b-c_1"] {
        check_name(name).expect(name);
    }
    for name in ["", "a:b:c", ":a", "a:", "a b", ".a", "a/b"] {
        assert_eq!(check_name(name).expect_err(name).kind(), ErrorKind::Config);
    }
}

#[test]
fn a_time_to_live_is_one_that_ends() {
    let family =
        |seconds: Option<i32>| ColumnDescriptor { time_to_live: seconds, ..ColumnDescriptor::default() };
    for (seconds, lives) in [
        (None, None),
        (Some(i32::MAX), None),
        (Some(0), None),
        (Some(-1), None),
        (Some(86_400), Some(86_400)),
    ] {
        let family = Family::of_wire(&family(seconds));
        assert_eq!((family.time_to_live, family.max_versions), (lives.map(Duration::from_secs), 1));
    }
}
