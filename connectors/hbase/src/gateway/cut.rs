//! How a call is given up whose thread waits for an answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::line::Line;

/// Stands between whoever waits for a call and the thread that does it.
#[derive(Debug, Default)]
pub(super) struct Cut(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// No connection is in use.
    #[default]
    Idle,
    /// This one; on a call, to this gateway.
    On(Arc<Line>, Option<usize>),
    /// The call was given up.
    Over,
}

impl Cut {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is in use from now on: for a call to this gateway, or to be opened. `false`: all of it was given up, and it must not be
    /// used.
    pub(super) fn on(&self, line: &Arc<Line>, gateway: Option<usize>) -> bool {
        let mut state = self.state();
        if matches!(*state, State::Over) {
            return false;
        }
        *state = State::On(Arc::clone(line), gateway);
        true
    }

    /// The connection is not in use any more. `false`: it was cut, and is of no use to anybody.
    pub(super) fn off(&self) -> bool {
        let mut state = self.state();
        if matches!(*state, State::Over) {
            return false;
        }
        *state = State::Idle;
        true
    }

    /// The call that is waited for, and its gateway.
    pub(super) fn call(&self) -> Option<(Arc<Line>, usize)> {
        match &*self.state() {
            State::On(line, Some(gateway)) => Some((Arc::clone(line), *gateway)),
            State::On(_, None) | State::Idle | State::Over => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.state(), State::Over)
    }

    /// Gives the call up: its thread ends at once, or does not begin.
    pub(super) fn cut(&self) {
        if let State::On(line, _) = std::mem::replace(&mut *self.state(), State::Over) {
            line.cut();
        }
    }

    /// Gives the call up, if it is still the one on this connection.
    pub(super) fn cut_call(&self, on: &Arc<Line>) {
        let mut state = self.state();
        if matches!(&*state, State::On(line, Some(_)) if Arc::ptr_eq(line, on)) {
            *state = State::Over;
            on.cut();
        }
    }
}

/// Gives a call up when nobody waits for it any more. One that is done does not notice.
pub(super) struct CutOnDrop(pub(super) Arc<Cut>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}
