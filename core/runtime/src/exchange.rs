//! How records reach the worker that owns their key.
//!
//! A route operator splits each batch by target, and an exchange carries every part whole. The parts
//! are made before timely counts them, so that watermarks can go to all workers: an exchange must not
//! change how many records there are. Where a lane went to all workers before, it comes from all of them
//! now, and its marks wait for the slowest: see [`Meeting`].

use std::io::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result};
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Stamp;
use timely::progress::operate::FrontierInterest;

use crate::batch::{Batch, Millis};
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
        let seat = graph.inner.seat;
        if seat.workers == 1 {
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
                        batch.sender = seat.worker;
                        let (records, _) = batch.records.parts();
                        let proven = proof.as_mut().map_or(Ok(()), |proof| prove(records, proof));
                        match proven.and_then(|()| split(batch, seat.workers as usize, &mut worker_of)) {
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
        let stop = std::sync::Arc::clone(&graph.inner.shared.stop);
        let uid = after.clone();
        let mut meeting =
            Meeting::new(seat.with_all_others().map(|sender| (sender.worker, origins.lanes(sender))));
        builder.build(move |_| {
            move |_| {
                let mut output = output.activate();
                input.for_each(|capability, batch| {
                    let mut batch = std::mem::take(batch);
                    if batch.target == UNREADABLE {
                        stop.fail(Some(uid.clone()), unreadable::<R>());
                        return;
                    }
                    batch.credit.settle(&budget, batch.sender);
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

/// The target of a batch that could not be read: no worker has this number.
const UNREADABLE: u32 = u32::MAX;

fn unreadable<R>() -> Error {
    let why = "records of another process cannot be read: do all of them run the same build?";
    Error::new(ErrorKind::Config, "receive", why)
        .with("type", std::any::type_name::<R>())
        .with("likely", "another build, or a type whose `Deserialize` does not mirror its `Serialize`")
}

/// The form between processes: postcard. A batch that leaves the process counts in its budget until it has arrived.
impl<R: Exchanged> ContainerBytes for Batch<R> {
    fn from_bytes(bytes: Bytes) -> Self {
        // What fails here is told by the operator that takes the batch: this has nobody to tell.
        decode(&bytes).unwrap_or_else(|| Self { target: UNREADABLE, ..Self::default() })
    }

    fn length_in_bytes(&self) -> usize {
        encode(self).len().next_multiple_of(ALIGNMENT)
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let mut bytes = encode(self);
        bytes[..FARE].copy_from_slice(&self.credit.depart().to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        writer.write_all(&bytes).expect("invariant: the buffer has the length that was asked for");
    }
}

/// A batch begins with what it counts at its sender, in so many bytes: known only when it goes.
const FARE: usize = size_of::<u64>();

/// With nothing behind the fare where a record cannot be written: that cannot be read.
fn encode<R: Serialize>(batch: &Batch<R>) -> Vec<u8> {
    let (records, times) = batch.records.parts();
    let content = (records, times, &batch.marks, batch.target, batch.sender);
    postcard::to_extend(&content, vec![0; FARE]).unwrap_or_else(|_| vec![0; FARE])
}

fn decode<R: Exchanged>(bytes: &[u8]) -> Option<Batch<R>> {
    let (fare, content) = bytes.split_first_chunk::<FARE>()?;
    let read = postcard::take_from_bytes::<(Vec<R>, Vec<Millis>, _, _, _)>(content);
    let ((records, times, marks, target, sender), padding) = read.ok()?;
    let is_whole = padding.len() < ALIGNMENT && padding.iter().all(|byte| *byte == 0);
    let fits = times.is_empty() || times.len() == records.len();
    let credit = Credit::foreign(bytes.len() as u64, u64::from_le_bytes(*fare));
    (is_whole && fits).then(|| Batch { records: Records::new(records, times), marks, target, sender, credit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Lane, Mark};
    use crate::budget::Budget;
    use crate::transit::Transit;

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
        let bytes = written(&batch);
        assert_eq!(bytes.len(), batch.length_in_bytes());
        let again: Batch<String> = read(bytes);
        assert_eq!(again.records.parts(), batch.records.parts());
        assert_eq!((again.marks, again.target, again.sender), (batch.marks, 2, 1));
    }

    fn written<R: Exchanged>(batch: &Batch<R>) -> Vec<u8> {
        let mut bytes = Vec::new();
        batch.into_bytes(&mut bytes);
        bytes
    }

    fn read<R: Exchanged>(bytes: Vec<u8>) -> Batch<R> {
        let mut buffer = timely::bytes::arc::BytesMut::from(bytes).freeze();
        Batch::from_bytes(buffer.extract_to(buffer.len()))
    }

    /// Between here and there are queues without a bound, and a network of any speed.
    #[test]
    fn a_batch_counts_where_it_comes_from_until_it_has_arrived() {
        let [here, there] = [0, 1].map(|_| Budget::new(1_000, Some(Transit::new(2, 1))));
        for round in 1..4 {
            let records = Records::from(vec!["a".repeat(50)]);
            let mut batch = Batch { records, target: 1, credit: here.take(700), ..Batch::default() };
            let bytes = written(&batch);
            assert_eq!(here.in_flight(), 1_400, "what is written and what is dropped next");
            batch.credit = Credit::default();
            drop(batch);
            assert_eq!((here.in_flight(), there.in_flight()), (700, 0), "it is on its way");
            let mut batch: Batch<String> = read(bytes);
            assert_eq!(there.in_flight(), 0, "nobody has taken it");
            batch.credit.settle(&there, batch.sender);
            assert!((50..100).contains(&there.in_flight()), "what it takes here is its size here");
            assert_eq!(here.in_flight(), 700, "nobody has said so");
            for (process, in_all) in there.arrived_here().collect::<Vec<_>>() {
                assert_eq!((process, in_all), if process == 0 { (0, 700 * round) } else { (1, 0) });
            }
            // The same word twice, and an older one, change nothing.
            for in_all in [700 * round, 700 * round, 700] {
                here.arrived_at(1, in_all);
            }
            assert_eq!(here.in_flight(), 0);
            drop(batch);
            assert_eq!(there.in_flight(), 0);
        }
    }

    #[test]
    fn what_is_not_a_whole_batch_is_told_and_not_taken() {
        let batch = Batch { records: Records::from(vec![7_u64, 8]), target: 1, ..Batch::default() };
        let bytes = written(&batch);
        assert_eq!(read::<u64>(bytes.clone()).records.parts().0, [7, 8]);
        // Of a type that needs more, or less, of the bytes; and one that could not be written at all.
        assert_eq!(read::<(u64, u64)>(bytes.clone()).target, UNREADABLE);
        assert_eq!(read::<()>(bytes.clone()).target, UNREADABLE);
        assert_eq!(read::<u64>(vec![0; FARE]).target, UNREADABLE);
        assert_eq!(read::<u64>([bytes, vec![0; ALIGNMENT]].concat()).target, UNREADABLE);
        assert_eq!(unreadable::<u64>().kind(), ErrorKind::Config);
    }
}
