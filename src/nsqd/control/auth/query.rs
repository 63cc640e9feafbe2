//! One question to auth servers: each is asked in turn, from any of them on, until one answers.

use bytes::Bytes;
use hyper::header::ACCEPT;
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Serialize;
use shards::auth::Question;
use std::borrow::Cow;
use std::sync::Arc;

use super::{Outcome, answer};
use crate::config::auth_address::endpoint;
use crate::http::client::{ACCEPT_V1, Cause, Client, Request, Url, V1Error};

/// What a form leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The auth servers, and how they are asked.
#[derive(Debug)]
pub struct Servers {
    addresses: Vec<String>,
    post: bool,
    client: Client,
}

/// Why there is no grant.
#[derive(Debug)]
pub struct Failure {
    /// A server said no.
    pub denied: bool,
    /// For the log.
    pub text: String,
}

impl Servers {
    /// Servers by their addresses as configured.
    pub fn new(addresses: Vec<String>, post: bool, client: Client) -> Servers {
        Servers { addresses, post, client }
    }

    /// What the first server says that answers.
    ///
    /// # Errors
    /// When none does, or none sensibly.
    pub async fn query(&self, question: &Question) -> Result<Outcome, Failure> {
        let count = self.addresses.len();
        // Which one is asked first does not matter, as long as it is not always the same.
        let start = getrandom::u32().map_or(0, |number| number as usize);
        let mut failure = Failure { denied: false, text: String::new() };
        for turn in 0..count {
            let address = &self.addresses[(start % count + turn) % count];
            let problem = match self.query_one(&endpoint(address), question).await {
                Ok(body) => match answer::read(&body) {
                    Ok(grant) => return Ok(Outcome::Granted(Arc::new(grant))),
                    Err(problem) => problem,
                },
                Err(error) => {
                    failure.denied |= is_denial(&error);
                    text(&error)
                }
            };
            if !failure.text.is_empty() {
                failure.text.push_str("; ");
            }
            let shown = shown(address);
            failure.text.push_str(&format!("failed to auth against {shown} - {problem}"));
        }
        Err(failure)
    }

    async fn query_one(&self, endpoint: &str, question: &Question) -> Result<Bytes, V1Error> {
        let url = match self.post {
            true => Cow::Borrowed(endpoint),
            false => Cow::Owned(format!("{endpoint}?{}", form(question))),
        };
        let bad_url = |text| V1Error::BadUrl { url: String::new(), text };
        let url = Url::parse(&url).map_err(bad_url)?;
        let request = match self.post {
            true => Request::post(url, json(question)).content_type("application/json"),
            false => Request::new(Method::GET, url),
        };
        let reply = self.client.send_v1(request.header(ACCEPT, ACCEPT_V1)).await?;
        Ok(reply.body)
    }
}

/// The same for the log: what follows the path, or stands in front of the host, may be secret.
fn shown(address: &str) -> String {
    match Url::parse(&endpoint(address)) {
        Ok(url) => {
            let scheme = if url.https { "https" } else { "http" };
            format!("{scheme}://{}{}", url.authority, url.target.path())
        }
        Err(problem) => format!("an address that is none ({problem})"),
    }
}

fn flag(tls: bool) -> &'static str {
    if tls { "true" } else { "false" }
}

/// The question as a form, in the original's order.
fn form(question: &Question) -> String {
    let Question { secret, remote_ip, tls, common_name } = question;
    let encode = |bytes: &[u8]| percent_encode(bytes, FORM).to_string().replace("%20", "+");
    format!(
        "common_name={}&remote_ip={}&secret={}&tls={}",
        encode(common_name.as_bytes()),
        encode(remote_ip.as_bytes()),
        encode(secret.reveal()),
        flag(*tls),
    )
}

/// The question as JSON. The values are arrays, as in the original.
fn json(question: &Question) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        common_name: [&'a str; 1],
        remote_ip: [&'a str; 1],
        secret: [&'a str; 1],
        tls: [&'a str; 1],
    }
    let Question { secret, remote_ip, tls, common_name } = question;
    let body = Body {
        common_name: [common_name],
        remote_ip: [remote_ip],
        secret: [&String::from_utf8_lossy(secret.reveal())],
        tls: [flag(*tls)],
    };
    serde_json::to_vec(&body).expect("texts can be written as JSON")
}

fn is_denial(error: &V1Error) -> bool {
    matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
}

/// What went wrong, without anything that the question or the answer says: a URL has the secret in
/// it, and an answer may repeat it.
fn text(error: &V1Error) -> String {
    match error {
        V1Error::NoAnswer(error) => match error.cause() {
            Cause::Location { .. } => "redirected to what is no URL".to_owned(),
            Cause::Unsendable(_) => "the question cannot be sent".to_owned(),
            cause => cause.to_string(),
        },
        V1Error::BadUrl { .. } => "the URL is too long, or none".to_owned(),
        V1Error::Refused { status, .. } => format!("got response {status}"),
        V1Error::Undecodable(_) => "the answer makes no sense".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{endpoint, form, json, shown};
    use crate::config::auth_address::is_secure;
    use shards::auth::{Question, Secret};

    fn question() -> Question {
        Question {
            secret: Secret::new(b"a b&c=\xff~"),
            remote_ip: "::1".to_owned(),
            tls: true,
            common_name: "me & you".to_owned(),
        }
    }

    #[test]
    fn a_question_is_put_as_the_original_does() {
        assert_eq!(
            form(&question()),
            "common_name=me+%26+you&remote_ip=%3A%3A1&secret=a+b%26c%3D%FF~&tls=true"
        );
        assert_eq!(
            String::from_utf8(json(&question())).unwrap(),
            "{\"common_name\":[\"me & you\"],\"remote_ip\":[\"::1\"],\
             \"secret\":[\"a b&c=\u{fffd}~\"],\"tls\":[\"true\"]}"
        );
    }

    #[test]
    fn addresses_are_hosts_or_urls() {
        assert_eq!(endpoint("h:1"), "http://h:1/auth");
        assert_eq!(endpoint("https://h/x?a=1"), "https://h/x?a=1");
        assert_eq!(is_secure("h:1"), Ok(false));
        assert_eq!(is_secure("https://h"), Ok(true));
        for wrong in ["", "h:x", "ftp://h/", "http://"] {
            assert!(is_secure(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        assert_eq!(shown("http://me:pass@h:1/a?key=k"), "http://h:1/a");
    }
}
