//! Lines of a table of the page.

use super::item::SIZES;
use super::meter::Cost;

/// What is measured of items of each size.
pub(crate) async fn by_size<T>(measure: impl AsyncFn(usize) -> T) -> [T; SIZES.len()] {
    let [small, middle, large] = SIZES;
    [measure(small).await, measure(middle).await, measure(large).await]
}

/// The first lines of a table by size.
pub(crate) fn head(what: &str) -> Vec<String> {
    vec![format!("| {what} | requests | 100 B | 1 KB | 4 KB |"), "|---|---|---|---|---|".to_owned()]
}

/// A line by size, each for so many items together.
pub(crate) fn line(what: &str, items: u32, costs: [Cost; SIZES.len()]) -> String {
    assert!(costs.iter().all(|cost| cost.requests == costs[0].requests), "{what}: {costs:?}");
    let [small, middle, large] = costs.map(|cost| {
        assert!(cost.read == 0.0 || cost.write == 0.0, "{what}: it reads and writes: {cost:?}");
        units((cost.read + cost.write) / f64::from(items), cost.refused)
    });
    format!("| {what} | {} | {small} | {middle} | {large} |", requests(costs[0].requests, items))
}

/// Units, and what is not said.
pub(crate) fn units(said: f64, refused: u32) -> String {
    match (said == 0.0, refused) {
        (_, 0) => said.to_string(),
        (true, _) => "?".to_owned(),
        (false, _) => format!("{said} + ?"),
    }
}

fn requests(requests: u32, items: u32) -> String {
    if requests.is_multiple_of(items) {
        (requests / items).to_string()
    } else if items.is_multiple_of(requests) {
        format!("1 for {}", items / requests)
    } else {
        format!("{requests} for {items}")
    }
}
