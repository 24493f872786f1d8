//! Requests that change something. What became of one is told only where the answer says it: an
//! order that may have been heard is not given again, and nothing but `"success": true` is success.

use std::time::Duration;

use super::{Endpoint, Requests, WITHIN, refusal, said};
use crate::clock::backoff;
use crate::discover::Ordered;
use crate::discover::error::ApiProblem;
use crate::discover::json::Json;
use crate::transport::http::{Answer, Ask, Bearer, HttpError, Method};

/// What came of one try.
enum Given {
    /// It was heard, or may have been.
    Heard(Ordered),
    /// It was surely not carried out, and may be with another key.
    KeyRefused(String),
    /// It was surely not heard, and may be later.
    NotHeard(Duration, String),
}

impl Requests {
    /// Gives an order.
    pub(in crate::discover) async fn order(
        &self,
        endpoint: Endpoint,
        method: Method,
        path: &str,
        body: &str,
    ) -> Ordered {
        let mut refused = "no key is at hand".to_owned();
        for key in &self.keys {
            match self.order_with(endpoint, method, path, body, key).await {
                Ok(ordered) => return ordered,
                Err(said) => refused = said,
            }
        }
        Ordered::Refused(refused)
    }

    /// Gives it with one key; an error is that the key is not taken.
    async fn order_with(
        &self,
        endpoint: Endpoint,
        method: Method,
        path: &str,
        body: &str,
        key: &Bearer,
    ) -> Result<Ordered, String> {
        let until = self.clock.elapsed() + WITHIN;
        let mut attempt = 0;
        loop {
            self.take_turn(endpoint).await;
            let left = until.saturating_sub(self.clock.elapsed()).max(endpoint.interval);
            let ask = Ask { method, path, query: &[], body: Some(body.to_owned()) };
            let answered = self.http.ask(&self.base, key, &ask, left).await;
            self.took_turn(endpoint).await;
            let (wait, why) = match given(answered) {
                Given::Heard(ordered) => return Ok(ordered),
                Given::KeyRefused(said) => return Err(said),
                Given::NotHeard(wait, why) => (wait, why),
            };
            attempt += 1;
            let pause = backoff(attempt, WITHIN, self.seed).max(wait).max(endpoint.interval);
            if self.clock.elapsed() + pause >= until {
                return Ok(Ordered::Refused(why));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn given(answered: Result<Answer, HttpError>) -> Given {
    let answer = match answered {
        Ok(answer) => answer,
        // No connection came about, so nobody was told anything.
        Err(HttpError::Unreached(why)) => return Given::NotHeard(Duration::ZERO, why),
        Err(error) => return Given::Heard(Ordered::Unknown(error.to_string())),
    };
    let (status, read) = (answer.status, Json::parse(&answer.body));
    let said = said(&read, &answer.body);
    let read = read.ok();
    let is_absent = || read.as_ref().and_then(code) == Some("no_such_instance");
    let unknown =
        || Ordered::Unknown(ApiProblem::Refused { status, said: said.clone() }.to_string());
    match status {
        200..=299 => Given::Heard(match read.as_ref().and_then(|json| json.get("success")) {
            Some(Json::Bool(true)) => Ordered::Accepted,
            Some(Json::Bool(false)) if is_absent() => Ordered::AlreadyGone,
            Some(Json::Bool(false)) if is_about_the_key(read.as_ref()) => {
                return Given::KeyRefused(said);
            }
            Some(Json::Bool(false)) => Ordered::Refused(said),
            _ => unknown(),
        }),
        401 | 403 => Given::KeyRefused(said),
        404 if said.contains("Session expired") => Given::KeyRefused(said),
        // A bare 404 may be about the address, and tells nothing of the machine.
        404 if is_absent() => Given::Heard(Ordered::AlreadyGone),
        429 => Given::NotHeard(answer.retry_after.unwrap_or_default().min(WITHIN), said),
        400 | 402 | 405..=407 | 409..=428 | 483 => Given::Heard(Ordered::Refused(said)),
        _ => Given::Heard(unknown()),
    }
}

fn is_about_the_key(read: Option<&Json>) -> bool {
    let codes = ["auth_error", "invalid_token", "not_authorized"];
    read.and_then(refusal).is_some_and(|code| codes.contains(&code))
}

fn code(json: &Json) -> Option<&str> {
    json.get("error").and_then(Json::text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Given {
        given(Ok(Answer { status, retry_after: None, body: body.as_bytes().to_vec() }))
    }

    fn heard(status: u16, body: &str) -> Ordered {
        match of(status, body) {
            Given::Heard(ordered) => ordered,
            Given::KeyRefused(said) => panic!("{status} {body}: the key, {said}"),
            Given::NotHeard(_, why) => panic!("{status} {body}: not heard, {why}"),
        }
    }

    /// Rows: B-A12, J11.
    #[test]
    fn nothing_but_true_is_success() {
        for body in [r#"{"success":true}"#, r#"{"success": true, "msg": "destroying"}"#] {
            assert_eq!(heard(200, body), Ordered::Accepted, "{body}");
        }
        for body in [
            r#"{"success":"true"}"#,
            r#"{"success":"false"}"#,
            r#"{"success":1}"#,
            r#"{"success":0}"#,
            r#"{"success":null}"#,
            r#"{"success":[true]}"#,
            r#"{"success":true,"success":true}"#,
            r#"{"success":true} x"#,
            r#"{"success":true"#,
            r#"[{"success":true}]"#,
            r#"{"Success":true}"#,
            "{}",
            "[]",
            "true",
            "null",
            "",
            "OK",
            "<html>OK</html>",
        ] {
            assert!(matches!(heard(200, body), Ordered::Unknown(_)), "{body}");
        }
        let refused = heard(200, r#"{"success":false,"error":"invalid_args","msg":"no"}"#);
        assert_eq!(refused, Ordered::Refused("invalid_args: no".to_owned()));
        assert!(matches!(heard(200, r#"{"success":false}"#), Ordered::Refused(_)));
    }

    /// Rows: B-A12, J11.
    #[test]
    fn gone_is_only_what_is_called_so() {
        let gone = r#"{"success":false,"error":"no_such_instance","msg":"Instance 7 not found."}"#;
        for status in [200, 404] {
            assert_eq!(heard(status, gone), Ordered::AlreadyGone, "{status}");
        }
        for body in [
            "",
            "{}",
            "<html>404</html>",
            "no_such_instance",
            r#"{"msg":"no_such_instance"}"#,
            r#"{"error":"not_found"}"#,
        ] {
            assert!(matches!(heard(404, body), Ordered::Unknown(_)), "{body}");
        }
        assert_eq!(heard(200, r#"{"success":true,"error":"no_such_instance"}"#), Ordered::Accepted);
    }

    /// Rows: B-A10, J11.
    #[test]
    fn what_may_have_been_heard_is_unknown_and_what_was_not_is_not() {
        for status in [500, 501, 502, 503, 504, 520, 408, 100, 304] {
            assert!(
                matches!(heard(status, r#"{"success":true}"#), Ordered::Unknown(_)),
                "{status}"
            );
        }
        for status in [400, 402, 405, 409, 410, 422, 483] {
            assert!(matches!(heard(status, "{}"), Ordered::Refused(_)), "{status}");
        }
        for (status, body) in
            [(401, ""), (403, "<html>"), (404, "Session expired. Please log in again.")]
        {
            assert!(matches!(of(status, body), Given::KeyRefused(_)), "{status} {body}");
        }
        let key = r#"{"success":false,"error":"auth_error","msg":"Invalid user key"}"#;
        assert!(matches!(of(200, key), Given::KeyRefused(_)));
        assert!(matches!(of(429, "too frequent"), Given::NotHeard(..)));
        let lost = [
            HttpError::TimedOut(WITHIN),
            HttpError::Broken("reset".to_owned()),
            HttpError::TooLong,
            HttpError::Coded,
            HttpError::Redirected(301),
        ];
        for error in lost {
            assert!(matches!(given(Err(error)), Given::Heard(Ordered::Unknown(_))));
        }
        let nobody = HttpError::Unreached("refused".to_owned());
        assert!(matches!(given(Err(nobody)), Given::NotHeard(..)));
    }
}
