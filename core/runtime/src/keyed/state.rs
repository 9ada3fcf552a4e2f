//! The state of one key, as a user's function sees it.

use std::ops::{Deref, DerefMut};

/// The state of one key: nothing, until a function puts something there, and nothing again once it is
/// set to `None`. It derefs to `Option<S>`; looking at it is free, getting at it mutably makes the next
/// checkpoint write it.
#[derive(Debug)]
pub struct State<S> {
    value: Option<S>,
    changed: bool,
}

impl<S> State<S> {
    pub(crate) fn new(value: Option<S>) -> Self {
        Self { value, changed: false }
    }

    pub(crate) fn into_parts(self) -> (Option<S>, bool) {
        (self.value, self.changed)
    }
}

impl<S> Deref for State<S> {
    type Target = Option<S>;

    fn deref(&self) -> &Option<S> {
        &self.value
    }
}

impl<S> DerefMut for State<S> {
    fn deref_mut(&mut self) -> &mut Option<S> {
        self.changed = true;
        &mut self.value
    }
}
