//! Answers in buffers of every size: what independent decoders read from them is what was to be
//! said, and nothing is written behind.

use arbitrary::{Result, Unstructured};
use serde_bencode::value::Value;

use super::answer::{Answer, Body};
use crate::wire::bencode::Full;
use crate::wire::http::reply::REPLY_BYTES_MAX;
use crate::wire::http::response::Framing;

/// Stands behind a buffer, and must still be there afterwards.
const CANARY: [u8; 64] = [0xc5; 64];

/// `bytes` become a framing, a size for a buffer, an answer, and the rest of the framing.
pub fn reply_decode(bytes: &[u8]) {
    if let Ok((framing, room_bytes, answer)) = read(&mut Unstructured::new(bytes)) {
        check(&answer, framing, room_bytes);
    }
}

fn read(input: &mut Unstructured<'_>) -> Result<(Framing, usize, Answer)> {
    let mut framing = Framing {
        http10: input.arbitrary()?,
        keep_alive: input.arbitrary()?,
        head_only: input.arbitrary()?,
        ..Framing::LAST
    };
    let room_bytes = usize::from(input.arbitrary::<u16>()?);
    let answer = Answer::read(input)?;
    (framing.proxied, framing.any_origin) = (input.arbitrary()?, input.arbitrary()?);
    Ok((framing, room_bytes, answer))
}

fn check(answer: &Answer, framing: Framing, room_bytes: usize) {
    let mut buffer = vec![0; REPLY_BYTES_MAX];
    let whole_bytes = answer
        .write(Framing { head_only: false, ..framing }, &mut buffer)
        .expect("the largest answer has room");
    let whole = &buffer[..whole_bytes];
    let (head, body) = whole.split_at(head_bytes(whole));
    let body_bytes = check_body(&answer.body(), body);
    check_head(answer, framing, head, body_bytes);

    // A HEAD is told what a GET would be, so its body is written too; one whose length has less
    // than three digits first stands further back.
    let expected = if framing.head_only { head } else { whole };
    let shift_bytes = match answer {
        Answer::FullScrapeHead { .. } => 0,
        _ => 3_usize.saturating_sub(body.len().to_string().len()),
    };
    let needed_bytes = whole_bytes + shift_bytes;
    for room_bytes in
        [needed_bytes, needed_bytes - 1, needed_bytes + 1, room_bytes % (needed_bytes + 1)]
    {
        let mut out = vec![0; room_bytes];
        out.extend(CANARY);
        let written = answer.write(framing, &mut out[..room_bytes]);
        assert!(out.ends_with(&CANARY), "written behind a buffer of {room_bytes}");
        assert_eq!(
            written,
            if room_bytes < needed_bytes { Err(Full) } else { Ok(expected.len()) },
            "in {room_bytes}"
        );
        assert!(
            written.is_err() || out.starts_with(expected),
            "different in a buffer of {room_bytes}"
        );
    }
}

fn head_bytes(whole: &[u8]) -> usize {
    whole.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends") + 4
}

fn check_head(answer: &Answer, framing: Framing, head: &[u8], body_bytes: u64) {
    let mut headers = [httparse::EMPTY_HEADER; 8];
    let mut response = httparse::Response::new(&mut headers);
    assert_eq!(
        response.parse(head),
        Ok(httparse::Status::Complete(head.len())),
        "{}",
        head.escape_ascii()
    );
    assert_eq!(response.code, Some(answer.status()), "the status");
    assert_eq!(response.version, Some(1), "the version");
    let connection = match framing {
        Framing { keep_alive: false, .. } => Some("close"),
        Framing { http10: true, .. } => Some("keep-alive"),
        _ => None,
    };
    let any_origin = framing.any_origin || answer.has_header("Access-Control-Allow-Origin");
    let expected = [
        ("Allow", answer.has_header("Allow").then(|| "GET, HEAD, OPTIONS".to_owned())),
        ("Content-Type", Some("text/plain".to_owned())),
        ("Content-Length", Some(body_bytes.to_string())),
        ("Content-Encoding", answer.has_header("Content-Encoding").then(|| "gzip".to_owned())),
        ("Vary", answer.has_header("Vary").then(|| "Accept-Encoding".to_owned())),
        ("Cache-Control", framing.proxied.then(|| "no-store".to_owned())),
        ("Access-Control-Allow-Origin", any_origin.then(|| "*".to_owned())),
        ("Connection", connection.map(str::to_owned)),
    ];
    let found = response
        .headers
        .iter()
        .map(|header| (header.name, String::from_utf8_lossy(header.value).into_owned()));
    let expected = expected.into_iter().filter_map(|(name, value)| Some((name, value?)));
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

/// The bytes a Content-Length is to tell of. The decoder takes any key order, leading zeros and
/// trailing bytes, so what it has decoded is encoded again: only canonical bencoding comes back as
/// the same bytes.
fn check_body(said: &Body, body: &[u8]) -> u64 {
    match said {
        Body::Bencoded(said) => {
            let decoded: Value = serde_bencode::from_bytes(body).unwrap();
            assert_eq!(&decoded, said);
            assert_eq!(serde_bencode::to_bytes(&decoded).unwrap(), body);
        }
        Body::Text(text) => assert_eq!(body, text.as_bytes()),
        Body::Elsewhere(bytes) => {
            assert_eq!(body, b"");
            return *bytes;
        }
    }
    body.len() as u64
}
