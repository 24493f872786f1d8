//! What the fields of an errand may hold.

use super::fields::{FieldError, check_length, check_parcel};
use crate::digest::spans;
use crate::limits;
use crate::message::errand::{Carried, CarriedMethod, Carry, CarryProblem, Head, Keeping, Slice};
use crate::range::ByteRange;

pub(super) fn check_carry(carry: &Carry) -> Result<(), FieldError> {
    let address = 1..=limits::CARRIED_ADDRESS_BYTES_MAX;
    let is_plain = carry.address.bytes().all(|byte| byte.is_ascii_graphic());
    if !address.contains(&carry.address.len()) || !is_plain {
        return Err(FieldError::Errand);
    }
    check_headers(&carry.headers)?;
    check_length(&carry.body, limits::SLICES_MAX)?;
    let fits = match carry.method {
        CarriedMethod::Get => carry.body.is_empty(),
        CarriedMethod::Put => carry.keep.is_none(),
    };
    if !fits {
        return Err(FieldError::Errand);
    }
    carry.keep.as_ref().map_or(Ok(()), check_keeping)?;
    carry.body.iter().try_fold(0, |sum, slice| check_slice(slice, sum)).map(drop)
}

/// Checks that what is kept has digests.
fn check_keeping(keeping: &Keeping) -> Result<(), FieldError> {
    check_parcel(keeping.length)?;
    let within = keeping.start.checked_add(keeping.length).filter(|&end| end <= keeping.size);
    if within.is_none() || keeping.size > limits::FILE_BYTES_MAX {
        return Err(FieldError::FileSize(keeping.size));
    }
    let range = ByteRange::at(keeping.start, keeping.length);
    let range = range.map_err(|_| FieldError::FileSize(keeping.size))?;
    let has_spans = spans(range, keeping.size).next().is_some();
    if has_spans { Ok(()) } else { Err(FieldError::Range(range)) }
}

/// Checks a piece of a body, and adds its bytes to those before it.
fn check_slice(slice: &Slice, before: u64) -> Result<u64, FieldError> {
    check_parcel(slice.length)?;
    check_parcel(slice.start.saturating_add(slice.length))?;
    let sum = before + slice.length;
    if sum <= limits::CARRIED_BYTES_MAX { Ok(sum) } else { Err(FieldError::Parcel(sum)) }
}

pub(super) fn check_carried(carried: &Carried) -> Result<(), FieldError> {
    if carried.digests.len() > limits::SPANS_MAX {
        return Err(FieldError::DigestCount);
    }
    let fits = match &carried.outcome {
        Ok(Head { headers, body, .. }) => {
            check_headers(headers)?;
            body.len() <= limits::CARRIED_BODY_BYTES_MAX
        }
        Err(CarryProblem { reason, .. }) => {
            reason.len() <= limits::CARRIED_REASON_BYTES_MAX
                && !reason.contains(char::is_control)
                && carried.digests.is_empty()
                && carried.crc.is_none()
        }
    };
    if fits { Ok(()) } else { Err(FieldError::Errand) }
}

fn check_headers(headers: &[(String, String)]) -> Result<(), FieldError> {
    check_length(headers, limits::CARRIED_HEADERS_MAX)?;
    let fits = headers.iter().all(|(name, value)| {
        let length = 1..=limits::CARRIED_HEADER_BYTES_MAX;
        length.contains(&name.len())
            && name.bytes().all(is_of_name)
            && value.len() <= limits::CARRIED_HEADER_BYTES_MAX
            && value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    });
    if fits { Ok(()) } else { Err(FieldError::Errand) }
}

/// A byte of a token (RFC 9110 §5.6.2).
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carry() -> Carry {
        Carry {
            method: CarriedMethod::Get,
            address: "a".repeat(limits::CARRIED_ADDRESS_BYTES_MAX),
            headers: vec![("n".to_owned(), "v".repeat(limits::CARRIED_HEADER_BYTES_MAX))],
            body: vec![],
            keep: None,
            stall: 1,
        }
    }

    #[test]
    fn what_is_a_byte_too_long_is_refused() {
        assert_eq!(check_carry(&carry()), Ok(()));
        let mut long = carry();
        long.address.push('a');
        assert_eq!(check_carry(&long), Err(FieldError::Errand));
        for at in 0..2 {
            let mut long = carry();
            long.headers[0] = ("n".repeat(limits::CARRIED_HEADER_BYTES_MAX), "v".to_owned());
            assert_eq!(check_carry(&long), Ok(()));
            let (name, value) = &mut long.headers[0];
            *value = "v".repeat(limits::CARRIED_HEADER_BYTES_MAX);
            let longer = if at == 0 { name } else { value };
            longer.push('x');
            assert_eq!(check_carry(&long), Err(FieldError::Errand));
        }
        for (more, expected) in [(0, Ok(())), (1, Err(FieldError::Errand))] {
            let body = vec![7; limits::CARRIED_BODY_BYTES_MAX + more];
            let head = Head { status: 200, headers: vec![], body };
            let carried = Carried { outcome: Ok(head), digests: vec![], crc: None };
            assert_eq!(check_carried(&carried), expected);
        }
    }

    #[test]
    fn what_signs_a_request_is_not_shown() {
        let address = "https://h/?X-Amz-Signature=secret".to_owned();
        let headers = vec![("x-token".to_owned(), "secret".to_owned())];
        let carry = Carry { address, headers: headers.clone(), ..carry() };
        let head = Head { status: 302, headers, body: b"secret".to_vec() };
        let carried = Carried { outcome: Ok(head), digests: vec![], crc: None };
        let request = crate::message::Request::Carry(carry);
        let reply = crate::message::Reply::Carried(carried);
        let shown = format!("{request:?} {request:#?} {reply:?} {reply:#?}");
        assert!(!shown.contains("secret") && !shown.contains("115, 101"), "{shown}");
        assert!(shown.contains("Carry") && shown.contains("302"), "{shown}");
    }
}
