//! Values: what a sink writes is what is read back.
//!
//! A format or a client library makes something of every value: NaN becomes null, a timestamp of 0 the time of
//! now, an empty text a missing one. Nobody is told. So extremes of every type that the sink's record can hold are
//! written, one in an epoch, committed, and read back as a stranger reads them: equal, or the record was refused
//! by name, with [`ErrorKind::Data`], and nothing of it is visible. Of each kind that the record can hold at least
//! one value must be taken.

use tidelock::{
    CommitPermit, Epoch, ErrorKind, Generation, JobId, Pending, Position, Retry, Sink, SinkAttempt,
    SinkWriter, Stored, Uid, WriterId,
};

use crate::check::{CheckFailure, Checked, Verdict, ensure, must, patient};
use crate::harness::{Value, ValuesHarness};

/// Hands the name of every check of values to another macro: the one list from which tests and tables are
/// made.
#[doc(hidden)]
#[macro_export]
macro_rules! __values_checks {
    ($then:path, $($with:tt)*) => {
        $then! {
            $($with)*;
            floats_are_what_was_written(floats)
            integers_are_what_was_written(integers)
            texts_are_what_was_written(texts)
            bytes_are_what_was_written(bytes)
            missing_values_are_what_was_written(missing_values)
            timestamps_are_what_was_written(timestamps)
        }
    };
}

__values_checks!(by_name, ValuesHarness);

/// **Promise**: a float is read back as the same float, or refused.
/// **How**: NaN, infinities, both zeros, the smallest and largest of each width, and some that need every digit.
/// **Passes when** each has the same bits, and NaN is NaN. Needs the facet *floats*: a record that holds floats.
pub async fn floats_are_what_was_written<H: ValuesHarness>(harness: &H) -> Checked {
    const DOUBLES: [f64; 14] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        f64::EPSILON,
        0.1,
        31.245270191439438,
        9_007_199_254_740_993.0,
        1e23,
    ];
    const SINGLES: [f32; 9] =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN, f32::MAX, f32::MIN_POSITIVE, 1e-45, 0.1];
    let values = DOUBLES.map(Value::F64).into_iter().chain(SINGLES.map(Value::F32));
    all(harness, "floats", values.collect()).await
}

/// **Promise**: an integer is read back as the same integer, or refused.
/// **How**: the smallest and largest of each width, zero, and those around the largest that a float can hold.
/// **Passes when** each is equal. Needs the facet *integers*: a record that holds integers.
pub async fn integers_are_what_was_written<H: ValuesHarness>(harness: &H) -> Checked {
    let mut values: Vec<_> =
        [i64::MIN, -1, 0, i64::from(i32::MIN), (1 << 53) + 1, i64::MAX].map(Value::I64).into();
    values.extend([0, u64::from(u32::MAX), (1 << 53) + 1, (1 << 63) + 1, u64::MAX].map(Value::U64));
    all(harness, "integers", values).await
}

/// **Promise**: a text is read back as the same text, or refused.
/// **How**: empty, blank, with NUL, quotes, separators, line ends of each kind, a byte order mark, combining and wide
/// characters, what means something elsewhere (`NaN`, `null`, `NA`), and one of 100,000 bytes.
/// **Passes when** each is equal. Needs the facet *texts*: a record that holds texts.
pub async fn texts_are_what_was_written<H: ValuesHarness>(harness: &H) -> Checked {
    let texts = [
        "",
        " ",
        " a ",
        "\0",
        "a\0b",
        "\"",
        "\"\"",
        "a\"b",
        ",",
        ";",
        "\t",
        "\n",
        "a\nb",
        "\r",
        "\r\n",
        "\\",
        "\\n",
        "'",
        "\u{feff}",
        "é",
        "e\u{301}",
        "𝄞",
        "\u{10FFFF}",
        "\u{2028}",
        "\u{7f}",
        "\u{1b}",
        "NaN",
        "null",
        "NA",
        "true",
        "0x10",
        "007",
        "1e5",
        "#",
    ];
    let long = "äb".repeat(33_334);
    let values = texts.iter().copied().chain([&*long]).map(|text| Value::Text(text.into()));
    all(harness, "texts", values.collect()).await
}

/// **Promise**: bytes are read back as the same bytes, or refused.
/// **How**: none, NUL, every byte, what is not UTF-8, and 100,000 of them.
/// **Passes when** each is equal. Needs the facet *bytes*: a record that holds bytes.
pub async fn bytes_are_what_was_written<H: ValuesHarness>(harness: &H) -> Checked {
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let values = [vec![], vec![0], vec![0xFF, 0xFE], b"\xC3\x28".to_vec(), vec![b'x'; 100_000], every];
    all(harness, "bytes", values.map(Value::Bytes).into()).await
}

