//! The row of a shard, as it is written.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::lease::{LEASE, name};
use super::progress::Progress;

/// The update of a row, which must be none or ours, and have no owner. KCL's pending checkpoint, where there is one, is none of ours.
pub(super) fn fill(
    update: UpdateItemFluentBuilder,
    key: &str,
    progress: &Progress,
) -> UpdateItemFluentBuilder {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let (checkpoint, sub) = progress.checkpoint.written();
    let mut set = vec![
        (name::CHECKPOINT, text(checkpoint)),
        (name::SUB, number(sub)),
        (name::ENTITY, text(LEASE)),
        (name::SWITCHES, number(0)),
        (name::FROM, text(&progress.from)),
        (name::HASH_START, text(&progress.hash_range.0)),
        (name::HASH_END, text(&progress.hash_range.1)),
    ];
    if !progress.parents.is_empty() {
        set.push((name::PARENTS, AttributeValue::Ss(progress.parents.clone())));
    }
    if !progress.children.is_empty() {
        set.push((name::CHILDREN, AttributeValue::Ss(progress.children.clone())));
    }
    if let Some(stream) = &progress.stream {
        set.push((name::STREAM, text(stream)));
        set.push((name::SHARD, text(&progress.shard)));
    }
    let mut update = update
        .key(name::KEY, text(key))
        .condition_expression(
            "attribute_not_exists(#key) OR (#from = :from AND attribute_not_exists(#owner))",
        )
        .expression_attribute_names("#key", name::KEY)
        .expression_attribute_names("#from", name::FROM)
        .expression_attribute_names("#owner", name::OWNER)
        .expression_attribute_values(":from", text(&progress.from))
        .expression_attribute_names("#counter", name::COUNTER)
        .expression_attribute_values(":one", number(1));
    let mut sets = Vec::new();
    for (at, (name, value)) in set.into_iter().enumerate() {
        sets.push(format!("#s{at} = :s{at}"));
        update = update.expression_attribute_names(format!("#s{at}"), name);
        update = update.expression_attribute_values(format!(":s{at}"), value);
    }
    let mut removed = Vec::new();
    for (at, name) in [name::PENDING, name::PENDING_SUB, name::PENDING_STATE].into_iter().enumerate() {
        removed.push(format!("#r{at}"));
        update = update.expression_attribute_names(format!("#r{at}"), name);
    }
    // The counter moves, so that a worker which looked before takes no lease of what it saw.
    let (sets, removed) = (sets.join(", "), removed.join(", "));
    update.update_expression(format!("SET {sets} REMOVE {removed} ADD #counter :one"))
}
