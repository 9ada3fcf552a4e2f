//! Rows that are suddenly large: an answer is bounded, by asking for fewer of them.

use tidelock::{ErrorKind, Retry};

use super::*;

const LARGE: usize = 400_000;
const ANSWER_BYTES_MAX: u64 = 3_000_000;

fn rows(numbers: std::ops::Range<u64>, bytes: usize) -> impl Iterator<Item = bare::NewRow> {
    numbers.map(move |number| (numbered(number), vec![("f:q".to_owned(), vec![b'x'; bytes])]))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn large_rows_come_in_small_answers() {
    let place = Place::shared(&[]).await;
    let mut bare = place.bare();
    bare.put(&place.table, rows(0..600, 10), 1);
    // A few at once, as a request is bounded, too.
    for first in (600..640).step_by(10) {
        bare.put(&place.table, rows(first..first + 10, LARGE), 1);
    }
    bare.put(&place.table, rows(640..2_000, 10), 1);
    let scan = place.scan(|config| {
        config.batch_bytes = 1_000_000;
        config.hbase.answer_bytes_max = ANSWER_BYTES_MAX;
    });
    let scan = scan.await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let (mut read, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let batch = next(&mut reader).await;
        if batch.is_empty() {
            break;
        }
        let bytes: usize = batch.iter().flat_map(|row| row.cells.values()).map(|cell| cell.value.len()).sum();
        assert!(bytes <= ANSWER_BYTES_MAX as usize, "{bytes}");
        assert!(reader.heap_bytes() >= bytes as u64, "the host is told how much it is");
        sizes.push(batch.len());
        read.extend(keys(&batch));
    }
    assert_eq!(read, (0..2_000).map(numbered).collect::<Vec<_>>());
    assert_eq!(sizes[..2], [64, 256], "{sizes:?}");
    assert!(
        sizes.contains(&2) && *sizes.iter().max().unwrap() > 256,
        "few of the large ones, and then more: {sizes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_that_is_larger_than_an_answer_may_be_halts_with_what_to_do() {
    let place = Place::shared(&[]).await;
    place.bare().put(&place.table, rows(0..3, 10), 1);
    place.bare().put(&place.table, rows(3..4, 2 * LARGE), 1);
    let scan = place.scan(|config| config.hbase.answer_bytes_max = LARGE as u64).await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = Vec::new();
    let error = loop {
        match timeout(PATIENCE, reader.next()).await.expect("an answer") {
            Ok(Some(batch)) => read.extend(keys(&batch.records)),
            Ok(None) => panic!("an end that is none"),
            Err(error) => break error,
        }
    };
    assert_eq!(read, (0..3).map(numbered).collect::<Vec<_>>(), "those before it are read");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error}");
    assert!(error.to_string().contains("answer_bytes_max"), "{error}");
}
