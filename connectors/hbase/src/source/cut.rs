//! Cuts what is asked for into ranges.

use super::config::HbaseKeyRange;

/// Cuts a range where regions begin, into so many at most: neighbouring regions are one where there are more. By the regions'
/// starts alone the ranges meet, whatever is told of their ends while one of them is split or merged.
pub(super) fn at_regions(
    whole: &HbaseKeyRange,
    mut starts: Vec<Vec<u8>>,
    splits_max: usize,
) -> Vec<HbaseKeyRange> {
    starts.retain(|start| *start > whole.start && whole.is_before_stop(start));
    starts.sort_unstable();
    starts.dedup();
    let pieces = starts.len() + 1;
    let splits = pieces.min(splits_max.max(1));
    let mut ranges = Vec::with_capacity(splits);
    let mut from = whole.start.clone();
    for number in 1..splits {
        // Of the starts those that leave about as many regions in each range.
        let stop = std::mem::take(&mut starts[number * pieces / splits - 1]);
        ranges.push(HbaseKeyRange { start: std::mem::replace(&mut from, stop.clone()), stop });
    }
    ranges.push(HbaseKeyRange { start: from, stop: whole.stop.clone() });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<Vec<u8>> {
        keys.iter().map(|key| key.as_bytes().to_vec()).collect()
    }

    fn cut(start: &str, stop: &str, starts: &[&str], splits_max: usize) -> String {
        let ranges = at_regions(&HbaseKeyRange::new(start, stop), keys(starts), splits_max);
        let meet =
            ranges.windows(2).all(|pair| pair[0].stop == pair[1].start && pair[0].start < pair[0].stop);
        assert!(meet && ranges[0].start == start.as_bytes(), "{ranges:?}");
        assert_eq!(ranges[ranges.len() - 1].stop, stop.as_bytes());
        let text = |key: &Vec<u8>| String::from_utf8_lossy(key).into_owned();
        ranges.iter().map(|range| text(&range.start)).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn ranges_begin_where_regions_do_and_meet() {
        assert_eq!(cut("", "", &[""], 9), "");
        assert_eq!(cut("", "", &["m", "", "c", "m"], 9), ",c,m");
        assert_eq!(cut("c", "p", &["", "c", "d", "p", "x"], 9), "c,d");
        assert_eq!(cut("q", "r", &["", "c"], 9), "q");
        assert_eq!(cut("", "", &[], 9), "", "of no regions there is the whole");
    }

    #[test]
    fn where_there_are_more_regions_than_ranges_neighbours_are_one() {
        assert_eq!(cut("", "", &["", "b", "c", "d", "e", "f"], 3), ",c,e");
        assert_eq!(cut("", "", &["", "b", "c", "d", "e"], 2), ",c");
        assert_eq!(cut("", "", &["", "b"], 1), "");
        for splits_max in 1..12 {
            cut("", "", &["", "b", "c", "d", "e", "f", "g"], splits_max);
        }
    }
}
