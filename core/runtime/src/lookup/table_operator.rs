//! The operator of a table on one worker: batches wait for the first load, and for nothing after it.

use std::collections::VecDeque;
use std::sync::Arc;

use tidelock::LookupTable;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use super::table::{Entries, Map, Shelf};
use crate::batch::Batch;
use crate::stop::Place;
use crate::stream::Stream;
use crate::time::Time;
use crate::wake::Waker;

/// Adds the operator to the graph.
pub(super) fn add<'s, T, R, O>(
    stream: Stream<'s, R>,
    uid: tidelock::Uid,
    shelf: Arc<Shelf<T>>,
    mut join: impl FnMut(R, &Entries<'_, T::Key, T::Value>) -> O + 'static,
) -> Stream<'s, O>
where
    T: LookupTable,
    R: 'static,
    O: 'static,
{
    let Stream { inner, graph, origins, .. } = stream;
    let mut builder = OperatorBuilder::new(format!("lookup table {uid}"), graph.scope());
    let address = builder.operator_info().address;
    let mut input = builder.new_input(inner, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut output, inner) = builder.new_output();
    let waker = Waker::new(graph.scope().worker().sync_activator_for(address.to_vec()));
    shelf.wake_when_loaded(waker.clone());
    let place = Place { uid: uid.clone(), operator: "lookup table" };
    // What came before the table. It holds the capability of its epoch: no barrier overtakes it.
    let mut early: VecDeque<(Capability<Time>, Batch<R>)> = VecDeque::new();
    builder.build(move |_| {
        move |_| {
            waker.taken();
            place.run(|| {
                let Some(map) = shelf.map() else {
                    input.for_each(|capability, batch| {
                        let batch = std::mem::take(batch);
                        early.extend(capability.retain_least(0).map(|capability| (capability, batch)));
                    });
                    return;
                };
                let mut output = output.activate();
                for (capability, batch) in early.drain(..) {
                    output.give(&capability, &mut join_all(&shelf, &map, batch, &mut join));
                }
                input.for_each(|capability, batch| {
                    let batch = std::mem::take(batch);
                    output.give(&capability, &mut join_all(&shelf, &map, batch, &mut join));
                });
            });
        }
    });
    Stream { inner, graph, origins, after: uid }
}

fn join_all<T: LookupTable, R, O>(
    shelf: &Shelf<T>,
    map: &Map<T::Key, T::Value>,
    batch: Batch<R>,
    join: &mut impl FnMut(R, &Entries<'_, T::Key, T::Value>) -> O,
) -> Batch<O> {
    let entries = Entries::new(map);
    let joined = batch.with(|records| records.map(|record| join(record, &entries)));
    entries.count(&shelf.counts);
    joined
}
