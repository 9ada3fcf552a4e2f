//! How records reach the worker that owns their key.
//!
//! A route operator splits each batch by target, and an exchange carries every part whole. The parts
//! are made before timely counts them, so that watermarks can go to all workers: an exchange must not
//! change how many records there are. Where a lane went to all workers before, it comes from all of them
//! now, and its marks wait for the slowest: see [`Meeting`].

use std::io::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::Result;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Stamp;
use timely::progress::operate::FrontierInterest;

use crate::batch::Batch;
use crate::budget::Credit;
use crate::meeting::Meeting;
use crate::proof::{self, Proof};
use crate::records::Records;
use crate::stop::Place;
use crate::stream::Stream;

/// A record that may cross workers, and machines.
pub trait Exchanged: Serialize + DeserializeOwned + Send + 'static {}

impl<R: Serialize + DeserializeOwned + Send + 'static> Exchanged for R {}

impl<R: Exchanged> Stream<'_, R> {
    /// Brings every record to the worker that `worker_of` says. The order of the records between two
    /// workers is kept.
    pub(crate) fn exchange(
        self,
        operator: &'static str,
        mut worker_of: impl FnMut(&R) -> Result<u32> + 'static,
    ) -> Self {
        let Self { inner, graph, origins, after } = self;
        let (worker, workers) = (graph.inner.worker, graph.inner.workers);
        if workers == 1 {
            return Self { inner, graph, origins, after };
        }
        let mut builder = OperatorBuilder::new(operator.to_owned(), graph.scope());
        let mut input = builder.new_input(inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, routed) = builder.new_output();
        let place = Place { uid: after.clone(), operator };
        let stop = std::sync::Arc::clone(&graph.inner.shared.stop);
        // Between the workers of one process records move as they are.
        let mut proof = graph.inner.shared.post.as_ref().map(|_| Proof::new());
        builder.build(move |_| {
            move |_| {
                let mut output = output.activate();
                place.run(|| {
                    input.for_each(|capability, batch| {
                        let mut batch = std::mem::take(batch);
                        batch.sender = worker;
                        let (records, _) = batch.records.parts();
                        let proven = proof.as_mut().map_or(Ok(()), |proof| prove(records, proof));
                        match proven.and_then(|()| split(batch, workers as usize, &mut worker_of)) {
                            Ok(parts) => {
                                for mut part in parts {
                                    output.give(&capability, &mut part);
                                }
                            }
                            Err(error) => {
                                stop.fail(Some(place.uid.clone()), error.with("operator", operator))
                            }
                        }
                    });
                });
            }
        });
        let mut builder = OperatorBuilder::new("arrive".to_owned(), graph.scope());
        let pact = DistributorPact(|_| ByTarget);
        let mut input = builder.new_input(routed, pact);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, inner) = builder.new_output();
        let budget = std::sync::Arc::clone(&graph.inner.shared.budget);
        let mut meeting = Meeting::new((0..workers).map(|sender| (sender, origins.lanes(sender, workers))));
        builder.build(move |_| {
            move |_| {
                let mut output = output.activate();
                input.for_each(|capability, batch| {
                    let mut batch = std::mem::take(batch);
                    batch.credit.settle(&budget);
                    meeting.pass(batch.sender, &mut batch.marks);
                    output.give(&capability, &mut batch);
                });
            }
        });
        Self { inner, graph, origins: origins.exchanged(), after }
    }
}

/// Proves that records survive the way to another process, as far as their turn has come.
fn prove<R: Exchanged>(records: &[R], proof: &mut Proof) -> Result<()> {
    records.iter().filter(|_| proof.is_due()).try_for_each(proof::of_record)
}

