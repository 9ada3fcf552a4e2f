//! The file that a server or a gateway is started with. What stands in none of ours is in the image.

use tidelock_processes::Port;

use super::{GatewayOptions, Ports};

type Settings = Vec<(String, String)>;

/// The settings of a server.
pub(super) fn of_server(ports: &Ports, asked: &Settings) -> String {
    let mut settings = vec![
        ("hbase.zookeeper.property.clientPort".to_owned(), ports.zookeeper.number().to_string()),
        ("hbase.master.port".to_owned(), ports.master.number().to_string()),
        ("hbase.regionserver.port".to_owned(), ports.regions.number().to_string()),
        ("tidelock.operator.port".to_owned(), ports.operator.number().to_string()),
    ];
    settings.extend(asked.iter().cloned());
    file(&settings)
}

/// The settings of a gateway to the server whose `ZooKeeper` is at this port.
pub(super) fn of_gateway(port: &Port, zookeeper: u16, options: &GatewayOptions) -> String {
    let mut settings = vec![
        ("hbase.zookeeper.property.clientPort".to_owned(), zookeeper.to_string()),
        ("hbase.regionserver.thrift.port".to_owned(), port.number().to_string()),
        ("hbase.regionserver.thrift.framed".to_owned(), options.framed.to_string()),
        ("hbase.regionserver.thrift.compact".to_owned(), options.compact.to_string()),
    ];
    settings.extend(options.settings.iter().cloned());
    file(&settings)
}

/// The last of two equal names counts, so what was asked for comes last.
fn file(settings: &Settings) -> String {
    let mut text = "<?xml version=\"1.0\"?>\n<configuration>\n".to_owned();
    for (name, value) in settings {
        text.push_str(&format!(
            "<property><name>{}</name><value>{}</value></property>\n",
            escaped(name),
            escaped(value)
        ));
    }
    text + "</configuration>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
