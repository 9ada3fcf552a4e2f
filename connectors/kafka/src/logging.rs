//! What librdkafka says, into `tracing`.

use rdkafka::config::RDKafkaLogLevel;

/// Passes a line on.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel as L;
    // One map configures producers and consumers, so each is given settings of the other: no trouble.
    let is_trouble = !matches!(level, L::Info | L::Notice | L::Debug) && facility != "CONFWARN";
    if is_trouble {
        tracing::warn!(target: "librdkafka", facility, "{message}");
    } else {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }
}
