//! Which shards may be read now, decided by what is listed and what is known. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::api::Shard;
use super::shard::DynamoShard;

/// The shards of one stream that a job knows, by their names.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Those that are being read, or wait to be.
    pub(super) active: BTreeSet<String>,
    /// Those that were read to their end, or had nothing to read.
    pub(super) finished: BTreeSet<String>,
    /// The same as they ended.
    pub(super) ended: BTreeMap<String, DynamoShard>,
    /// What they go on from, as the snapshot says it: lists may lack them, and forget them.
    pub(super) parents: BTreeMap<String, String>,
}

/// The shards that are listed, by their names.
pub(super) type Listed = BTreeMap<String, Shard>;

impl Known {
    pub(super) fn has(&self, shard: &str) -> bool {
        self.active.contains(shard) || self.finished.contains(shard)
    }

    fn parent_of<'a>(&'a self, listed: &'a Listed, shard: &str) -> Option<&'a str> {
        let told = || listed.get(shard).and_then(|shard| shard.parent.as_deref());
        self.parents.get(shard).map(String::as_str).or_else(told)
    }
}

/// Shards that were passed over: what goes on from them is known, and they are not. So it is with what was lost.
fn passed<'a>(listed: &'a Listed, known: &'a Known) -> BTreeSet<&'a str> {
    let mut passed = BTreeSet::new();
    for shard in known.active.iter().chain(&known.finished) {
        let mut parent = known.parent_of(listed, shard);
        while let Some(above) = parent {
            // A shard that was seen already has been followed upwards already: so it ends, whatever is listed.
            if known.has(above) || !passed.insert(above) {
                break;
            }
            parent = known.parent_of(listed, above);
        }
    }
    passed
}

/// Shards of which nobody knows whether they are there: they are not listed, and something depends on them.
pub(super) fn missing(listed: &Listed, known: &Known) -> BTreeSet<String> {
    let passed = passed(listed, known);
    let is_unknown =
        |shard: &str| !known.has(shard) && !passed.contains(shard) && !listed.contains_key(shard);
    let new = listed.values().filter(|shard| !known.has(&shard.id) && !passed.contains(shard.id.as_str()));
    let parents = new.filter_map(|shard| shard.parent.as_deref());
    let children = known.ended.values().flat_map(|ended| ended.children.iter().flatten());
    parents.chain(children.map(String::as_str)).filter(|shard| is_unknown(shard)).map(str::to_owned).collect()
}

/// Takes shards that can be read, and that no list has. One that was named by the shard that it goes on from goes on from that. What another one goes
/// on from nobody knows, and so it waits for as long as it may be any that is read. Returns those that wait.
pub(super) fn take_unlisted(
    listed: &mut Listed,
    known: &Known,
    gone: &BTreeSet<String>,
    there: BTreeSet<String>,
) -> BTreeSet<String> {
    let unlisted = |id: String, parent| (id.clone(), Shard { id, parent, first: None });
    let mut of_nobody = BTreeSet::new();
    for id in there {
        let names_it = |ended: &&DynamoShard| ended.children.iter().flatten().any(|child| *child == id);
        match known.ended.values().find(names_it) {
            Some(parent) => listed.extend([unlisted(id, Some(parent.shard.clone()))]),
            None => {
                of_nobody.insert(id);
            }
        }
    }
    if !known.active.is_empty() || !newcomers(listed, known, gone).is_empty() {
        return of_nobody;
    }
    listed.extend(of_nobody.into_iter().map(|id| unlisted(id, None)));
    BTreeSet::new()
}

/// Shards that may be read now: those that go on from nothing, or from what was read, or was passed over, or is `gone`.
pub(super) fn newcomers<'a>(listed: &'a Listed, known: &Known, gone: &BTreeSet<String>) -> Vec<&'a Shard> {
    let passed = passed(listed, known);
    let may_be_read = |shard: &&Shard| {
        if known.has(&shard.id) || passed.contains(shard.id.as_str()) {
            return false;
        }
        shard.parent.as_deref().is_none_or(|parent| {
            known.finished.contains(parent) || passed.contains(parent) || gone.contains(parent)
        })
    };
    listed.values().filter(may_be_read).collect()
}

/// The shards that go on from one, as far as they are listed.
pub(super) fn children(listed: &Listed, shard: &str) -> Vec<String> {
    let children = listed.values().filter(|one| one.parent.as_deref() == Some(shard));
    children.map(|child| child.id.clone()).collect()
}

/// Shards from which nothing goes on that is listed, and the others.
pub(super) fn last(listed: &Listed) -> (Vec<&Shard>, Vec<&Shard>) {
    let parents: BTreeSet<&str> = listed.values().filter_map(|shard| shard.parent.as_deref()).collect();
    listed.values().partition(|shard| !parents.contains(shard.id.as_str()))
}