/// **Promise**: a missing value is read back as missing, and one that is there as there.
/// **How**: nothing, an empty text, and what is like a missing value, under an `Option`.
/// **Passes when** each is equal. Needs the facet *missing_values*: a record that holds optional values.
pub async fn missing_values_are_what_was_written<H: ValuesHarness>(harness: &H) -> Checked {
    let texts = [None, Some(""), Some("null"), Some("None"), Some(" ")];
    let mut values: Vec<_> = texts.map(|text| Value::MaybeText(text.map(Into::into))).into();
    values.extend([None, Some(vec![]), Some(vec![0])].map(Value::MaybeBytes));
    all(harness, "missing_values", values).await
}

/// **Promise**: a timestamp is read back as the same timestamp, or refused.
/// **How**: 0, -1, 1, the years 1 and 9999, the smallest and the largest, in milliseconds since 1970.
/// **Passes when** each is equal. Needs the facet *timestamps*: a record that has a timestamp.
pub async fn timestamps_are_what_was_written<H: ValuesHarness>(harness: &H) -> Checked {
    const YEAR_1: i64 = -62_135_596_800_000;
    const YEAR_9999: i64 = 253_402_300_799_000;
    let values = [1, 0, -1, YEAR_1, YEAR_9999, i64::MIN, i64::MAX].map(Value::Timestamp);
    all(harness, "timestamps", values.into()).await
}

/// Writes each value that the sink's record can hold, and looks after each.
async fn all<H: ValuesHarness>(harness: &H, facet: &'static str, values: Vec<Value>) -> Checked {
    let mut expected = Vec::new();
    let mut held = false;
    for (number, value) in (1..).zip(values) {
        let Some(record) = harness.record(&value) else { continue };
        held = true;
        // A fresh attempt for each: a writer that refused a record is not used again.
        if write(harness, number, &value, record).await? {
            expected.push(value.clone());
        }
        let mut seen = must("reading what is visible", harness.visible()).await?;
        let missing = expected.iter().find(|value| match seen.iter().position(|seen| seen.is_same(value)) {
            Some(at) => {
                seen.swap_remove(at);
                false
            }
            None => true,
        });
        ensure(missing.is_none() && seen.is_empty(), || {
            format!(
                "after {} was written a reader sees something else: missing {missing:?}, too many {seen:?}",
                value.shown()
            )
        })?;
    }
    // A sink that refuses whatever comes changes nothing, and is of no use.
    ensure(!held || !expected.is_empty(), || "every one of these values was refused".to_owned())?;
    Ok(if held { Verdict::Passed } else { Verdict::Skipped(facet) })
}

/// Writes and commits a record in an epoch of its own: to a target that keeps the version of what it applied, a second
/// one of the same epoch is the first one again. `false` where it was refused by name.
async fn write<H: ValuesHarness>(
    harness: &H,
    number: u64,
    value: &Value,
    record: <H::Sink as Sink>::Record,
) -> Checked<bool> {
    let uid = Uid::new(format!("out{}", harness.uid_suffix()));
    let uid = uid.map_err(|error| CheckFailure::because("the harness's suffix makes no uid", error))?;
    let job = JobId::new("conform").expect("invariant: the suite's names are legal");
    let attempt = SinkAttempt {
        job,
        uid: uid.clone(),
        number: Position(number),
        generation: Generation(1),
        chunks: None,
    };
    // An epoch number never means two things.
    let (epoch, writer) = (Epoch(number), WriterId(0));
    let sink = must("making a sink", harness.sink()).await?;
    must("recover", sink.recover(&attempt, &[])).await?;
    let mut open = must("open", sink.open(&attempt, writer)).await?;
    let mut records = vec![record];
    let written = match patient("write", open.write(&mut records)).await? {
        Ok(()) => patient("prepare", open.prepare(epoch)).await?,
        Err(error) => Err(error),
    };
    let prepared = match written {
        Ok(prepared) => prepared,
        Err(error) if error.kind() == ErrorKind::Data && error.retry() == Retry::Halt => return Ok(false),
        Err(error) => {
            let message =
                format!("{} must be written, or refused with kind Data and retry Halt", value.shown());
            return Err(CheckFailure::because(message, error));
        }
    };
    let mut pending = Vec::new();
    for one in prepared {
        let stored = Stored::encode(&one.committable).and_then(|stored| stored.decode());
        let committable =
            stored.map_err(|error| CheckFailure::because("a committable cannot be stored", error))?;
        pending.push(Pending { epoch, attempt: attempt.number, writer, committable });
    }
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid, epoch);
    must("commit", sink.commit(&permit, pending)).await?;
    Ok(true)
}
