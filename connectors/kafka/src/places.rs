//! The partitions that a prepared transaction wrote to, and what each holds of it.

use crate::committable::KafkaCommittable;
use crate::control::cluster::Cluster;
use crate::control::fault::Fault;
use crate::control::producers::{ActiveProducer, Producers};

/// A partition that a prepared transaction wrote to.
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) holds: Holds,
}

/// What a partition holds of a prepared transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It is open here, by this producer.
    Open(ActiveProducer),
    /// It is not open here: it was ended.
    Ended,
    /// The partition was deleted, and what it held with it.
    Deleted,
}

impl Holds {
    /// An operator can abort a transaction in one partition, by offset, while its coordinator goes on to say that
    /// it is open.
    fn of(ours: &KafkaCommittable, producers: Producers) -> Self {
        let Producers::Known(producers) = producers else { return Self::Deleted };
        let mut producers = producers.into_iter();
        let open = producers.find(|producer| {
            producer.producer_id == ours.producer_id
                && producer.producer_epoch == i32::from(ours.producer_epoch)
                && producer.open_since.is_some()
        });
        open.map_or(Self::Ended, Self::Open)
    }
}

/// Asks each partition of a prepared transaction what it holds of it.
pub(crate) async fn look_at_places<'a>(
    cluster: &Cluster,
    ours: &'a KafkaCommittable,
) -> Result<Vec<Place<'a>>, Fault> {
    let places: Vec<_> = ours.places().collect();
    let known = cluster.producers(&places).await?;
    let looks = places.into_iter().zip(known).map(|((topic, partition), producers)| {
        let holds = Holds::of(ours, producers);
        Place { topic, partition, holds }
    });
    Ok(looks.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_holds_it_open_only_for_the_same_producer_and_producer_epoch() {
        let ours = KafkaCommittable::example();
        let active = |producer_id, producer_epoch, open_since| ActiveProducer {
            producer_id,
            producer_epoch,
            coordinator_epoch: -1,
            open_since,
        };
        let holds = |producers: &[ActiveProducer]| Holds::of(&ours, Producers::Known(producers.to_vec()));
        let open = active(7, 3, Some(12));
        assert_eq!(holds(&[active(1, 0, None), open.clone()]), Holds::Open(open));
        assert_eq!(holds(&[active(7, 3, None)]), Holds::Ended, "aborted there");
        assert_eq!(holds(&[active(7, 4, Some(12))]), Holds::Ended, "a later one");
        assert_eq!(holds(&[active(8, 3, Some(12))]), Holds::Ended, "somebody else's");
        assert_eq!(holds(&[]), Holds::Ended);
        assert_eq!(Holds::of(&ours, Producers::Gone), Holds::Deleted);
    }
}
