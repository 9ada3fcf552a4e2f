//! Which shards may be read now, decided by what is listed and what is known. No I/O.
//!
//! A shard goes on from nothing, from one that was split, or from two that were merged. Its records come after all those of all its parents.

use std::collections::{BTreeMap, BTreeSet};

use super::api::Shard;
use super::fetch::Child;
use super::shard::{End, KinesisShard};
use crate::hash_key::HashRange;

/// The shards of one stream that a job knows, by their names.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Those that are being read, or wait to be.
    pub(super) active: BTreeSet<String>,
    /// Those that were read to their end, or had nothing to read.
    pub(super) finished: BTreeSet<String>,
    /// The same as they ended.
    pub(super) ended: BTreeMap<String, KinesisShard>,
    /// What they go on from, as the snapshot says it: lists forget them.
    pub(super) parents: BTreeMap<String, Vec<String>>,
}

/// The shards that are listed, by their names.
pub(super) type Listed = BTreeMap<String, Shard>;

/// What goes on from a shard, by its name.
pub(super) type Families<'a> = BTreeMap<&'a str, Vec<Child>>;

/// What goes on from each of the shards that are listed, all at once: there may be ten thousand of them.
pub(super) fn families(listed: &Listed) -> Families<'_> {
    let mut families = Families::new();
    for shard in listed.values() {
        for parent in &shard.parents {
            let Shard { id, parents, range, .. } = shard.clone();
            families.entry(parent).or_default().push(Child { id, parents, range });
        }
    }
    families
}

impl Known {
    pub(super) fn has(&self, shard: &str) -> bool {
        self.active.contains(shard) || self.finished.contains(shard)
    }

    fn parents_of<'a>(&'a self, listed: &'a Listed, shard: &str) -> &'a [String] {
        let told = || listed.get(shard).map(|shard| &shard.parents);
        self.parents.get(shard).or_else(told).map_or(&[][..], Vec::as_slice)
    }

    /// Whether nothing after this shard is to be read.
    fn is_stopped(&self, shard: &str) -> bool {
        self.ended.get(shard).is_some_and(|shard| shard.end == Some(End::Stopped))
    }

    /// The shards that are known to go on from those that have ended.
    fn children(&self) -> impl Iterator<Item = (&KinesisShard, &Child)> {
        self.ended.values().flat_map(|ended| ended.children().iter().map(move |child| (ended, child)))
    }
}

/// Shards that were passed over: what goes on from them is known, and they are not. So it is with what was lost.
fn passed<'a>(listed: &'a Listed, known: &'a Known) -> BTreeSet<&'a str> {
    let mut passed = BTreeSet::new();
    let mut below: Vec<&str> = known.active.iter().chain(&known.finished).map(String::as_str).collect();
    while let Some(shard) = below.pop() {
        for parent in known.parents_of(listed, shard) {
            // A shard that was seen already has been followed upwards already: so it ends, whatever is listed.
            if !known.has(parent) && passed.insert(parent.as_str()) {
                below.push(parent);
            }
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
    let parents = new.flat_map(|shard| &shard.parents);
    let children = known.children().map(|(_, child)| &child.id);
    parents.chain(children).filter(|shard| is_unknown(shard)).cloned().collect()
}

/// Takes shards that can be read, and that no list has. One that was named by a shard that it goes on from is as that said. What another one goes on from
/// nobody knows, and so it waits for as long as it may be any that is read. Returns those that wait.
pub(super) fn take_unlisted(
    listed: &mut Listed,
    known: &Known,
    gone: &BTreeSet<String>,
    there: BTreeSet<String>,
) -> BTreeSet<String> {
    let mut of_nobody = BTreeSet::new();
    for id in there {
        match known.children().find(|(_, child)| child.id == id) {
            Some((_, child)) => {
                listed.insert(
                    id.clone(),
                    Shard { id, parents: child.parents.clone(), range: child.range, first: None },
                );
            }
            None => {
                of_nobody.insert(id);
            }
        }
    }
    if !known.active.is_empty() || !newcomers(listed, known, gone).is_empty() {
        return of_nobody;
    }
    let unlisted =
        |id: String| (id.clone(), Shard { id, parents: Vec::new(), range: HashRange::ALL, first: None });
    listed.extend(of_nobody.into_iter().map(unlisted));
    BTreeSet::new()
}

/// Shards that may be read now: those that go on from nothing, or from what was read, or was passed over, or is `gone`.
pub(super) fn newcomers<'a>(listed: &'a Listed, known: &Known, gone: &BTreeSet<String>) -> Vec<&'a Shard> {
    let passed = passed(listed, known);
    let is_over = |parent: &String| {
        known.finished.contains(parent) || passed.contains(parent.as_str()) || gone.contains(parent)
    };
    let may_be_read = |shard: &&Shard| {
        !known.has(&shard.id)
            && !passed.contains(shard.id.as_str())
            && shard.parents.iter().all(is_over)
            && !shard.parents.iter().any(|parent| known.is_stopped(parent))
    };
    listed.values().filter(may_be_read).collect()
}

