//! Apache Kafka: a cluster of brokers that are controllers, too, so that each of them may fail.

mod options;
mod paths;
mod ready;
mod secured;
mod settings;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use testcontainers::ImageExt;
use testcontainers::core::Mount;
use tidelock_processes::Port;
use tokio::sync::OnceCell;

pub use options::KafkaOptions;
pub use secured::Secured;

use crate::container::Container;
use crate::{Error, Result};

/// A running cluster; dropped, it is gone with everything that it stored.
#[derive(Debug)]
pub struct Kafka {
    brokers: Vec<Broker>,
    secured: Option<Secured>,
}

/// Where the brokers of one cluster listen, and who they are.
#[derive(Debug)]
struct Ports {
    plain: Port,
    controller: Port,
    secured: Port,
    tls: Port,
    mutual: Port,
    proxied: Port,
}

impl Ports {
    fn reserve() -> Self {
        Self {
            plain: Port::reserve(),
            controller: Port::reserve(),
            secured: Port::reserve(),
            tls: Port::reserve(),
            mutual: Port::reserve(),
            proxied: Port::reserve(),
        }
    }
}

impl Kafka {
    /// Starts a cluster and waits until every broker serves.
    ///
    /// # Errors
    /// Where no engine answers, the image is missing, or a broker is not ready in time; with the end of its
    /// log.
    pub async fn start(options: KafkaOptions) -> Result<Self> {
        let ports = (0..options.brokers).map(|_| Ports::reserve()).collect::<Vec<Ports>>();
        let secured = options.secured.then(|| Secured::new(&ports)).transpose()?;
        let cluster = cluster_id();
        let voters = settings::voters(&ports);
        let mut brokers = Vec::new();
        for (id, ports) in (1..).zip(ports) {
            let settings = settings::file(id, &ports, &voters, secured.as_ref(), &options);
            let format = settings::format_arguments(&cluster, secured.as_ref(), &options);
            let container = Container::start("kafka", |image| {
                let image = image.with_cmd(format).with_env_var("JAVA_OPTIONS", &options.java);
                let image = image.with_copy_to("/etc/tidelock/server.properties", settings.into_bytes());
                let image = if options.in_memory {
                    image.with_mount(Mount::tmpfs_mount(paths::DATA_PATH))
                } else {
                    image
                };
                match &secured {
                    Some(secured) => image
                        .with_copy_to(paths::KEYS_PATH, secured.server_keys())
                        .with_copy_to(paths::AUTHORITY_PATH, secured.authority()),
                    None => image,
                }
            });
            brokers.push(Broker { id, container: container.await?, ports });
        }
        let all: Vec<i32> = brokers.iter().map(Broker::id).collect();
        for broker in &brokers {
            ready::wait(broker, &all).await?;
        }
        Ok(Self { brokers, secured })
    }

    /// One broker with the default options, shared by all tests of the process that ask for it. They keep
    /// to topics and names of their own, and let it run.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Kafka> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(KafkaOptions::default())).await
    }

    /// The plain listeners, as `bootstrap.servers` wants them.
    #[must_use]
    pub fn brokers(&self) -> String {
        let addresses: Vec<String> = self.brokers.iter().map(|broker| broker.ports.plain.address()).collect();
        addresses.join(",")
    }

    /// The listener to which a proxy passes on what its clients send, where the options name a proxy.
    #[must_use]
    pub fn behind_proxy(&self) -> String {
        self.brokers[0].ports.proxied.address()
    }

    /// The listeners with TLS, where the options ask for them.
    #[must_use]
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// One of the brokers; the first has the id 1.
    #[must_use]
    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }

    /// The level of a feature, such as `transaction.version`, that the cluster has agreed on; 0 where it
    /// is off.
    ///
    /// # Errors
    /// Where the first broker does not answer.
    pub async fn feature_level(&self, feature: &str) -> Result<i16> {
        let address = self.brokers[0].ports.plain.address();
        let level = wire::feature_level(&address, feature).await;
        level.map_err(|error| Error::new(format!("ask Kafka for {feature}"), error))
    }
}

/// One broker of a cluster, to be bounced.
#[derive(Debug)]
pub struct Broker {
    id: i32,
    container: Container,
    ports: Ports,
}

impl Broker {
    /// Its node id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn kill(&self) -> Result<()> {
        self.container.kill().await
    }

    /// Ends it with SIGTERM and waits for its clean shutdown.
    ///
    /// # Errors
    /// Where it did not stop by itself within a minute.
    pub async fn stop(&self) -> Result<()> {
        self.container.stop().await
    }

    /// Starts it again on the data that it had, and waits until it serves.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub async fn start(&self) -> Result<()> {
        self.container.start_again().await?;
        ready::wait(self, &[self.id]).await
    }

    /// Freezes it (SIGSTOP): its connections stay open and nothing is answered.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn pause(&self) -> Result<()> {
        self.container.pause().await
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn unpause(&self) -> Result<()> {
        self.container.unpause().await
    }
}

/// Sixteen random bytes in the text form that Kafka gives its ids.
fn cluster_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    // The text is an argument of the command that formats the storage: it must not begin with a dash.
    bytes[0] &= 0x7f;
    URL_SAFE_NO_PAD.encode(bytes)
}
