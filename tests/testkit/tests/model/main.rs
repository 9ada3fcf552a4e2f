//! The model: every interleaving of the real protocol machine in small scopes.
//!
//! ```text
//! cargo test --release -p tidelock-testkit --test model -- --nocapture
//! TIDELOCK_MODEL=large cargo test --release -p tidelock-testkit --test model -- --nocapture
//! ```
//!
//! Around the machines stand a log whose requests are applied late, lost, or answered wrongly, targets
//! that end a transaction by its name whatever it holds, attempts that crash or are paused at
//! every step, and writers that use names again. The properties speak only of what the outside world
//! sees: each record visible once, none lost or torn when the job says that it ended, and from every state a
//! path to that end. Every mutant of the machine, and every broken rule of the world, is found.
//!
//! A build without optimisation explores the smallest scopes alone.

mod attempt;
mod log;
mod marks;
mod mutants;
mod perform;
mod scope;
mod scopes;
mod search;
mod target;
mod world;

use marks::Mark;
use scope::Scope;
use search::{Found, explore};

/// How much is explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    Small,
    Normal,
    Large,
}

fn size() -> Size {
    let asked = std::env::var("TIDELOCK_MODEL").unwrap_or_default();
    match asked.as_str() {
        "small" => Size::Small,
        "normal" => Size::Normal,
        "large" => Size::Large,
        _ if std::env::var_os("TIDELOCK_SOAK").is_some() => Size::Large,
        _ if cfg!(debug_assertions) => Size::Small,
        _ => Size::Normal,
    }
}

fn print(scope: &Scope, found: &Found) {
    println!(
        "{:<44} {:>9} states {:>10} steps  depth {:>3}  {:>6.1} s",
        scope.name,
        found.states,
        found.transitions,
        found.depth,
        found.took.as_secs_f64()
    );
}

/// Explores a scope in which all must be right, and which must come to all of `marks`. Nothing where less
/// than `from` is to be explored.
fn holds(from: Size, scope: &Scope, marks: &[Mark]) {
    if size() < from {
        return;
    }
    let found = explore(scope);
    print(scope, &found);
    if let Some((wrong, trace)) = &found.wrong {
        let steps: Vec<_> = trace.iter().map(|step| format!("  {step:?}\n")).collect();
        assert!(found.wrong.is_none(), "{}: {wrong:?} after\n{}", scope.name, steps.concat());
    }
    for mark in marks {
        assert!(found.marks.times(*mark) > 0, "{}: never came to {mark:?}", scope.name);
    }
    let counted: Vec<_> = marks.iter().map(|mark| format!("{mark:?} {}", found.marks.times(*mark))).collect();
    println!("    {}", counted.join(", "));
}