/// Shards from which nothing goes on that is listed, and the others.
pub(super) fn last(listed: &Listed) -> (Vec<&Shard>, Vec<&Shard>) {
    let parents: BTreeSet<&str> =
        listed.values().flat_map(|shard| &shard.parents).map(String::as_str).collect();
    listed.values().partition(|shard| !parents.contains(shard.id.as_str()))
}

/// Shards of which nobody said what becomes of them: neither they nor any before or after them are given.
pub(super) fn unrelated<'a>(listed: &'a Listed, given: &BTreeSet<String>) -> Vec<&'a str> {
    let known = Known { active: given.clone(), ..Known::default() };
    let passed = passed(listed, &known);
    let is_related = |shard: &&str| {
        let (mut seen, mut above) = (BTreeSet::new(), vec![*shard]);
        while let Some(shard) = above.pop() {
            if given.contains(shard) {
                return true;
            }
            let parents = listed.get(shard).map_or(&[][..], |shard| &shard.parents);
            above.extend(parents.iter().map(String::as_str).filter(|parent| seen.insert(*parent)));
        }
        false
    };
    let others = listed.keys().map(String::as_str).filter(|shard| !passed.contains(shard));
    others.filter(|shard| !is_related(shard)).collect()
}

/// Finished shards that can never be found again: they are not listed, what goes on from them is known, was passed over or is `gone`, and so are those from
/// which they go on. In this order a shard is known for as long as another one names it. A list may lack what it has the next time: whether they are
/// there is asked before they are forgotten.
pub(super) fn forgotten(listed: &Listed, known: &Known, gone: &BTreeSet<String>) -> BTreeSet<String> {
    let passed = passed(listed, known);
    let is_over = |child: &Child| {
        known.has(&child.id) || gone.contains(&child.id) || passed.contains(child.id.as_str())
    };
    let is_settled = |ended: &&KinesisShard| {
        !listed.contains_key(&ended.shard)
            && !known.is_stopped(&ended.shard)
            && ended.children().iter().all(is_over)
    };
    let candidates: Vec<&KinesisShard> = known.ended.values().filter(is_settled).collect();
    let mut forgotten = BTreeSet::new();
    loop {
        let before = forgotten.len();
        for shard in &candidates {
            let is_kept = |parent: &String| {
                listed.contains_key(parent) || (known.has(parent) && !forgotten.contains(parent))
            };
            if !shard.parents.iter().any(is_kept) {
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
    use crate::seen::Seen;

    fn names(shards: &str) -> BTreeSet<String> {
        shards.split_whitespace().map(str::to_owned).collect()
    }

    fn parts(text: &str) -> Vec<String> {
        text.split('+').filter(|one| !one.is_empty()).map(str::to_owned).collect()
    }

    /// Shards as `A`, or as `C<A+B` where C goes on from A and B.
    fn listed(shards: &str) -> Listed {
        let shard = |text: &str| {
            let (id, parents) = text.split_once('<').unwrap_or((text, ""));
            (
                id.to_owned(),
                Shard { id: id.into(), parents: parts(parents), range: HashRange::ALL, first: None },
            )
        };
        shards.split_whitespace().map(shard).collect()
    }

    /// What is active, and what has ended, as `B<A>C+D` with parents and children, or `B<A!` where it was stopped.
    fn known(active: &str, ended: &str) -> Known {
        let shard = |text: &str| {
            let (text, is_stopped) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
            let (above, children) = text.split_once('>').unwrap_or((text, ""));
            let (id, parents) = above.split_once('<').unwrap_or((above, ""));
            let child =
                |child: String| Child { id: child, parents: vec![id.to_owned()], range: HashRange::ALL };
            let children = End::Children(parts(children).into_iter().map(child).collect());
            let shard = KinesisShard {
                stream: "s".into(),
                made_ms: 0,
                kept_ms: None,
                shard: id.into(),
                parents: parts(parents),
                range: HashRange::ALL,
                position: Position::Oldest { since_ms: 0 },
                arrival_ms: None,
                caught_up_ms: None,
                stop_ms: None,
                seen: Seen::default(),
                end: Some(if is_stopped { End::Stopped } else { children }),
            };
            (id.to_owned(), shard)
        };
        let ended: BTreeMap<String, KinesisShard> = ended.split_whitespace().map(shard).collect();
        let parents = ended.values().map(|shard| (shard.shard.clone(), shard.parents.clone())).collect();
        Known { active: names(active), finished: ended.keys().cloned().collect(), parents, ended }
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
    fn children_wait_for_all_their_parents_over_several_generations() {
        // A is split, its children are merged, and what comes of that is split again.
        let shards = "A B<A C<A D<B+C E<D F<D";
        assert_eq!(new(shards, &known("", ""), ""), "A");
        assert_eq!(new(shards, &known("A", ""), ""), "");
        assert_eq!(new(shards, &known("", "A>B+C"), ""), "B C");
        assert_eq!(new(shards, &known("C", "A>B+C B<A>D"), ""), "", "D goes on from C, too");
        assert_eq!(new(shards, &known("", "A>B+C B<A>D C<A>D"), ""), "D");
        assert_eq!(new(shards, &known("D", "A>B+C B<A>D C<A>D"), ""), "");
        assert_eq!(new(shards, &known("", "A>B+C B<A>D C<A>D D<B+C>E+F"), ""), "E F");
    }

    #[test]
    fn a_parent_that_is_not_listed_is_asked_for_and_only_one_that_is_gone_is_left_out() {
        let nothing = known("", "");
        assert_eq!(missing(&listed("C<A+B D<C"), &nothing), names("A B"));
        assert_eq!(new("C<A+B D<C", &nothing, ""), "");
        assert_eq!(new("C<A+B D<C", &nothing, "B"), "", "A is not");
        assert_eq!(new("C<A+B D<C", &nothing, "A B"), "C");
        assert_eq!(new("A C<A+B D<C", &nothing, "B"), "A", "it is there, and read first");
        // One that is read, and not listed any more, is no gap.
        assert_eq!(missing(&listed("C<B D<C"), &known("B", "")), names(""));
        assert_eq!(new("C<B D<C", &known("B", ""), ""), "");
        assert_eq!(new("C<B D<C", &known("", "B>C"), ""), "C");
    }

    #[test]
    fn what_was_there_before_a_job_that_began_now_is_not_read_and_what_comes_beside_it_is() {
        let listed_ = listed("A B<A C<A D<B+C");
        let ids = |shards: Vec<&Shard>| shards.into_iter().map(|shard| shard.id.clone()).collect::<Vec<_>>();
        let (last, others) = last(&listed_);
        assert_eq!((ids(last), ids(others)), (vec!["D".into()], ["A", "B", "C"].map(String::from).into()));
        assert_eq!(new("A B<A C<A D<B+C", &known("D", ""), ""), "");
        assert_eq!(missing(&listed("B<Z C<A D<B+C"), &known("D", "")), names(""), "they were passed over");
    }

    #[test]
    fn a_child_that_its_parent_named_and_that_is_not_listed_is_missed_and_taken_as_it_was_named() {
        let ended = known("", "A>B+C");
        assert_eq!(missing(&listed("A B<A"), &ended), names("C"));
        let mut shards = listed("A B<A");
        assert_eq!(joined(&take_unlisted(&mut shards, &ended, &names(""), names("C"))), "");
        assert_eq!(shards["C"].parents, ["A"]);
        let mut shards = listed("A D<B");
        assert_eq!(joined(&take_unlisted(&mut shards, &known("A", ""), &names(""), names("B"))), "B");
        assert_eq!(joined(&take_unlisted(&mut shards, &known("", "A>"), &names(""), names("B"))), "");
        assert!(shards["B"].parents.is_empty());
    }

    #[test]
    fn nothing_is_read_after_a_shard_that_was_stopped() {
        let shards = "A B C<A+B D<B";
        assert_eq!(new(shards, &known("", "A! B>C+D"), ""), "D");
        assert_eq!(joined(&forgotten(&listed("C<A+B"), &known("D", "A! B>C+D"), &names(""))), "");
    }

    #[test]
    fn what_has_nothing_to_do_with_what_was_given_is_found() {
        let shards = listed("A B<A C<A D<B E X Y<X");
        assert_eq!(unrelated(&shards, &names("B E")), ["C", "X", "Y"]);
        assert_eq!(unrelated(&shards, &names("A E X")), [""; 0]);
    }

    #[test]
    fn a_shard_is_forgotten_when_nothing_can_name_it_any_more() {
        let gone = |listed_: &str, known: &Known, gone: &str| {
            joined(&forgotten(&listed(listed_), known, &names(gone)))
        };
        assert_eq!(gone("A", &known("B", "A>B"), ""), "", "it is listed still");
        assert_eq!(gone("B<A", &known("B", "A>B"), ""), "A");
        assert_eq!(gone("", &known("", "A>B"), ""), "", "nobody knows what became of B");
        assert_eq!(gone("", &known("", "A>B"), "B"), "A");
        assert_eq!(gone("", &known("", "A>"), ""), "A", "nothing goes on from it");
        // All generations at once, and none before its parents.
        assert_eq!(gone("", &known("D", "A>B+C B<A>D C<A>D"), ""), "A B C");
        assert_eq!(gone("A", &known("D", "A>B+C B<A>D C<A>D"), ""), "");
        assert_eq!(gone("C<A", &known("D", "A>B+C B<A>D C<A>D"), ""), "A B");
    }

    #[test]
    fn a_listing_that_makes_no_sense_ends_nothing_and_asks_for_ever_for_nothing() {
        let circle = listed("A<B B<A C<B");
        let known = known("C", "");
        assert_eq!(passed(&circle, &known), BTreeSet::from(["A", "B"]));
        assert!(newcomers(&circle, &known, &names("")).is_empty());
        assert_eq!(unrelated(&circle, &names("")), ["A", "B", "C"]);
    }
}
