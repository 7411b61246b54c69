//! [`Gunzip`]: a compressed stream, read as it comes.

use std::io::Write;

use flate2::write::GzDecoder;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::soon;

/// A body that is decompressed as it comes, as a browser does.
#[derive(Debug)]
pub struct Gunzip {
    body: Incoming,
    decoder: GzDecoder<Vec<u8>>,
}

impl Gunzip {
    /// The body of a response that says `Content-Encoding: gzip`.
    #[must_use]
    pub fn new(response: Response<Incoming>) -> Self {
        Gunzip { body: response.into_body(), decoder: GzDecoder::new(Vec::new()) }
    }

    /// Reads until what came holds `text`.
    pub async fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(self.decoder.get_ref()).contains(text) {
            let frame =
                soon(text, self.body.frame()).await.expect("the stream goes on").expect("it is whole");
            self.decoder.write_all(&frame.into_data().expect("no trailers")).expect("it is gzip");
            self.decoder.flush().expect("it is gzip");
        }
    }
}
