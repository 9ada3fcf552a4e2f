//! The files and arguments that a broker is started with.

use super::paths::DATA_PATH;
use super::{KafkaOptions, Ports, Secured};

/// The controllers that vote, for every broker's settings.
pub(super) fn voters(ports: &[Ports]) -> String {
    let voters: Vec<String> =
        (1..).zip(ports).map(|(id, ports)| format!("{id}@{}", ports.controller.address())).collect();
    voters.join(",")
}

/// The broker's `server.properties`. The last of two equal names counts, so the options come last.
pub(super) fn file(
    id: i32,
    ports: &Ports,
    voters: &str,
    secured: Option<&Secured>,
    options: &KafkaOptions,
) -> String {
    let controller = ports.controller.address();
    let mut advertised = format!("PLAINTEXT://{}", ports.plain.address());
    if secured.is_some() {
        for (name, port) in [("SECURED", &ports.secured), ("TLS", &ports.tls), ("MUTUAL", &ports.mutual)] {
            advertised = format!("{advertised},{name}://{}", port.address());
        }
    }
    let mut listeners = format!("{advertised},CONTROLLER://{controller}");
    if let Some(proxy) = options.proxy.as_ref().filter(|_| id == 1) {
        listeners.push_str(&format!(",PROXIED://{}", ports.proxied.address()));
        advertised.push_str(&format!(",PROXIED://{proxy}"));
    }
    // As many replicas as are usual, and as many of them in sync as leave one broker to fail.
    let replicas = options.brokers.min(3);
    let in_sync = replicas.saturating_sub(1).max(1);
    let mut file = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         listeners={listeners}\n\
         advertised.listeners={advertised}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL,TLS:SSL,MUTUAL:SSL,\
         PROXIED:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.voters={voters}\n\
         log.dirs={DATA_PATH}\n\
         default.replication.factor={replicas}\n\
         min.insync.replicas={in_sync}\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor={replicas}\n\
         transaction.state.log.num.partitions=4\n\
         transaction.state.log.replication.factor={replicas}\n\
         transaction.state.log.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n"
    );
    if let Some(secured) = secured {
        file.push_str(&secured.listener_settings());
    }
    for (name, value) in &options.settings {
        file.push_str(&format!("{name}={value}\n"));
    }
    file
}

/// The arguments of the command that formats the storage of a new broker.
pub(super) fn format_arguments(
    cluster: &str,
    secured: Option<&Secured>,
    options: &KafkaOptions,
) -> Vec<String> {
    let mut arguments = vec!["--cluster-id".to_owned(), cluster.to_owned()];
    for (name, level) in &options.features {
        arguments.extend(["--feature".to_owned(), format!("{name}={level}")]);
    }
    for user in secured.map(Secured::scram_users).unwrap_or_default() {
        arguments.extend(["--add-scram".to_owned(), user]);
    }
    arguments
}
