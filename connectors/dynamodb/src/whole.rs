//! Whether all that a writer was given is known to be in the table.

use tidelock::{Error, ErrorKind, Result};

/// What a writer that writes at once remembers between two calls.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    /// A call failed, or was dropped, and what was sent may arrive or not.
    is_broken: bool,
}

impl Whole {
    /// A call begins. Until it [ends](Whole::end), nothing is known of what it sent.
    ///
    /// # Errors
    /// As [`Whole::check`].
    pub(crate) fn begin(&mut self, table: &str) -> Result<()> {
        self.check(table)?;
        self.is_broken = true;
        Ok(())
    }

    /// All of the call has arrived, or its end is waited for by the next one.
    pub(crate) fn end(&mut self) {
        self.is_broken = false;
    }

    /// Whether everything has arrived.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where a call before did not end well.
    pub(crate) fn check(&self, table: &str) -> Result<()> {
        if self.is_broken {
            let why = "an earlier call of this writer failed: not everything of the epoch is known to be in the table";
            return Err(Error::new(ErrorKind::Conflict, "write items", why).with("table", table));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_call_that_failed_or_was_dropped_nothing_is_said_to_have_arrived() {
        let mut whole = Whole::default();
        whole.begin("t").expect("nothing was sent");
        whole.end();
        whole.check("t").expect("it has arrived");
        whole.begin("t").expect("all is well");
        for _ in 0..2 {
            assert_eq!(whole.check("t").expect_err("unknown").kind(), ErrorKind::Conflict);
            assert!(whole.begin("t").is_err());
        }
    }
}
