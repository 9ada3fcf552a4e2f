//! One table: what librdkafka reports, and what it means to us. What brokers answer to the control
//! client is in `control/fault.rs`.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;
use tidelock::{Error, ErrorKind};

/// The kind of an error code of librdkafka.
fn kind_of(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode as C;
    match code {
        C::Authentication
        | C::SaslAuthenticationFailed
        | C::UnsupportedSASLMechanism
        | C::TopicAuthorizationFailed
        | C::GroupAuthorizationFailed
        | C::ClusterAuthorizationFailed
        | C::TransactionalIdAuthorizationFailed => ErrorKind::Auth,
        C::InvalidArgument | C::InvalidTransactionTimeout | C::UnsupportedFeature | C::InvalidConfig => {
            ErrorKind::Config
        }
        C::UnknownTopic | C::UnknownTopicOrPartition | C::UnknownPartition => ErrorKind::NotFound,
        C::MessageSizeTooLarge
        | C::InvalidRecord
        | C::InvalidMessage
        | C::InvalidMessageSize
        | C::InvalidTimestamp => ErrorKind::Data,
        C::OffsetOutOfRange | C::AutoOffsetReset => ErrorKind::Expired,
        // The producer is of no use any more. Whether data was lost is for recovery to find out, which
        // looks at what was prepared: this alone proves nothing (I7).
        C::Fenced | C::ProducerFenced | C::InvalidProducerEpoch | C::InvalidTransactionalState => {
            ErrorKind::Conflict
        }
        C::BrokerTransportFailure
        | C::AllBrokersDown
        | C::OperationTimedOut
        | C::MessageTimedOut
        | C::RequestTimedOut
        | C::NotEnoughReplicas
        | C::NotEnoughReplicasAfterAppend
        | C::CoordinatorNotAvailable
        | C::CoordinatorLoadInProgress
        | C::NotCoordinator
        | C::LeaderNotAvailable
        | C::NotLeaderForPartition => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// The error for what librdkafka reports.
pub(crate) fn kafka_error(operation: &'static str, error: KafkaError) -> Error {
    if let KafkaError::ClientConfig(refusal, _, setting, _) = &error {
        return refused_setting(operation, *refusal, setting);
    }
    let kind = match (&error, error.rdkafka_error_code()) {
        (_, Some(code)) => kind_of(code),
        (KafkaError::ClientCreation(_), None) => ErrorKind::Config,
        _ => ErrorKind::Other,
    };
    Error::new(kind, operation, error.to_string()).because(error)
}

/// librdkafka repeats the value that it refuses, also in its words for people. It may be a secret, of which nobody
/// knows where the name of its setting is mistyped: so no part of them is passed on.
fn refused_setting(operation: &'static str, refusal: RDKafkaConfRes, setting: &str) -> Error {
    let why = match refusal {
        RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "librdkafka does not know this setting",
        _ => "librdkafka refuses the value of this setting",
    };
    Error::new(ErrorKind::Config, operation, why).with("setting", setting)
}

#[cfg(test)]
mod tests {
    use tidelock::Retry;

    use super::*;

    #[test]
    fn what_a_person_must_mend_halts_and_what_may_pass_restarts() {
        let retry = |code| kafka_error("test", KafkaError::Global(code)).retry();
        assert_eq!(retry(RDKafkaErrorCode::TopicAuthorizationFailed), Retry::Halt);
        assert_eq!(retry(RDKafkaErrorCode::MessageSizeTooLarge), Retry::Halt);
        assert_eq!(retry(RDKafkaErrorCode::OffsetOutOfRange), Retry::Halt);
        assert_eq!(retry(RDKafkaErrorCode::InvalidTimestamp), Retry::Halt);
        assert_eq!(retry(RDKafkaErrorCode::AllBrokersDown), Retry::Restart);
        assert_eq!(retry(RDKafkaErrorCode::MessageTimedOut), Retry::Restart);
    }

    #[test]
    fn a_fenced_producer_alone_is_no_proof_of_loss() {
        let error = kafka_error("test", KafkaError::Global(RDKafkaErrorCode::ProducerFenced));
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Restart));
    }

    #[test]
    fn the_value_of_a_setting_that_is_refused_is_never_printed() {
        for (setting, named) in [("sasl.pasword", "does not know"), ("linger.ms", "refuses the value")] {
            let mut config = rdkafka::ClientConfig::new();
            let made = config.set(setting, "s3cret").create::<rdkafka::producer::BaseProducer>();
            let error = kafka_error("open a Kafka producer", made.err().expect("refused"));
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
            assert!(shown.contains(&format!("setting={setting}")) && shown.contains(named), "{shown}");
        }
    }
}
