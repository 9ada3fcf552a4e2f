//! Apache HBase: one process that is `ZooKeeper`, master and region server, and Thrift 1 gateways that are processes of their own.

mod cell;
mod gateway;
mod operator;
mod options;
mod settings;
mod wire;

use testcontainers::ImageExt;
use testcontainers::core::Mount;
use tidelock_processes::Port;
use tokio::sync::OnceCell;

pub use cell::{Cell, CellKind};
pub use gateway::Gateway;
pub use options::{FamilyOptions, GatewayOptions, HbaseOptions};

use crate::Result;
use crate::container::Container;
use crate::ready::until;
use operator::Question;

/// Where the settings are, as the image's programs expect.
const FILE_PATH: &str = "/etc/tidelock/hbase-site.xml";

/// Where the data is, as the image's settings say.
const DATA_PATH: &str = "/tmp/tidelock";

/// A running server with a gateway; dropped, it is gone with everything that it stored.
#[derive(Debug)]
pub struct HbaseServer {
    gateway: Gateway,
    container: Container,
    ports: Ports,
}

/// Where the parts of a server listen.
#[derive(Debug)]
struct Ports {
    zookeeper: Port,
    master: Port,
    regions: Port,
    operator: Port,
}

impl Ports {
    fn reserve() -> Self {
        Self {
            zookeeper: Port::reserve(),
            master: Port::reserve(),
            regions: Port::reserve(),
            operator: Port::reserve(),
        }
    }
}

impl HbaseServer {
    /// Starts a server with its gateway, and waits until both serve.
    ///
    /// # Errors
    /// Where no engine answers, the image is missing, or one of them is not ready in time; with the end of its log.
    pub async fn start(options: HbaseOptions) -> Result<Self> {
        let ports = Ports::reserve();
        let file = settings::of_server(&ports, &options.settings);
        let java = options.java.unwrap_or_default();
        let container = Container::start("hbase", |image| {
            let image = image.with_cmd(["server"]).with_env_var("JAVA_OPTIONS", java);
            let image = image.with_copy_to(FILE_PATH, file.into_bytes());
            if options.in_memory { image.with_mount(Mount::tmpfs_mount(DATA_PATH)) } else { image }
        });
        let container = container.await?;
        // Its Java machine starts meanwhile.
        let gateway = Gateway::launch(ports.zookeeper.number(), options.gateway).await?;
        let server = Self { gateway, container, ports };
        server.wait().await?;
        server.gateway.wait().await?;
        Ok(server)
    }

