//! A simulated world in which a job is crashed, paused, delayed and replayed at every crash point.