/// Finished shards that can never be found again: they are not listed, what goes on from them is known, was passed over or is `gone`, and so are those from
/// which they go on. In this order a shard is known for as long as another one names it. A list may lack what it has the next time: whether they are
/// there is asked before they are forgotten.
pub(super) fn forgotten(listed: &Listed, known: &Known, gone: &BTreeSet<String>) -> BTreeSet<String> {
    let passed = passed(listed, known);
    let is_over =
        |child: &String| known.has(child) || gone.contains(child) || passed.contains(child.as_str());
    let is_settled = |ended: &&DynamoShard| {
        !listed.contains_key(&ended.shard) && ended.children.iter().flatten().all(is_over)
    };
    let candidates: Vec<&DynamoShard> = known.ended.values().filter(is_settled).collect();
    let mut forgotten = BTreeSet::new();
    loop {
        let before = forgotten.len();
        for shard in &candidates {
            let is_kept = |parent: &String| {
                listed.contains_key(parent) || (known.has(parent) && !forgotten.contains(parent))
            };
            if !shard.parent.as_ref().is_some_and(is_kept) {
                forgotten.insert(shard.shard.clone());
            }
        }
        if forgotten.len() == before {
            return forgotten;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::Position;
    use super::*;

    /// Shards as `A`, or as `B<A` where B goes on from A.
    fn listed(shards: &str) -> Listed {
        let shard = |text: &str| {
            let (id, parent) = text.split_once('<').map_or((text, None), |(id, parent)| (id, Some(parent)));
            (id.to_owned(), Shard { id: id.into(), parent: parent.map(str::to_owned), first: None })
        };
        shards.split_whitespace().map(shard).collect()
    }

    fn names(shards: &str) -> BTreeSet<String> {
        shards.split_whitespace().map(str::to_owned).collect()
    }

    /// What is active, what is finished, and of that what has ended, as `B<A>C+D` with parent and children.
    fn known(active: &str, finished: &str, ended: &str) -> Known {
        let shard = |text: &str| {
            let (above, children) = text.split_once('>').unwrap_or((text, ""));
            let (id, parent) = above.split_once('<').map_or((above, None), |(id, parent)| (id, Some(parent)));
            let shard = DynamoShard {
                stream: "s".into(),
                shard: id.into(),
                parent: parent.map(str::to_owned),
                position: Position::After("1".into()),
                children: Some(
                    children.split('+').filter(|one| !one.is_empty()).map(str::to_owned).collect(),
                ),
            };
            (id.to_owned(), shard)
        };
        let ended: BTreeMap<String, DynamoShard> = ended.split_whitespace().map(shard).collect();
        let mut finished = names(finished);
        finished.extend(ended.keys().cloned());
        let parents = ended.values().filter_map(|shard| Some((shard.shard.clone(), shard.parent.clone()?)));
        Known { active: names(active), finished, parents: parents.collect(), ended }
    }

    fn new(shards: &str, known: &Known, gone: &str) -> String {
        let listed = listed(shards);
        let new = newcomers(&listed, known, &names(gone));
        new.iter().map(|shard| shard.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn joined(names: &BTreeSet<String>) -> String {
        names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn children_wait_for_their_parents_over_several_generations() {
        let shards = "A B<A C<A D<B E<D";
        assert_eq!(new(shards, &known("", "", ""), ""), "A");
        assert_eq!(new(shards, &known("A", "", ""), ""), "");
        assert_eq!(new(shards, &known("", "A", ""), ""), "B C");
        assert_eq!(new(shards, &known("C", "A B", ""), ""), "D");
        assert_eq!(new(shards, &known("C D", "A B", ""), ""), "");
        // The listing lags behind: a sibling that is told later is as new as the first one was.
        assert_eq!(new("A B<A F<A", &known("B", "A", ""), ""), "F");
    }

    #[test]
    fn what_was_there_before_a_job_that_began_now_is_not_read_and_what_comes_beside_it_is() {
        let shards = "A B<A C<A D<B";
        let ids = |shards: Vec<&Shard>| shards.into_iter().map(|shard| shard.id.clone()).collect::<Vec<_>>();
        let listed_ = listed(shards);
        let (last, others) = last(&listed_);
        assert_eq!((ids(last), ids(others)), (vec!["C".into(), "D".into()], vec!["A".into(), "B".into()]));
        assert_eq!(children(&listed_, "A"), ["B", "C"]);
        let began = known("C D", "", "");
        assert_eq!(new(shards, &began, ""), "");
        assert_eq!(
            missing(&listed("A<Z B<A C<A D<B"), &began),
            names(""),
            "of what was passed over nothing is asked"
        );
        // A child of B that was not listed then.
        assert_eq!(new("A B<A C<A D<B E<B", &began, ""), "E");
    }

    #[test]
    fn a_parent_that_is_not_listed_is_asked_for_and_only_one_that_is_gone_is_left_out() {
        let nothing = known("", "", "");
        assert_eq!(missing(&listed("C<B D<C"), &nothing), names("B"));
        assert_eq!(new("C<B D<C", &nothing, ""), "");
        assert_eq!(new("C<B D<C", &nothing, "B"), "C");
        assert_eq!(new("B C<B D<C", &nothing, ""), "B", "it is there, and read first");
        // One that is read, and not listed any more, is no gap.
        assert_eq!(missing(&listed("C<B D<C"), &known("B", "", "")), names(""));
        assert_eq!(new("C<B D<C", &known("B", "", ""), ""), "");
        assert_eq!(new("C<B D<C", &known("", "B", ""), ""), "C");
    }

    #[test]
    fn what_a_shard_went_on_from_is_known_also_where_a_list_lacks_it() {
        let mut began = known("D", "", "");
        began.parents.insert("D".into(), "B".into());
        // B was passed over, and so was what it goes on from, as far as a list says so.
        assert_eq!(new("A B<A D<B", &began, ""), "");
        assert_eq!(missing(&listed("A D<B"), &began), names(""));
        assert_eq!(new("A D<B E<B", &began, ""), "A E", "what A is nobody can tell");
        // It is told where the snapshot has it.
        let began = known("D", "", "A>B B<A>D");
        assert_eq!(new("A D<B", &began, ""), "");
        assert_eq!(joined(&forgotten(&listed("A D<B"), &began, &names(""))), "", "A is listed");
        assert_eq!(joined(&forgotten(&listed("D<B"), &began, &names(""))), "A B");
    }

    #[test]
    fn a_shard_that_no_list_has_is_read_when_nothing_is_read_that_it_may_go_on_from() {
        let taken = |shards: &str, known: &Known, there: &str| {
            let mut listed = listed(shards);
            let waits = take_unlisted(&mut listed, known, &names(""), names(there));
            let new = newcomers(&listed, known, &names(""));
            (new.iter().map(|shard| shard.id.clone()).collect::<Vec<_>>().join(" "), joined(&waits))
        };
        let both = |new: &str, waits: &str| (new.to_owned(), waits.to_owned());
        assert_eq!(taken("A D<B", &known("A", "", ""), "B"), both("", "B"));
        assert_eq!(taken("A D<B", &known("", "", ""), "B"), both("A", "B"));
        assert_eq!(taken("D<B", &known("", "", ""), "B"), both("B", ""));
        assert_eq!(taken("D<B", &known("", "A", ""), "B"), both("B", ""));
        assert_eq!(taken("D<B", &known("C", "", "A>B+C"), "B"), both("B", ""), "A named it");
    }

    #[test]
    fn a_child_that_its_parent_named_and_that_is_not_listed_is_missed() {
        let ended = known("", "", "A>B+C");
        assert_eq!(missing(&listed("A B<A"), &ended), names("C"));
        assert_eq!(missing(&listed(""), &ended), names("B C"));
        assert_eq!(missing(&listed(""), &known("B", "", "A>B C<A>")), names(""));
    }

    #[test]
    fn a_shard_is_forgotten_when_nothing_can_name_it_any_more() {
        let gone = |listed_: &str, known: &Known, gone: &str| {
            joined(&forgotten(&listed(listed_), known, &names(gone)))
        };
        assert_eq!(gone("A", &known("B", "", "A>B"), ""), "", "it is listed still");
        assert_eq!(gone("", &known("B", "A", ""), ""), "", "its end is not in the snapshot");
        assert_eq!(gone("B<A", &known("B", "", "A>B"), ""), "A");
        assert_eq!(gone("", &known("", "", "A>B"), ""), "", "nobody knows what became of B");
        assert_eq!(gone("", &known("", "", "A>B"), "B"), "A");
        assert_eq!(gone("", &known("", "", "A>"), ""), "A", "nothing goes on from it");
        // All generations at once, and none before its parent.
        assert_eq!(gone("", &known("D", "", "A>B+C B<A>D C<A>"), ""), "A B C");
        assert_eq!(gone("A", &known("D", "", "A>B+C B<A>D C<A>"), ""), "");
    }

    #[test]
    fn a_listing_that_makes_no_sense_ends_nothing_and_asks_for_ever_for_nothing() {
        let circle = listed("A<B B<A C<B");
        let known = known("C", "", "");
        assert_eq!(passed(&circle, &known), BTreeSet::from(["A", "B"]));
        assert!(newcomers(&circle, &known, &names("")).is_empty());
    }
}
