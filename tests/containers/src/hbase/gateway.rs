//! One Thrift 1 gateway, to be bounced apart from its server.

use testcontainers::ImageExt;
use tidelock_processes::Port;

use super::{FILE_PATH, GatewayOptions, settings, wire};
use crate::Result;
use crate::container::Container;
use crate::ready::until;

/// A running gateway; dropped, it is gone.
#[derive(Debug)]
pub struct Gateway {
    container: Container,
    port: Port,
    options: GatewayOptions,
}

impl Gateway {
    /// Starts the gateway of the server whose `ZooKeeper` is at this port, and does not wait.
    pub(super) async fn launch(zookeeper: u16, options: GatewayOptions) -> Result<Self> {
        let port = Port::reserve();
        let file = settings::of_gateway(&port, zookeeper, &options);
        let java = options.java.clone().unwrap_or_default();
        let container = Container::start("hbase", |image| {
            let image = image.with_cmd(["gateway"]).with_env_var("JAVA_OPTIONS", java);
            image.with_copy_to(FILE_PATH, file.into_bytes())
        });
        Ok(Self { container: container.await?, port, options })
    }

    /// Waits until it answers for its server.
    pub(super) async fn wait(&self) -> Result<()> {
        let address = &self.port.address();
        until(&self.container, "a gateway of HBase", || wire::ask(address, &self.options)).await
    }

    /// The number of its process outside of its container.
    pub(super) async fn process(&self) -> Result<u32> {
        self.container.first_process().await
    }

    /// As `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn kill(&self) -> Result<()> {
        self.container.kill().await
    }

    /// Starts it again at the same address, and waits until it serves.
    ///
    /// # Errors
    /// Where it is not ready in time; with the end of its log.
    pub async fn start(&self) -> Result<()> {
        self.container.start_again().await?;
        self.wait().await
    }

    /// Freezes it: its connections stay open and nothing is answered.
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