    /// One server with the default options, shared by all tests of the process that ask for it. Each keeps to
    /// [`fresh_table`](Self::fresh_table)s of its own, and lets the server and its gateway run.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<HbaseServer> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(HbaseOptions::default())).await
    }

    /// The operator listens when the server serves.
    async fn wait(&self) -> Result<()> {
        let address = &self.ports.operator.address();
        let question = &Question::new("tables");
        until(&self.container, "HBase", || async move { operator::ask(address, question).await.map(drop) })
            .await
    }

    async fn ask(&self, question: Question) -> Result<String> {
        operator::ask(&self.ports.operator.address(), &question).await
    }

    /// The address of its gateway, as `host:port`.
    #[must_use]
    pub fn gateway(&self) -> String {
        self.gateway.address()
    }

    /// The number of the gateway's process, to ask the machine what it takes.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn gateway_process(&self) -> Result<u32> {
        self.gateway.process().await
    }

    /// Where clients without a gateway find the server, as `host:port` of its `ZooKeeper`.
    #[must_use]
    pub fn zookeeper(&self) -> String {
        self.ports.zookeeper.address()
    }

    /// Starts one more gateway to this server, and waits until it serves. It may not outlive the server.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn another_gateway(&self, options: GatewayOptions) -> Result<Gateway> {
        let gateway = Gateway::launch(self.ports.zookeeper.number(), options).await?;
        gateway.wait().await?;
        Ok(gateway)
    }

    /// Makes an empty table with these families, and gives its name.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn fresh_table(&self, families: &[FamilyOptions]) -> Result<String> {
        let name = format!("test_{:016x}", rand::random::<u64>());
        self.create_table(&name, families, &[]).await?;
        Ok(name)
    }

    /// Makes a table with a region that begins at each of these keys, beside the first.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn create_table(
        &self,
        name: &str,
        families: &[FamilyOptions],
        split_keys: &[&[u8]],
    ) -> Result<()> {
        let question = families
            .iter()
            .fold(Question::of("create", name), |question, family| question.with("family", &family.text()));
        let question = split_keys.iter().fold(question, |question, key| question.with_bytes("split", key));
        self.ask(question).await.map(drop)
    }

    /// Deletes a table.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn drop_table(&self, table: &str) -> Result<()> {
        self.ask(Question::of("drop", table)).await.map(drop)
    }

    /// The names of all tables that are no part of HBase itself.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let names = self.ask(Question::new("tables")).await?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Writes what a table has in memory to files.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn flush(&self, table: &str) -> Result<()> {
        self.ask(Question::of("flush", table)).await.map(drop)
    }

    /// Compacts all files of a table into one for each store, which forgets what may be forgotten. What is only in memory is no
    /// part of it.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn major_compact(&self, table: &str) -> Result<()> {
        self.ask(Question::of("compact", table)).await.map(drop)
    }

    /// Splits the region that has this key into two, of which the second begins with it.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn split(&self, table: &str, key: &[u8]) -> Result<()> {
        self.ask(Question::of("split", table).with_bytes("key", key)).await.map(drop)
    }

    /// Closes each region of a table and opens it again, which to its clients and scanners is a move: there is only one server
    /// to move to.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn move_regions(&self, table: &str) -> Result<()> {
        self.ask(Question::of("reopen", table)).await.map(drop)
    }

    /// The keys at which the regions of a table begin.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn regions(&self, table: &str) -> Result<Vec<Vec<u8>>> {
        self.ask(Question::of("regions", table)).await?.lines().map(operator::bytes).collect()
    }

    /// Writes a value as another client of HBase would: where there is no timestamp, the server gives its own.
    ///
    /// # Errors
    /// Where the server refuses; with its message.
    pub async fn put(
        &self,
        table: &str,
        row: &[u8],
        column: (&str, &[u8]),
        value: &[u8],
        timestamp: Option<i64>,
    ) -> Result<()> {
        let question = Question::of("put", table).with_bytes("row", row).with("family", column.0);
        let question = question.with_bytes("qualifier", column.1).with_bytes("value", value);
        let question = match timestamp {
            Some(timestamp) => question.with("timestamp", &timestamp.to_string()),
            None => question,
        };
        self.ask(question).await.map(drop)
    }

    /// All versions that a reader of the table sees.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn cells(&self, table: &str) -> Result<Vec<Cell>> {
        self.ask(Question::of("cells", table)).await?.lines().map(Cell::read).collect()
    }

    /// All that the table has, also what no reader sees, and the deletes.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn raw_cells(&self, table: &str) -> Result<Vec<Cell>> {
        self.ask(Question::of("cells", table).with("raw", "")).await?.lines().map(Cell::read).collect()
    }

    /// Ends the server with SIGKILL, master and regions, and waits until it is gone. Gateways stay.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn kill_server(&self) -> Result<()> {
        self.container.kill().await
    }

    /// Starts it again on the data that it had, and waits until it serves.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_server(&self) -> Result<()> {
        self.container.start_again().await?;
        self.wait().await
    }

    /// Freezes the server: its connections stay open and nothing is answered. It survives two minutes of that.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn pause_server(&self) -> Result<()> {
        self.container.pause().await
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn unpause_server(&self) -> Result<()> {
        self.container.unpause().await
    }

    /// [`Gateway::kill`] of its own gateway.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn kill_gateway(&self) -> Result<()> {
        self.gateway.kill().await
    }

    /// [`Gateway::start`] of its own gateway.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_gateway(&self) -> Result<()> {
        self.gateway.start().await
    }

    /// [`Gateway::pause`] of its own gateway.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn pause_gateway(&self) -> Result<()> {
        self.gateway.pause().await
    }

    /// [`Gateway::unpause`] of its own gateway.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn unpause_gateway(&self) -> Result<()> {
        self.gateway.unpause().await
    }
}