/// One part for each worker. Marks go to all, after the records.
fn split<R>(
    batch: Batch<R>,
    workers: usize,
    worker_of: &mut impl FnMut(&R) -> Result<u32>,
) -> Result<Vec<Batch<R>>> {
    let Batch { records, marks, sender, mut credit, .. } = batch;
    let mut whole = records.len();
    let capacity = whole / workers + whole / 8;
    let mut parts: Vec<Batch<R>> = (0..workers)
        .map(|target| Batch {
            records: Records::with_capacity(capacity),
            marks: marks.clone(),
            target: u32::try_from(target).unwrap_or(u32::MAX),
            sender,
            ..Batch::default()
        })
        .collect();
    for (record, time) in records {
        let part = &mut parts[worker_of(&record)? as usize];
        part.records.push(record, time);
    }
    for part in &mut parts {
        part.credit = credit.split(part.records.len(), whole);
        whole -= part.records.len();
    }
    Ok(parts)
}

/// Sends each batch whole to its target.
struct ByTarget;

impl<R: 'static> Distributor<Batch<R>> for ByTarget {
    fn partition<T: Clone, P: Push<Message<T, Batch<R>>>>(
        &mut self,
        batch: &mut Batch<R>,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let target = batch.target as usize;
        Message::push_at(batch, stamp.clone(), &mut pushers[target]);
    }

    fn flush<T: Clone, P: Push<Message<T, Batch<R>>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// Timely wants its messages in units of this many bytes.
const ALIGNMENT: usize = 8;

/// The form between processes: postcard. A batch that left the process no longer counts in its budget.
impl<R: Exchanged> ContainerBytes for Batch<R> {
    fn from_bytes(bytes: Bytes) -> Self {
        let decoded = postcard::take_from_bytes(&bytes);
        let ((records, times, marks, target, sender), _) =
            decoded.expect("invariant: all processes run the same build, and the connection is checked");
        let credit = Credit::foreign(bytes.len() as u64);
        Self { records: Records::new(records, times), marks, target, sender, credit }
    }

    fn length_in_bytes(&self) -> usize {
        encode(self).len().next_multiple_of(ALIGNMENT)
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let mut bytes = encode(self);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        writer.write_all(&bytes).expect("invariant: the buffer has the length that was asked for");
    }
}

fn encode<R: Serialize>(batch: &Batch<R>) -> Vec<u8> {
    let (records, times) = batch.records.parts();
    postcard::to_allocvec(&(records, times, &batch.marks, batch.target, batch.sender))
        .expect("invariant: a record that can be read can be written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Lane, Mark};

    #[test]
    fn parts_keep_order_and_times_and_every_worker_gets_the_marks() {
        let times = (0..10).map(|time| time * 100).collect();
        let records = Records::new((0..10_u32).collect(), times);
        let marks = vec![(Lane(3), Mark::At(7))];
        let batch = Batch { records, marks: marks.clone(), sender: 1, ..Batch::default() };
        let parts = split(batch, 3, &mut |record| Ok(record % 3)).unwrap();
        assert_eq!(parts[1].records.parts(), (&[1, 4, 7][..], &[100, 400, 700][..]));
        assert!(parts.iter().all(|part| part.marks == marks && part.sender == 1));
        assert!(parts.iter().enumerate().all(|(target, part)| part.target as usize == target));
    }

    #[test]
    fn a_batch_survives_the_way_between_processes() {
        let batch = Batch {
            records: Records::new(vec!["a".to_owned(), String::new()], vec![-5, i64::MAX]),
            marks: vec![(Lane(1), Mark::Idle)],
            target: 2,
            sender: 1,
            ..Batch::default()
        };
        let mut bytes = Vec::new();
        batch.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), batch.length_in_bytes());
        let mut buffer = timely::bytes::arc::BytesMut::from(bytes).freeze();
        let again: Batch<String> = Batch::from_bytes(buffer.extract_to(buffer.len()));
        assert_eq!(again.records.parts(), batch.records.parts());
        assert_eq!((again.marks, again.target, again.sender), (batch.marks, 2, 1));
    }
}
