//! What goes in, and what comes out.

use std::collections::BTreeSet;
use std::num::ParseIntError;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A flight, as far as the job needs it: some columns of `flights*.csv`, where `NA` is a missing value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Flight {
    /// The airport: EWR, JFK or LGA.
    pub(crate) origin: String,
    /// The airline's code.
    pub(crate) carrier: String,
    /// The plane's tail number.
    pub(crate) tailnum: Option<String>,
    /// Minutes; missing where the flight was cancelled.
    pub(crate) dep_delay: Option<i64>,
    /// The hour that it was scheduled for.
    pub(crate) time_hour: Timestamp,
}

/// A line of `flights*.csv` as it stands there: text that may be no flight.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    origin: String,
    carrier: String,
    tailnum: Option<String>,
    dep_delay: Option<String>,
    time_hour: String,
}

impl Line {
    /// The hour in milliseconds. Where it is damaged, one before all flights: it moves no event time on.
    pub(crate) fn time(&self) -> i64 {
        self.time_hour.parse().map_or(0, Timestamp::as_millisecond)
    }

    /// The flight, or what is wrong with the line.
    pub(crate) fn flight(&self) -> Result<Flight, String> {
        let wrong = |column: &str, value: &str, error: String| format!("{column} is {value:?}: {error}");
        let time_hour = self.time_hour.parse();
        let dep_delay = self.dep_delay.as_deref().map(|delay| {
            delay.parse().map_err(|error: ParseIntError| wrong("dep_delay", delay, error.to_string()))
        });
        Ok(Flight {
            origin: self.origin.clone(),
            carrier: self.carrier.clone(),
            tailnum: self.tailnum.clone(),
            dep_delay: dep_delay.transpose()?,
            time_hour: time_hour
                .map_err(|error: jiff::Error| wrong("time_hour", &self.time_hour, error.to_string()))?,
        })
    }
}

/// A flight with what was looked up for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Enriched {
    pub(crate) origin: String,
    pub(crate) time_hour: Timestamp,
    pub(crate) dep_delay: Option<i64>,
    /// The seats of the plane, where it is known.
    pub(crate) seats: Option<u64>,
    /// The name of the airline, where it is known.
    pub(crate) airline: Option<Arc<str>>,
}

/// What is known of one airport's hour so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Hour {
    flights: u64,
    cancelled: u64,
    dep_delay_min: i64,
    seats: u64,
    airlines: BTreeSet<Arc<str>>,
}

impl Hour {
    pub(crate) fn add(&mut self, flight: &Enriched) {
        self.flights += 1;
        self.cancelled += u64::from(flight.dep_delay.is_none());
        self.dep_delay_min += flight.dep_delay.unwrap_or(0);
        self.seats += flight.seats.unwrap_or(0);
        if let Some(airline) = &flight.airline
            && !self.airlines.contains(airline)
        {
            self.airlines.insert(Arc::clone(airline));
        }
    }

    pub(crate) fn row(&self, origin: String, window_start: Timestamp) -> Row {
        Row {
            origin,
            window_start,
            flights: self.flights,
            cancelled: self.cancelled,
            dep_delay_min: self.dep_delay_min,
            seats: self.seats,
            airlines: self.airlines.len() as u64,
        }
    }
}

impl Row {
    /// The airport.
    #[cfg(any(feature = "hbase", feature = "kafka"))]
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// When the hour begins.
    #[cfg(feature = "hbase")]
    pub(crate) fn window_start(&self) -> Timestamp {
        self.window_start
    }

    /// What was counted, by column.
    #[cfg(feature = "hbase")]
    pub(crate) fn numbers(&self) -> [(&'static str, String); 5] {
        [
            ("flights", self.flights.to_string()),
            ("cancelled", self.cancelled.to_string()),
            ("dep_delay_min", self.dep_delay_min.to_string()),
            ("seats", self.seats.to_string()),
            ("airlines", self.airlines.to_string()),
        ]
    }
}

/// A row of the result. The order of the fields is that of the columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    origin: String,
    window_start: Timestamp,
    flights: u64,
    cancelled: u64,
    dep_delay_min: i64,
    seats: u64,
    airlines: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_becomes_a_row_with_its_columns_in_order() {
        let mut hour = Hour::default();
        let flight = |dep_delay, seats, airline: &str| Enriched {
            origin: "EWR".into(),
            time_hour: "2013-01-01T10:00:00Z".parse().unwrap(),
            dep_delay,
            seats,
            airline: (!airline.is_empty()).then(|| airline.into()),
        };
        hour.add(&flight(Some(-3), Some(100), "United"));
        hour.add(&flight(None, None, "United"));
        hour.add(&flight(Some(10), Some(50), ""));
        let row = hour.row("EWR".into(), "2013-01-01T10:00:00Z".parse().unwrap());
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"origin":"EWR","window_start":"2013-01-01T10:00:00Z","flights":3,"cancelled":1,"dep_delay_min":7,"seats":150,"airlines":1}"#
        );
    }

    #[test]
    fn a_damaged_line_says_what_is_wrong_with_it() {
        let line = |dep_delay: Option<&str>, time_hour: &str| Line {
            origin: "EWR".into(),
            carrier: "UA".into(),
            tailnum: None,
            dep_delay: dep_delay.map(str::to_owned),
            time_hour: time_hour.into(),
        };
        let good = line(Some("-3"), "2013-01-01T10:00:00Z");
        assert_eq!(good.flight().unwrap().dep_delay, Some(-3));
        assert_eq!(good.time(), 1_357_034_400_000);
        assert!(line(None, "2013-01-01T10:00:00Z").flight().unwrap().dep_delay.is_none());
        assert!(line(Some("soon"), "2013-01-01T10:00:00Z").flight().unwrap_err().contains("dep_delay"));
        let damaged = line(None, "yesterday");
        assert!(damaged.flight().unwrap_err().contains("time_hour is \"yesterday\""));
        assert_eq!(damaged.time(), 0);
    }
}
