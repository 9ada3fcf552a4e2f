//! Records of a key that go together, in either mode.

use tidelock_kinesis::Mode;

use super::place::{Place, attempt, commit, expected, opened, prepared, puts, write};
use super::reading::bare;

#[tokio::test(flavor = "multi_thread")]
async fn records_that_wait_together_go_together_and_are_read_one_by_one() {
    for mode in [Mode::Direct, Mode::Numbered] {
        let mut place = Place::new(mode, 2).await;
        place.config.aggregates = true;
        let sink = place.sink();
        let mut writer = opened(&sink, &attempt(1)).await;
        let all = puts(10, 0, 1_000);
        if mode == Mode::Direct {
            write(&mut writer, all.clone()).await.unwrap();
        } else {
            let listed = prepared(&mut writer, &attempt(1), 1, all.clone()).await;
            commit(&sink, 1, &listed).await.unwrap();
            // An epoch that is put again may be cut in another way.
            place.config.request_records_max = 3;
            commit(&place.sink(), 1, &listed).await.unwrap();
        }
        let bare = bare(&place.stream).await;
        assert!(bare.len() < 200, "{mode:?}: {}", bare.len());
        assert!(bare.iter().all(|record| record.data.starts_with(&[0xf3, 0x89, 0x9a, 0xc2])), "{mode:?}");
        assert_eq!(place.seen().await, expected(&all), "{mode:?}");
    }
}
