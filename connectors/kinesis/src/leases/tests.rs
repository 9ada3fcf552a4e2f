//! What leases mean for shards: every rule, and what it must not do.

use super::lease::{Checkpoint, Lease, LeasedStream};
use super::plan::{Begins, Plan, Refusal};
use super::reconcile::{Facts, InitialPosition, Listed, ListedStream, plan};
use crate::source::GivenAt;

const NOW_MS: i64 = 1_764_470_000_000;

/// Shards as `A`, or as `C<A+B` where C goes on from A and B.
fn stream(shards: &str) -> ListedStream {
    let shard = |text: &str| {
        let (id, parents) = text.split_once('<').unwrap_or((text, ""));
        let parents = parents.split('+').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        Listed { id: id.into(), parents, first: Some("100".into()) }
    };
    let shards = shards.split_whitespace().map(shard).collect();
    ListedStream { name: "flights".into(), created_ms: Some(1_700_000_000_123), shards }
}

/// Leases as `A=497`, `A=497/2`, `A=end`, `A=horizon`, `A=latest`, `A=time`.
fn leases(leases: &str) -> Vec<Lease> {
    let lease = |text: &str| {
        let (shard, at) = text.split_once('=').unwrap();
        let checkpoint = match at {
            "end" => Checkpoint::ShardEnd,
            "horizon" => Checkpoint::TrimHorizon,
            "latest" => Checkpoint::Latest,
            "time" => Checkpoint::AtTimestamp,
            number => {
                let (number, sub) = number.split_once('/').unwrap_or((number, "0"));
                Checkpoint::After { sequence_number: number.into(), sub_sequence: sub.parse().unwrap() }
            }
        };
        Lease {
            key: shard.into(),
            stream: None,
            shard: shard.into(),
            checkpoint,
            pending: None,
            owner: None,
            counter: 1,
            parents: Vec::new(),
        }
    };
    leases.split_whitespace().map(lease).collect()
}

fn planned(of: &str, shards: &str, initial: Option<InitialPosition>) -> Plan {
    plan(&leases(of), &stream(shards), Facts { initial, now_ms: NOW_MS })
}

