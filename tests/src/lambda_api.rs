//! Lambda Cloud's interface for one test: as strict as the real one, and no kinder
//!
//! It lists instances at one address, once a second, to whoever shows the key in a header.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http_api::{Answers, Asked, HttpApi, json};
use crate::net::Host;

/// The interface
pub type LambdaApi = HttpApi<Lambda>;

/// What it knows
#[derive(Debug)]
pub struct Lambda {
    key: String,
    /// The instances
    pub instances: Vec<Value>,
    /// What is answered to the next requests in place of anything else
    pub scripted: Vec<(u16, String)>,
    next: Option<Instant>,
}

impl LambdaApi {
    /// On this machine
    pub fn of(key: &str) -> Self {
        Self::start(Lambda::new(key))
    }

    /// On the loopback of a host of the network laboratory
    pub fn within(host: &Host, key: &str) -> Self {
        Self::start_within(host, Lambda::new(key))
    }

    /// What `LAMBDA_API_URL` names
    pub fn v1(&self) -> String {
        format!("{}/api/v1", self.base())
    }

    /// Changes a field of the only instance
    pub fn set(&self, field: &str, value: Value) {
        self.state().instances[0][field] = value;
    }
}

/// An instance, as the interface shows one
pub fn instance(id: &str, address: &str) -> Value {
    json!({
        "id": id, "name": "train", "ip": address, "private_ip": "10.19.60.24", "status": "active",
        "ssh_key_names": ["laptop"], "file_system_names": [], "hostname": address,
        "region": {"name": "us-tx-1", "description": "Austin, Texas"},
        "instance_type": {"name": "gpu_1x_a100", "price_cents_per_hour": 110},
        "jupyter_token": "hidden-jupyter-token", "jupyter_url": "https://hidden-jupyter-token"
    })
}

impl Lambda {
    fn new(key: &str) -> Self {
        Self { key: key.to_owned(), instances: Vec::new(), scripted: Vec::new(), next: None }
    }
}

impl Answers for Lambda {
    fn answer(&mut self, asked: &Asked) -> (u16, String) {
        if !self.scripted.is_empty() {
            return self.scripted.remove(0);
        }
        let refused = |status: u16, code: &str, message: &str| {
            json(status, &json!({"error": {"code": code, "message": message, "suggestion": null}}))
        };
        if asked.key.as_ref() != Some(&self.key) {
            return refused(401, "global/invalid-api-key", "API key was invalid");
        }
        let now = Instant::now();
        let is_early = self.next.is_some_and(|next| now < next);
        self.next = Some(now + Duration::from_secs(1));
        if is_early {
            return refused(429, "global/rate-limited", "Too many requests");
        }
        match (asked.method.as_str(), asked.target.as_str()) {
            ("GET", "/api/v1/instances") => json(200, &json!({ "data": self.instances })),
            _ => refused(404, "global/object-does-not-exist", "Specified object does not exist"),
        }
    }
}
