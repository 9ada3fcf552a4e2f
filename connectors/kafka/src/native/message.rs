//! One record as librdkafka holds it.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};

use rdkafka::bindings::{
    rd_kafka_header_get, rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_headers,
    rd_kafka_message_t, rd_kafka_message_timestamp, rd_kafka_timestamp_type_t,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use super::event::Event;

/// A record in librdkafka's memory, for as long as its event is held.
pub(crate) struct FetchedMessage<'a> {
    message: NonNull<rd_kafka_message_t>,
    _event: Event,
    _consumer: PhantomData<&'a ()>,
}

/// One header as it was read.
pub(crate) struct FetchedHeader<'a> {
    /// The bytes of its name, up to the first zero.
    pub(crate) name: &'a [u8],
    /// The name has a zero byte, and librdkafka tells no more of it.
    pub(crate) is_cut: bool,
    /// Its value. `None` is Kafka's null.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> FetchedMessage<'a> {
    /// The message of an event, which it keeps; the consumer must outlive both.
    pub(super) fn of<T>(
        message: NonNull<rd_kafka_message_t>,
        event: Event,
        _consumer: &'a T,
    ) -> Result<Self, RDKafkaErrorCode> {
        let fetched = Self { message, _event: event, _consumer: PhantomData };
        match fetched.raw().err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(fetched),
            code => Err(code.into()),
        }
    }

    fn raw(&self) -> &rd_kafka_message_t {
        // SAFETY: the message lives as long as its event, which this value holds.
        unsafe { self.message.as_ref() }
    }

    pub(crate) fn offset(&self) -> i64 {
        self.raw().offset
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        // SAFETY: pointer and length belong together, and live as long as the message.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(crate) fn payload(&self) -> Option<&[u8]> {
        // SAFETY: the same.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// Milliseconds since 1970; `None` where the record has no time, which Kafka writes as -1.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid.
        let time = unsafe { rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        let is_known = kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        (is_known && time != -1).then_some(time)
    }

    /// The headers in their order.
    ///
    /// # Errors
    /// Where what stands there cannot be read as headers.
    pub(crate) fn headers(&self) -> Result<Vec<FetchedHeader<'_>>, RDKafkaErrorCode> {
        let mut headers = null_mut();
        // SAFETY: the message is valid, and keeps the headers that it gives.
        match unsafe { rd_kafka_message_headers(self.message.as_ptr(), &raw mut headers) } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__NOENT => return Ok(Vec::new()),
            code => return Err(code.into()),
        }
        let mut found: Vec<FetchedHeader<'_>> = Vec::new();
        // SAFETY: the headers live as long as the message, and nobody changes them.
        while let Some((name, value)) = unsafe { header(headers, found.len()) } {
            let same = found.iter().filter(|one| !one.is_cut && one.name == name.to_bytes()).count();
            // SAFETY: the same.
            let whole = unsafe { named(headers, name, same) };
            found.push(FetchedHeader { name: name.to_bytes(), is_cut: whole != Some(value), value });
        }
        Ok(found)
    }
}

/// # Safety
/// Pointer and length belong together, and live as long as `'a`.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: by contract; null stands for no value.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}

/// A header's name and its value.
type Named<'a> = (&'a CStr, Option<&'a [u8]>);

/// The header in this place.
///
/// # Safety
/// `headers` are valid, and live as long as `'a`.
unsafe fn header<'a>(headers: *const rd_kafka_headers_t, place: usize) -> Option<Named<'a>> {
    let (mut name, mut value, mut length): (*const c_char, _, _) = (null(), null(), 0);
    // SAFETY: by contract.
    unsafe {
        let found = rd_kafka_header_get_all(headers, place, &raw mut name, &raw mut value, &raw mut length);
        let is_there = found == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        is_there.then(|| (CStr::from_ptr(name), bytes(value, length)))
    }
}

/// The value of that one among the headers of this *whole* name. librdkafka compares the lengths of names here, and tells
/// them nowhere: one that has a zero byte is found by no name.
///
/// # Safety
/// As for [`header`].
unsafe fn named<'a>(
    headers: *const rd_kafka_headers_t,
    name: &CStr,
    number: usize,
) -> Option<Option<&'a [u8]>> {
    let (mut value, mut length) = (null(), 0);
    // SAFETY: by contract.
    unsafe {
        let found = rd_kafka_header_get(headers, number, name.as_ptr(), &raw mut value, &raw mut length);
        let is_there = found == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        is_there.then(|| bytes(value, length))
    }
}
