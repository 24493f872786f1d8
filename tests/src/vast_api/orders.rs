//! What changes an instance: each order is taken at once, and done later or never

use serde_json::{Value, json};

use super::{Answer, HTML, State, VastApi};

/// Ports that an instance has at most
pub(super) const PORTS_MAX: usize = 64;

/// A start that was ordered
#[derive(Debug)]
pub(super) struct Start {
    /// Looks at the instance until it runs; none while its processors are somebody else's
    looks: Option<usize>,
    /// What it is then
    running: Value,
}

impl VastApi {
    /// Has a start of that instance lead to this one after so many looks at it
    pub fn starts_as(&self, id: u64, looks: usize, running: Value) {
        self.lock().starts.insert(id, Start { looks: Some(looks), running });
    }

    /// Has a start of that instance wait for its processors
    pub fn stalls(&self, id: u64, running: Value) {
        self.lock().starts.insert(id, Start { looks: None, running });
    }

    /// Shows a destroyed instance so many more times
    pub fn lingers(&self, looks: usize) {
        self.lock().lingers = looks;
    }

    /// Has the keys of an instance, as objects of one list
    pub fn lists_keys(&self, id: u64, keys: Value) {
        self.lock().login_keys.insert(id, keys);
    }

    /// Answers the next order so, with status 200, and does nothing
    pub fn answers_orders_with(&self, body: &str) {
        self.lock().order_answers.push(Answer::new(200, body));
    }

    /// The orders that were taken so far, as `METHOD ID BODY`
    pub fn orders(&self) -> Vec<String> {
        self.lock().orders.clone()
    }
}

impl State {
    /// `PUT` or `DELETE` of one instance, or of its keys
    pub(super) fn order(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        let rest = path.strip_prefix("/api/v0/instances/").unwrap_or_default();
        let Some(id) = rest.strip_suffix('/').and_then(|id| id.parse::<u64>().ok()) else {
            return Answer::new(404, HTML);
        };
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Answer::refused(400, "invalid_request", "the body is no JSON");
        };
        if !self.instances.contains_key(&id) || self.leaving.contains_key(&id) {
            return Answer::refused(404, "no_such_instance", "Instance not found");
        }
        if let Some(answer) = self.order_answers.pop() {
            return answer;
        }
        let lost = self.lost.pop();
        if lost.as_ref().is_some_and(|lost| !lost.heard) {
            return lost.expect("it is there").answer;
        }
        let state = body["state"].as_str();
        let answer = match (method, state) {
            ("DELETE", _) if body == json!({}) => {
                self.leaving.insert(id, self.lingers);
                Answer::json(200, &json!({"success": true}))
            }
            ("PUT", Some("running")) => self.start(id),
            ("PUT", Some("stopped")) => {
                self.ordered.remove(&id);
                self.become_stopped(id);
                Answer::json(200, &json!({"success": true}))
            }
            _ => return Answer::refused(400, "invalid_args", "state"),
        };
        self.orders.push(format!("{method} {id} {body}"));
        lost.map_or(answer, |lost| lost.answer)
    }

    fn start(&mut self, id: u64) -> Answer {
        let instance = self.instances.get_mut(&id).expect("it is there");
        instance["intended_status"] = json!("running");
        instance["next_state"] = json!("running");
        if let Some(start) = self.starts.remove(&id) {
            self.ordered.insert(id, start);
        }
        Answer::json(200, &json!({"success": true}))
    }

    fn become_stopped(&mut self, id: u64) {
        let instance = self.instances.get_mut(&id).expect("it is there");
        for field in ["cur_state", "next_state", "intended_status"] {
            instance[field] = json!("stopped");
        }
        instance["actual_status"] = json!("exited");
        instance["ports"] = json!(null);
    }

    /// What time makes of an instance between two looks at it
    pub(super) fn looked_at(&mut self, id: u64) {
        if let Some(start) = self.ordered.get_mut(&id)
            && let Some(looks) = &mut start.looks
        {
            *looks = looks.saturating_sub(1);
            let instance = self.instances.get_mut(&id).expect("it is there");
            instance["actual_status"] = json!("loading");
            instance["cur_state"] = json!("running");
            if *looks == 0 {
                let started = self.ordered.remove(&id).expect("it was ordered");
                self.instances.insert(id, started.running);
            }
        }
        match self.leaving.get_mut(&id) {
            Some(0) => {
                self.leaving.remove(&id);
                self.instances.remove(&id);
            }
            Some(looks) => *looks -= 1,
            None => {}
        }
    }

    /// The keys of an instance: a list that is a text
    pub(super) fn login_keys(&self, id: u64) -> Answer {
        match self.login_keys.get(&id) {
            Some(keys) => {
                Answer::json(200, &json!({"success": true, "ssh_keys": keys.to_string()}))
            }
            None if self.instances.contains_key(&id) => {
                Answer::json(200, &json!({"success": true, "ssh_keys": "[]"}))
            }
            None => Answer::refused(200, "no_such_instance", "Instance not found."),
        }
    }
}
