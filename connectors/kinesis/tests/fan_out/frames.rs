//! Events as they go over the wire: `vnd.amazon.eventstream`.

use aws_sdk_kinesis::primitives::event_stream::{Header, HeaderValue, Message};
use aws_smithy_eventstream::frame::write_message_to;
use hyper::body::Bytes;
use serde_json::Value;

/// An event of this name.
pub(crate) fn event(name: &str, said: &Value) -> Bytes {
    frame("event", ":event-type", name, said)
}

/// An error that comes as an event.
pub(crate) fn exception(name: &str) -> Bytes {
    frame("exception", ":exception-type", name, &serde_json::json!({ "message": "as it was told to" }))
}

fn frame(kind: &str, header: &'static str, name: &str, said: &Value) -> Bytes {
    let text = |text: &str| HeaderValue::String(text.to_owned().into());
    let message = Message::new(said.to_string().into_bytes())
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(header, text(name)))
        .add_header(Header::new(":content-type", text("application/x-amz-json-1.1")));
    let mut frame = Vec::new();
    write_message_to(&message, &mut frame).unwrap();
    frame.into()
}
