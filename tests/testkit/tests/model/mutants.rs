//! Every mutant of the machine, and every broken rule of the world, is found: the proof that the
//! exploration looks at what it says.

use tidelock::protocol::Mutant;

use super::Size::{self, Normal, Small};
use super::scope::{Defect, Scope};
use super::search::explore;
use super::{scopes, size};

fn is_found(from: Size, scope: &Scope) {
    if size() < from {
        return;
    }
    let found = explore(scope);
    let what = match (&scope.mutant, &scope.defect) {
        (Some(mutant), _) => format!("{mutant:?}"),
        (None, Some(defect)) => format!("{defect:?}"),
        (None, None) => String::from("nothing"),
    };
    assert!(found.wrong.is_some(), "{what} is not found in: {}, {} states", scope.name, found.states);
    if let Some((wrong, trace)) = found.wrong {
        let seconds = found.took.as_secs_f64();
        println!(
            "{what:<22} {:>2} steps {:>7} states {seconds:>5.1} s  {wrong:?}",
            trace.len(),
            found.states
        );
    }
}

#[test]
fn every_mutant_is_found() {
    let mutants = [
        (Small, Mutant::CommitsBeforeDurable, scopes::beside()),
        (Small, Mutant::ForgetsGivenUp, scopes::failures()),
        (Small, Mutant::ListsOwnEpochAlone, scopes::beside()),
        (Normal, Mutant::ListsEpochsAbove, scopes::two_writers()),
        (Small, Mutant::ClaimListsNothing, scopes::beside()),
        (Small, Mutant::NoClaim, scopes::beside()),
        (Small, Mutant::NoRelist, scopes::pruned()),
        (Small, Mutant::UnclearIsOurs, scopes::beside()),
        (Normal, Mutant::UnclearIsForeign, scopes::lost()),
        (Normal, Mutant::NewestRequestCounts, scopes::failures_and_losses()),
        (Small, Mutant::AsksAhead, scopes::lost()),
        (Small, Mutant::CommitsWithoutLooking, scopes::thrown()),
        (Small, Mutant::PendingIsForgotten, scopes::beside()),
        (Small, Mutant::StartsBeforeConfirmed, scopes::one_after_another()),
        (Small, Mutant::CommitsUnlisted, scopes::two_writers()),
        (Small, Mutant::ReadsBeforeStartEntry, scopes::latest()),
        (Small, Mutant::SettledWhenConfirmed, scopes::names()),
        (Small, Mutant::SettledWhenDurable, scopes::names()),
    ];
    for (from, mutant, scope) in mutants {
        is_found(from, &scope.with_mutant(mutant));
    }
}

#[test]
fn every_broken_rule_of_the_world_is_found() {
    is_found(Small, &scopes::pruned().with_defect(Defect::PrunesClaims));
    is_found(Normal, &scopes::pruned_and_lost().with_defect(Defect::PrunesBelowClaims));
    is_found(Normal, &scopes::names().with_defect(Defect::NeverFresh));
    is_found(Normal, &scopes::two_writers().with_defect(Defect::NotMonotone));
}
