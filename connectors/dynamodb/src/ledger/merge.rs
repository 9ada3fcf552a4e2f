//! Two changes of one item as one: a transaction takes one action for an item.
//!
//! The result does to every item what the two did one after the other, whatever the item is. Where no such change is known the two stay what
//! they are, in different chunks: a number that is added to a text, for instance, is for DynamoDB to refuse.

use super::add::added;
use crate::change::{Change, ItemUpdate};
use crate::item::Item;
use crate::value::Value;

/// An update that is made of several has so many attributes at most: DynamoDB bounds the length of an expression, and its operators.
const ATTRIBUTES_MAX: usize = 100;

/// Lets the earlier change do what both do.
///
/// # Errors
/// The later change, where there is no such change; then the earlier one is as it was.
pub(super) fn merge(earlier: &mut Change, later: Change) -> Result<(), Change> {
    let update = match later {
        Change::Put(_) | Change::Delete(_) => {
            *earlier = later;
            return Ok(());
        }
        Change::Update(update) => update,
    };
    let merged = match earlier {
        Change::Put(item) => return update_put(item, update).map_err(Change::Update),
        Change::Update(earlier) => updated_twice(earlier, &update).map(Change::Update),
        Change::Delete(_) => updated_after_delete(&update).map(Change::Put),
    };
    match merged {
        Some(merged) => *earlier = merged,
        None => return Err(Change::Update(update)),
    }
    Ok(())
}

/// Whether an update makes an item where there is none. One that only takes attributes away is not known to.
fn makes_item(update: &ItemUpdate) -> bool {
    !update.set.is_empty() || !update.add.is_empty()
}

fn update_put(item: &mut Item, update: ItemUpdate) -> Result<(), ItemUpdate> {
    let sum = |(name, more): (&String, &Value)| match item.get(name) {
        Some(value) => Some((name.clone(), added(value, more)?)),
        None => Some((name.clone(), more.clone())),
    };
    let Some(sums) = update.add.iter().map(sum).collect::<Option<Item>>() else { return Err(update) };
    item.retain(|name, _| !update.remove.contains(name));
    item.extend(update.set);
    item.extend(sums);
    Ok(())
}

fn updated_after_delete(update: &ItemUpdate) -> Option<Item> {
    let all = || [&update.key, &update.set, &update.add].into_iter().flatten();
    makes_item(update).then(|| all().map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn updated_twice(earlier: &ItemUpdate, later: &ItemUpdate) -> Option<ItemUpdate> {
    let mut merged = earlier.clone();
    for (name, value) in &later.set {
        merged.remove.remove(name);
        merged.add.remove(name);
        merged.set.insert(name.clone(), value.clone());
    }
    for name in &later.remove {
        merged.set.remove(name);
        merged.add.remove(name);
        merged.remove.insert(name.clone());
    }
    for (name, more) in &later.add {
        if let Some(value) = merged.set.get_mut(name) {
            *value = added(value, more)?;
        } else if merged.remove.remove(name) {
            // What is gone begins with nothing.
            merged.set.insert(name.clone(), more.clone());
        } else if let Some(value) = merged.add.get_mut(name) {
            *value = added(value, more)?;
        } else {
            merged.add.insert(name.clone(), more.clone());
        }
    }
    let attributes = merged.set.len() + merged.remove.len() + merged.add.len();
    let makes_the_same = makes_item(&merged) || !makes_item(earlier) && !makes_item(later);
    (attributes <= ATTRIBUTES_MAX && makes_the_same).then_some(merged)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::ledger::model::{Model, random_change, schema};

    /// What two changes do to an item, one after the other and as one, is compared for items that are there or not, as DynamoDB may have it.
    #[test]
    fn two_changes_as_one_do_what_they_did_one_after_the_other() {
        let mut rng = StdRng::seed_from_u64(tidelock_processes::seed("merged changes"));
        let mut merged_count = 0;
        for _ in 0..20_000 {
            let (before, earlier, later) = (
                random_change(&mut rng, 1).change,
                random_change(&mut rng, 1).change,
                random_change(&mut rng, 1).change,
            );
            let mut merged = earlier.clone();
            match merge(&mut merged, later.clone()) {
                Err(back) => {
                    assert_eq!((back, merged), (later, earlier), "nothing was changed");
                    continue;
                }
                Ok(()) => merged_count += 1,
            }
            for (is_there, removing_makes_items) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let mut in_order = Model::new(removing_makes_items);
                if is_there {
                    in_order.apply(&before);
                }
                let mut as_one = in_order.clone();
                in_order.apply(&earlier);
                in_order.apply(&later);
                as_one.apply(&merged);
                assert_eq!(
                    plain(&as_one),
                    plain(&in_order),
                    "{before:?}, {is_there}: {earlier:?}, {later:?}: {merged:?}"
                );
            }
        }
        assert!(merged_count > 15_000, "most changes are merged: {merged_count}");
    }

    /// The key of an item may be written in the form of either change.
    fn plain(model: &Model) -> Vec<Item> {
        let schema = schema();
        let plain = |(key, item): (&crate::key::Key, &Item)| {
            let mut item = item.clone();
            item.extend(key.to_item(&schema));
            item
        };
        model.items.iter().map(plain).collect()
    }

    #[test]
    fn counters_become_one_addition_and_what_dynamodb_must_refuse_stays_apart() {
        let key = || Item::from([("pk".to_owned(), Value::from("a")), ("sk".to_owned(), Value::from(1))]);
        let add = |more: Value| Change::Update(ItemUpdate::of(key()).add("n", more));
        let mut counter = add(1.into());
        for _ in 0..99 {
            merge(&mut counter, add(1.into())).expect("a sum");
        }
        assert_eq!(counter, add(100.into()));
        assert!(merge(&mut counter, add(Value::Ss(["a".to_owned()].into()))).is_err());
        let mut text = Change::Update(ItemUpdate::of(key()).set("n", "text"));
        assert!(merge(&mut text, add(1.into())).is_err());
        let mut nines = add(Value::N("9".repeat(38)));
        assert!(merge(&mut nines, add(Value::N("0.1".into()))).is_err());
    }

    #[test]
    fn an_update_of_many_does_not_outgrow_an_expression() {
        let key = || Item::from([("pk".to_owned(), Value::from("a")), ("sk".to_owned(), Value::from(1))]);
        let set = |at: usize| Change::Update(ItemUpdate::of(key()).set(format!("a{at}"), 1));
        let mut update = set(0);
        let merged = (1..ATTRIBUTES_MAX + 10).take_while(|at| merge(&mut update, set(*at)).is_ok()).count();
        assert_eq!(merged, ATTRIBUTES_MAX - 1);
    }
}
