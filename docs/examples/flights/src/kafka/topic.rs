//! How a topic is named on the command line.

use std::fmt;
use std::str::FromStr;

use tidelock_kafka::Properties;

/// A topic and the brokers that have it: `HOST:PORT/TOPIC`, more brokers with commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    brokers: String,
    name: String,
}

impl Topic {
    /// The settings that reach its brokers.
    pub(super) fn properties(&self) -> Properties {
        Properties::new(&self.brokers)
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('/') {
            Some((brokers, name)) if !brokers.is_empty() && !name.is_empty() => {
                Ok(Self { brokers: brokers.to_owned(), name: name.to_owned() })
            }
            _ => Err("expected HOST:PORT/TOPIC, more brokers with commas".to_owned()),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.brokers, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_topic_are_told_apart() {
        let topic: Topic = "b1:9092,b2:9092/flights-2013".parse().unwrap();
        assert_eq!((topic.brokers(), topic.name()), ("b1:9092,b2:9092", "flights-2013"));
        assert_eq!(topic.to_string(), "b1:9092,b2:9092/flights-2013");
        for wrong in ["flights", "/flights", "b1:9092/", ""] {
            assert!(wrong.parse::<Topic>().unwrap_err().contains("HOST:PORT/TOPIC"), "{wrong}");
        }
    }
}
