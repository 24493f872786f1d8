//! RunPod's interface for one test: as strict as the real one, and no kinder
//!
//! It answers one address, to a query and nothing else, with the fields that were asked for alone.
//! A field that a pod does not have fails the whole query, as GraphQL has it.

use serde_json::{Map, Value, json};

use crate::http_api::{Answers, Asked, HttpApi, json};
use crate::net::Host;

/// Every field and word of a query that it knows
const WORDS: [&str; 17] = [
    "query",
    "myself",
    "pods",
    "id",
    "name",
    "desiredStatus",
    "podType",
    "costPerHr",
    "env",
    "runtime",
    "ports",
    "ip",
    "isIpPublic",
    "privatePort",
    "publicPort",
    "type",
    "lastStatusChange",
];

/// The interface
pub type RunPodApi = HttpApi<RunPod>;

/// What it knows
#[derive(Debug)]
pub struct RunPod {
    key: String,
    /// The pods, as an account with every field would see them
    pub pods: Vec<Value>,
    /// What is answered to the next requests in place of anything else
    pub scripted: Vec<(u16, String)>,
}

impl RunPodApi {
    /// On this machine
    pub fn of(key: &str) -> Self {
        Self::start(RunPod::new(key))
    }

    /// On the loopback of a host of the network laboratory
    pub fn within(host: &Host, key: &str) -> Self {
        Self::start_within(host, RunPod::new(key))
    }

    /// What `RUNPOD_GRAPHQL_URL` names
    pub fn graphql(&self) -> String {
        format!("{}/graphql", self.base())
    }

    /// Changes a field of the only pod
    pub fn set(&self, field: &str, value: Value) {
        self.state().pods[0][field] = value;
    }
}

/// A pod with a public port to its sshd, as the interface shows one
pub fn pod(id: &str, address: &str, port: u16) -> Value {
    json!({
        "id": id, "name": "train", "desiredStatus": "RUNNING", "podType": "RESERVED",
        "costPerHr": 0.69, "env": ["WANDB_API_KEY=hidden-pod-key"], "runtime": {"ports": [
            {"ip": "100.65.0.119", "isIpPublic": false, "privatePort": 8888, "publicPort": 60141,
             "type": "http"},
            {"ip": address, "isIpPublic": true, "privatePort": 22, "publicPort": port,
             "type": "tcp"},
        ]}
    })
}

impl RunPod {
    fn new(key: &str) -> Self {
        Self { key: key.to_owned(), pods: Vec::new(), scripted: Vec::new() }
    }
}

impl Answers for RunPod {
    fn answer(&mut self, asked: &Asked) -> (u16, String) {
        if !self.scripted.is_empty() {
            return self.scripted.remove(0);
        }
        if asked.target != "/graphql" {
            return (404, "<html>not found</html>".to_owned());
        }
        if asked.key.as_ref() != Some(&self.key) {
            return json(401, &json!({"error": "Unauthorized"}));
        }
        let refused = |what: &str| json(400, &json!({"errors": [{"message": what}]}));
        if asked.method != "POST" {
            return refused("only POST");
        }
        let query = serde_json::from_str::<Value>(&asked.body).unwrap_or_default();
        let Some(query) = query["query"].as_str() else { return refused("no query") };
        let words: Vec<_> = query
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        if let Some(unknown) = words.iter().find(|word| !WORDS.contains(word)) {
            return refused(&format!("Cannot query field \"{unknown}\""));
        }
        if !query.starts_with("query {") || !words.contains(&"pods") {
            return refused("Syntax Error");
        }
        let pods: Vec<_> = self.pods.iter().map(|pod| asked_of(pod, &words)).collect();
        json(200, &json!({"data": {"myself": {"pods": pods}}}))
    }
}

/// The fields that were asked for, and no other
fn asked_of(value: &Value, words: &[&str]) -> Value {
    match value {
        Value::Object(fields) => {
            let of = |name: &String| words.contains(&name.as_str());
            let kept = fields.iter().filter(|(name, _)| of(name));
            Value::Object(kept.map(|(n, v)| (n.clone(), asked_of(v, words))).collect::<Map<_, _>>())
        }
        Value::Array(values) => values.iter().map(|value| asked_of(value, words)).collect(),
        other => other.clone(),
    }
}
