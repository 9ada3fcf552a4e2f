//! What a server, its gateways and its tables can be asked to be.

use std::time::Duration;

/// How to start an [`HbaseServer`](crate::HbaseServer); by default with one gateway of the usual kind.
#[derive(Debug, Clone, Default)]
pub struct HbaseOptions {
    pub(super) settings: Vec<(String, String)>,
    pub(super) java: Option<String>,
    pub(super) in_memory: bool,
    pub(super) gateway: GatewayOptions,
}

impl HbaseOptions {
    /// A setting of the server, such as `hbase.regionserver.handler.count`.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// The options of the Java machine of the server, instead of those that start quickly.
    #[must_use]
    pub fn with_java(mut self, options: &str) -> Self {
        self.java = Some(options.to_owned());
        self
    }

    /// Keeps the data in memory. A server that is stopped or killed has lost it.
    #[must_use]
    pub fn with_data_in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// What its own gateway is to be.
    #[must_use]
    pub fn with_gateway(mut self, gateway: GatewayOptions) -> Self {
        self.gateway = gateway;
        self
    }
}

/// How to start a [`Gateway`](crate::Gateway); by default its protocol is binary and without frames.
#[derive(Debug, Clone, Default)]
pub struct GatewayOptions {
    pub(super) settings: Vec<(String, String)>,
    pub(super) java: Option<String>,
    pub(super) framed: bool,
    pub(super) compact: bool,
}

impl GatewayOptions {
    /// Each message in a frame that begins with its length.
    #[must_use]
    pub fn with_frames(mut self) -> Self {
        self.framed = true;
        self
    }

    /// The compact protocol instead of the binary one.
    #[must_use]
    pub fn with_compact_protocol(mut self) -> Self {
        self.compact = true;
        self
    }

    /// How long a connection may be idle, or wait for the rest of a request, before the gateway closes it; a minute by default.
    #[must_use]
    pub fn with_idle_max(self, idle: Duration) -> Self {
        self.with_setting("hbase.thrift.server.socket.read.timeout", idle.as_millis())
    }

    /// A setting of the gateway or of the client in it, such as `hbase.client.operation.timeout`.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// The options of its Java machine, instead of those that start quickly.
    #[must_use]
    pub fn with_java(mut self, options: &str) -> Self {
        self.java = Some(options.to_owned());
        self
    }
}

/// A column family, with the defaults of HBase: one version of a cell, for ever.
#[derive(Debug, Clone)]
pub struct FamilyOptions {
    name: String,
    attributes: Vec<(&'static str, String)>,
}

impl FamilyOptions {
    /// A family of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), attributes: Vec::new() }
    }

    /// `VERSIONS`: how many versions of a cell are kept.
    #[must_use]
    pub fn with_versions(self, versions: u32) -> Self {
        self.with("VERSIONS", versions)
    }

    /// `TTL`, in whole seconds: older cells are gone.
    #[must_use]
    pub fn with_time_to_live(self, age: Duration) -> Self {
        self.with("TTL", age.as_secs())
    }

    /// `KEEP_DELETED_CELLS`: a delete stays after a major compaction, with what it hides.
    #[must_use]
    pub fn with_deleted_cells_kept(self) -> Self {
        self.with("KEEP_DELETED_CELLS", "TRUE")
    }

    /// `NEW_VERSION_BEHAVIOR`: a delete hides only what came before it.
    #[must_use]
    pub fn with_new_version_behavior(self) -> Self {
        self.with("NEW_VERSION_BEHAVIOR", true)
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// As the image's operator reads it.
    pub(super) fn text(&self) -> String {
        let attributes = self.attributes.iter().map(|(name, value)| format!(",{name}={value}"));
        self.name.clone() + &attributes.collect::<String>()
    }
}
