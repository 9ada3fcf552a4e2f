//! What a cluster can be asked to be.

/// How to start [`Kafka`](crate::Kafka); by default one broker with a plain listener and the settings of
/// Kafka 4.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    pub(super) brokers: usize,
    pub(super) secured: bool,
    pub(super) proxy: Option<String>,
    pub(super) features: Vec<(String, u16)>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) java: String,
    pub(super) in_memory: bool,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: 1,
            secured: false,
            proxy: None,
            features: Vec::new(),
            settings: Vec::new(),
            in_memory: false,
            // Starts quickly on a small machine. Whoever measures chooses otherwise.
            java: "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1".to_owned(),
        }
    }
}

impl KafkaOptions {
    /// The number of brokers. With three, topics and the transaction log can have three replicas, and one
    /// broker may fail.
    #[must_use]
    pub fn with_brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
        self
    }

    /// `transaction.version`: 2 is the default of Kafka 4, 1 what an upgraded cluster may still have.
    #[must_use]
    pub fn with_transaction_version(mut self, version: u16) -> Self {
        self.features.push(("transaction.version".to_owned(), version));
        self
    }

    /// Also listeners with TLS: alone, with the client's certificate, and with SASL.
    #[must_use]
    pub fn with_secured_listener(mut self) -> Self {
        self.secured = true;
        self
    }

    /// Also a plain listener of the first broker that tells its clients to come to `address`: a proxy that
    /// the test runs, and that passes on what it wants to [`Kafka::behind_proxy`](crate::Kafka::behind_proxy).
    #[must_use]
    pub fn with_proxy(mut self, address: impl Into<String>) -> Self {
        self.proxy = Some(address.into());
        self
    }

    /// A setting of the brokers, such as `transaction.max.timeout.ms`.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Keeps the brokers' data in memory. A broker that is stopped or killed has lost it.
    #[must_use]
    pub fn with_data_in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// The options of the Java machine, instead of those that start quickly.
    #[must_use]
    pub fn with_java(mut self, options: &str) -> Self {
        options.clone_into(&mut self.java);
        self
    }
}