/// Where each shard begins, as `A=497 B=oldest C=end D=follows E=now F=@7 G=?`.
fn begins(plan: &Plan) -> String {
    let one = |begins: &Begins| match begins {
        Begins::At(GivenAt::AfterSub { sequence_number, sub_sequence: 0 }) => sequence_number.clone(),
        Begins::At(GivenAt::AfterSub { sequence_number, sub_sequence }) => {
            format!("{sequence_number}/{sub_sequence}")
        }
        Begins::At(GivenAt::Oldest) => "oldest".into(),
        Begins::At(GivenAt::Finished) => "end".into(),
        Begins::At(GivenAt::Time(NOW_MS)) => "now".into(),
        Begins::At(GivenAt::Time(at_ms)) => format!("@{at_ms}"),
        Begins::Follows => "follows".into(),
        Begins::Unknown => "?".into(),
    };
    let all = plan.shards.iter().map(|shard| format!("{}={}", shard.shard, one(&shard.begins)));
    all.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_begins(of: &str, shards: &str, expected: &str) {
    let plan = planned(of, shards, None);
    assert_eq!(plan.refusals, [], "{of} in {shards}");
    assert_eq!(begins(&plan), expected, "{of} in {shards}");
}

#[test]
fn each_checkpoint_is_the_place_that_it_says() {
    assert_begins(
        "A=497 B=498/2 C=horizon D=end E=latest",
        "A B C D E",
        "A=497 B=498/2 C=oldest D=end E=now",
    );
    // Numbers are no texts.
    assert_begins("A=1000", "A", "A=1000");
}

#[test]
fn children_follow_and_those_of_an_ended_shard_begin() {
    assert_begins("A=497", "A B<A C<A", "A=497 B=follows C=follows");
    assert_begins("A=end", "A B<A C<A", "A=end B=oldest C=oldest");
    assert_begins("A=end B=497", "A B<A C<A", "A=end B=497 C=oldest");
    assert_begins("A=497", "A B<A D<B E<B", "A=497 B=follows D=follows E=follows");
    assert_begins("A=end", "A B<A D<B E<B", "A=end B=oldest D=follows E=follows");
    // KCL makes the leases of children before it says that their parent has ended.
    assert_begins("A=497 B=horizon C=horizon", "A B<A C<A", "A=497 B=follows C=follows");
}

#[test]
fn what_was_merged_begins_when_all_before_it_is_over() {
    assert_begins("A=497 B=end", "A B C<A+B", "A=497 B=end C=follows");
    assert_begins("A=end B=end", "A B C<A+B", "A=end B=end C=oldest");
    assert_begins("A=end B=497 C=horizon", "A B C<A+B", "A=end B=497 C=follows");
    // The list has lost one of them, and the table says that it was processed.
    assert_begins("A=end B=end", "B C<A+B", "B=end C=oldest");
    assert_begins("A=end B=end", "C<A+B", "C=oldest");
}

#[test]
fn a_shard_whose_lease_was_deleted_after_its_end_is_not_read_again() {
    assert_begins("B=497 C=498", "A B<A C<A", "A=end B=497 C=498");
    assert_begins("D=497 E=498 C=499", "A B<A C<A D<B E<B", "A=end B=end C=499 D=497 E=498");
    // A began before what the application began with, and was never wanted.
    assert_begins("B=horizon C=horizon", "A B<A C<A", "A=end B=oldest C=oldest");
    // Between what is not finished and what has a lease: it comes before that lease, and is read.
    assert_begins("A=497 D=horizon", "A B<A D<B", "A=497 B=follows D=follows");
}

#[test]
fn a_shard_of_which_nobody_can_tell_is_refused_until_the_application_s_initial_position_is_said() {
    let is_refused = |of: &str, shards: &str, named: &[&str]| {
        let plan = planned(of, shards, None);
        let expected =
            named.iter().map(|&shard| Refusal::NoLease { stream: "flights".into(), shard: shard.into() });
        assert_eq!(plan.refusals, expected.collect::<Vec<_>>(), "{of} in {shards}");
        assert!(plan.given(true).is_err());
    };
    is_refused("A=497", "A B", &["B"]);
    is_refused("", "A B<A", &["A", "B"]);
    // A sibling of what has a lease, when their parent's was deleted.
    is_refused("B=497", "A B<A C<A", &["C"]);
    let with = |of: &str, shards: &str, initial| {
        let plan = planned(of, shards, Some(initial));
        assert_eq!(plan.refusals, []);
        begins(&plan)
    };
    use InitialPosition::{AtTimestamp, Latest, TrimHorizon};
    assert_eq!(with("A=497", "A B C<B", TrimHorizon), "A=497 B=oldest C=follows");
    assert_eq!(with("A=497", "A B C<B", AtTimestamp(7)), "A=497 B=@7 C=follows");
    assert_eq!(with("A=497", "A B C<B", Latest), "A=497 B=end C=now");
    assert_eq!(with("", "A B<A C<A", Latest), "A=end B=now C=now");
    // What goes on from something that was processed is wanted from its beginning, whatever the application began with.
    assert_eq!(with("A=end", "A B C<A+B", Latest), "A=end B=end C=oldest");
    assert_eq!(with("A=end", "A B<A", Latest), "A=end B=oldest");
}

#[test]
fn a_time_comes_from_the_configuration_and_without_it_the_import_is_refused() {
    let plan = planned("A=time", "A", None);
    assert_eq!(plan.refusals, [Refusal::NoTimestamp { key: "A".into() }]);
    let plan = planned("A=time", "A", Some(InitialPosition::Latest));
    assert_eq!(plan.refusals, [Refusal::NoTimestamp { key: "A".into() }]);
    let plan = planned("A=time B=time", "A B<A", Some(InitialPosition::AtTimestamp(7)));
    assert_eq!((begins(&plan).as_str(), plan.refusals.len()), ("A=@7 B=follows", 0));
}

#[test]
fn what_was_not_processed_of_a_shard_that_is_gone_is_a_loss() {
    let plan = planned("A=497 B=1 C=end", "B", None);
    let gone = Refusal::Gone {
        key: "A".into(),
        checkpoint: Checkpoint::After { sequence_number: "497".into(), sub_sequence: 0 },
    };
    let before = Refusal::BeforeFirst { key: "B".into() };
    assert_eq!(plan.refusals, [before, gone.clone()]);
    let lost = planned("A=497 B=500", "B", None);
    assert_eq!(lost.refusals, [gone]);
    let error = lost.given(false).expect_err("a loss");
    assert_eq!(error.kind(), tidelock::ErrorKind::Expired);
    assert!(error.to_string().contains("497") && error.to_string().contains("on_data_loss"), "{error}");
    let given = lost.given(true).expect("accepted");
    assert_eq!(given.len(), 1);
    assert_eq!((given[0].stream.as_str(), given[0].shard.as_str()), ("flights", "B"));
    // Of a shard that nothing was read of nobody knows whether there was something.
    assert_eq!(planned("A=horizon B=500", "B", None).refusals.len(), 1);
}

#[test]
fn leases_of_another_stream_are_refused() {
    let mut of_another = leases("A=99");
    let with = Facts { initial: None, now_ms: NOW_MS };
    let refused = plan(&of_another, &stream("A"), with).refusals;
    assert_eq!(refused, [Refusal::BeforeFirst { key: "A".into() }], "99 is less than 100");
    let named =
        |name: &str, created_s| Some(LeasedStream { account: "1".into(), name: name.into(), created_s });
    of_another = leases("A=497");
    of_another[0].stream = named("flights", 1_700_000_000);
    assert_eq!(plan(&of_another, &stream("A"), with).refusals, []);
    of_another[0].stream = named("flights", 1_699_999_999);
    let refused = plan(&of_another, &stream("A"), with).refusals;
    assert!(refused.contains(&Refusal::AnotherStream { key: "A".into() }), "{refused:?}");
    // Another stream of the same application is not asked for here.
    of_another[0].stream = named("planes", 1_700_000_000);
    of_another.extend(leases("B=5"));
    of_another[1].stream = named("flights", 1_700_000_000);
    let refused = plan(&of_another, &stream("A"), with).refusals;
    let no_lease = Refusal::NoLease { stream: "flights".into(), shard: "A".into() };
    assert!(refused.contains(&no_lease), "{refused:?}");
}

#[test]
fn a_listing_that_goes_round_in_a_circle_ends() {
    for of in ["", "A=497", "C=497", "C=end"] {
        for initial in [None, Some(InitialPosition::Latest), Some(InitialPosition::TrimHorizon)] {
            planned(of, "A<B B<A C<B", initial);
            planned(of, "A<A C<A", initial);
        }
    }
}

#[test]
fn many_refusals_are_named_by_a_few() {
    let shards: Vec<String> = (0..100).map(|at| format!("S{at}")).collect();
    let error = planned("", &shards.join(" "), None).given(false).expect_err("no leases").to_string();
    assert!(error.contains("S0") && error.contains("and 95 more"), "{error}");
    assert!(error.len() < 1_500, "{error}");
}

/// Every tree of a few shards, with every lease that each may have: what is given is never above or below what is not finished and has no lease of its own.
#[test]
fn nothing_is_read_twice_nor_left_out_in_any_small_tree() {
    let trees =
        ["A", "A B", "A B<A", "A B<A C<A", "A B C<A+B", "A B<A C<B", "A B<A C<A D<B+C", "A B<A D<B E<D"];
    let marks = ["", "497", "end", "horizon"];
    let mut looked_at = 0;
    for tree in trees {
        let shards = stream(tree).shards;
        for mut code in 0..marks.len().pow(u32::try_from(shards.len()).unwrap()) {
            let mut text = String::new();
            for shard in &shards {
                let mark = marks[code % marks.len()];
                code /= marks.len();
                if !mark.is_empty() {
                    text += &format!("{}={mark} ", shard.id);
                }
            }
            let plan = planned(&text, tree, None);
            looked_at += 1;
            let of = |id: &str| plan.shards.iter().find(|one| one.shard == id).unwrap();
            for shard in &shards {
                let (begins, lease) = (&of(&shard.id).begins, &of(&shard.id).lease);
                let parents: Vec<&Begins> = shard.parents.iter().map(|parent| &of(parent).begins).collect();
                let shown = format!("{} of {text}in {tree}", shard.id);
                let waits =
                    |begins: &&Begins| !matches!(begins, Begins::At(GivenAt::Finished) | Begins::Unknown);
                match begins {
                    // A shard that follows has something to follow.
                    Begins::Follows => assert!(parents.iter().any(waits), "{shown}"),
                    // What begins at its beginning begins when nothing before it is left.
                    Begins::At(GivenAt::Oldest) => assert!(!parents.iter().any(waits), "{shown}"),
                    Begins::At(GivenAt::AfterSub { .. }) => assert!(lease.is_some(), "{shown}"),
                    // Over is what a lease says, or what lies before one.
                    Begins::At(GivenAt::Finished) if lease.is_none() => {
                        assert!(!parents.iter().any(waits), "{shown}");
                    }
                    Begins::At(GivenAt::Finished) => assert!(text.contains(&format!("{}=end", shard.id))),
                    Begins::At(GivenAt::Time(_)) => panic!("{shown}: nothing says a time"),
                    Begins::Unknown => assert!(!plan.refusals.is_empty(), "{shown}"),
                }
            }
        }
    }
    assert!(looked_at > 700, "{looked_at}");
}
