//! From what came of a callout to the body that was asked for.

use std::{borrow::Cow, fmt, io::Read};

use flate2::read::MultiGzDecoder;

use super::{
    CalloutResult, Response,
    fault::{Cause, Fault},
};

/// Envoy's router puts this on every answer of an upstream, over one of the upstream's own. What has none is Envoy's own answer.
const OF_UPSTREAM: &str = "x-envoy-upstream-service-time";

/// Where a callout goes through Envoy once more, on its way to a proxy, the second time is an upstream of the first, and marks its own
/// answers so. The clusters for issuers take the mark away from answers of an issuer's own.
const OF_ENVOY: &str = "x-gateway-envoy";

impl<'a> Response<'a> {
    /// Whether Envoy answered in place of who was asked.
    fn is_envoys(&self) -> bool {
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name == wanted);
        matches!(self.status, 500..=599) && (has(OF_ENVOY) || !has(OF_UPSTREAM))
    }

    /// The body as it was before it was compressed, at most so many bytes.
    ///
    /// Callouts ask for no compression. Some servers compress all the same, and Go's client, which asks for gzip, reads that and
    /// nothing else (`net/http`, `transport.go`).
    fn decoded(self, most: usize, bound: &str) -> Result<Cow<'a, [u8]>, Fault> {
        let too_large = |bytes: fmt::Arguments<'_>| {
            Fault::new(Cause::TooLarge, format_args!("{bytes} bytes exceed {bound}"))
        };
        if self.body.len() > most {
            return Err(too_large(format_args!("{}", self.body.len())));
        }
        let encodings = self.headers.iter().filter(|(name, _)| name == "content-encoding");
        let encodings: Vec<_> = encodings
            .map(|(_, value)| String::from_utf8_lossy(value).to_ascii_lowercase())
            .collect();
        let encodings = encodings.join(",");
        let is_one = |name: &&str| !name.is_empty() && *name != "identity";
        let encodings: Vec<_> = encodings.split(',').map(str::trim).filter(is_one).collect();
        match encodings.as_slice() {
            [] => Ok(Cow::Borrowed(self.body)),
            ["gzip"] => {
                let mut plain = Vec::new();
                let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
                MultiGzDecoder::new(self.body).take(limit).read_to_end(&mut plain).map_err(
                    |error| {
                        Fault::new(
                            Cause::ContentEncoding,
                            format_args!("Content-Encoding gzip: {error}"),
                        )
                    },
                )?;
                if plain.len() > most {
                    Err(too_large(format_args!("more than {most} decompressed")))
                } else {
                    Ok(Cow::Owned(plain))
                }
            }
            // Go reads the bytes as they are, whatever the word: what is JSON all the same is taken, the rest is named.
            _ if self.body.trim_ascii_start().starts_with(b"{") => Ok(Cow::Borrowed(self.body)),
            others => {
                let others = others.join(", ");
                Err(Fault::new(
                    Cause::ContentEncoding,
                    format_args!(
                        "Content-Encoding {others:?} is not read: only gzip is, and it was not asked for"
                    ),
                ))
            }
        }
    }
}

/// The body of an answer with one of these statuses, without its encoding; `bound` is the name of the limit of `most` bytes.
///
/// # Errors
/// If there is no such answer.
pub fn body<'a>(
    result: CalloutResult<'a>,
    statuses: &[u16],
    most: usize,
    bound: &str,
) -> Result<Cow<'a, [u8]>, Fault> {
    let response = result?;
    match response.status {
        status if statuses.contains(&status) => response.decoded(most, bound),
        status if response.is_envoys() => Err(Fault::of_envoy(status, response.body)),
        status @ 300..=399 => {
            let detail = format_args!("HTTP {status}: redirects are not followed");
            Err(Fault::new(Cause::Redirect, detail))
        }
        status => Err(Fault::new(Cause::HttpStatus, format_args!("HTTP {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(status: u16, headers: &[(&str, &str)], bytes: &[u8]) -> Result<Vec<u8>, String> {
        let headers: Vec<_> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        let response = Response { status, headers: &headers, body: bytes };
        body(Ok(response), &[200], 1000, "keySets.maximumBytes")
            .map(Cow::into_owned)
            .map_err(|fault| format!("{}: {fault}", fault.cause.keyword()))
    }

    /// panva/openid-client#648: a compressed answer was an invalid character.
    #[test]
    fn an_answer_is_read_through_gzip_and_nothing_else() {
        let plain = b"{\"keys\":[]}".to_vec();
        let twice = [gzip(&plain[..4]), gzip(&plain[4..])].concat();
        for (encodings, bytes, want) in [
            (&[][..], plain.clone(), Ok(plain.clone())),
            (&["identity"], plain.clone(), Ok(plain.clone())),
            (&[""], plain.clone(), Ok(plain.clone())),
            (&["gzip"], gzip(&plain), Ok(plain.clone())),
            (&["GZip"], gzip(&plain), Ok(plain.clone())),
            (
                &["x-gzip"],
                gzip(&plain),
                Err("content_encoding: Content-Encoding \"x-gzip\" is not read"),
            ),
            (&["utf-8"], plain.clone(), Ok(plain.clone())),
            (&["br"], plain.clone(), Ok(plain.clone())),
            (&["gzip"], twice, Ok(plain.clone())), // of several members, as Go reads it
            (
                &["gzip"],
                plain.clone(),
                Err("content_encoding: Content-Encoding gzip: invalid gzip header"),
            ),
            (
                &["gzip"],
                gzip(&plain)[..15].to_vec(),
                Err("content_encoding: Content-Encoding gzip: "),
            ),
            (&["br"], gzip(&plain), Err("content_encoding: Content-Encoding \"br\" is not read")),
            (
                &["gzip", "deflate"],
                gzip(&plain),
                Err("content_encoding: Content-Encoding \"gzip, deflate\" is not read"),
            ),
        ] {
            let headers: Vec<_> =
                encodings.iter().map(|value| ("content-encoding", *value)).collect();
            match (read(200, &headers, &bytes), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{encodings:?}"),
                (Err(got), Err(want)) => assert!(got.starts_with(want), "{encodings:?}: {got}"),
                (got, want) => panic!("{encodings:?}: {got:?} / {want:?}"),
            }
        }
    }

    #[test]
    fn an_answer_is_bounded_however_well_it_was_compressed() {
        let header = [("content-encoding", "gzip")];
        let bomb = gzip(&vec![b' '; 200 << 10]);
        assert!(bomb.len() < 1000);
        let want = "too_large: more than 1000 decompressed bytes exceed keySets.maximumBytes";
        assert_eq!(read(200, &header, &bomb), Err(want.to_owned()));
        let want = "too_large: 1001 bytes exceed keySets.maximumBytes";
        assert_eq!(read(200, &[], &[b' '; 1001]), Err(want.to_owned()));
        assert_eq!(read(200, &header, &gzip(&[b' '; 1000])).map(|plain| plain.len()), Ok(1000));
    }

    #[test]
    fn envoys_answers_are_told_from_those_of_who_was_asked() {
        let upstream = [("x-envoy-upstream-service-time", "2")];
        let marked = [("x-gateway-envoy", "via_upstream"), upstream[0]];
        let words = b"upstream request timeout";
        for (status, headers, want) in [
            (504, &[][..], "timeout: no answer in time"),
            // What an issuer says is its own affair, whatever it looks like.
            (504, &upstream, "http_status: HTTP 504"),
            (504, &marked, "timeout: no answer in time"),
            (404, &marked, "http_status: HTTP 404"),
            (404, &upstream, "http_status: HTTP 404"),
            (404, &[], "http_status: HTTP 404"),
            (302, &upstream, "redirect: HTTP 302: redirects are not followed"),
            (201, &upstream, "http_status: HTTP 201"),
        ] {
            assert_eq!(read(status, headers, words), Err(want.to_owned()), "{status}");
        }
    }
}
