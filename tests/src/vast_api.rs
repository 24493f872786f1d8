//! Vast's interface for one test: as strict as the real one, and no kinder
//!
//! It refuses what that refuses: another key, a key in the address, more than 25 rows of a page,
//! requests that follow each other too soon, an address without its last `/`. The retired list
//! answers as it does now, in each of its three shapes in turn. Whatever it was asked is kept.

mod held;
mod orders;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::held::{Hold, Lost};
use self::orders::{PORTS_MAX, Start};
use crate::net::Host;

/// Rows of a page at most, and where nobody asks for so many
const PAGE_MAX: usize = 25;

/// A request is no longer than this
const REQUEST_BYTES_MAX: u64 = 64 << 10;

const HTML: &str = "<html><body><h1>404 Not Found</h1></body></html>";

/// The interface, which answers until it is dropped
#[derive(Debug)]
pub struct VastApi {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<String>,
    instances: BTreeMap<u64, Value>,
    /// Instances that a request for one does not show, though the list has them
    hidden: Vec<u64>,
    /// What is answered to the next requests in place of anything else
    scripted: Vec<(String, Answer)>,
    /// How a request for an instance that is not there is answered
    gone_by_status: bool,
    /// Where each address takes its next request
    next: HashMap<String, Instant>,
    unhurried: bool,
    page: Option<usize>,
    /// Rows that the list says there are beyond those that it has
    beyond: usize,
    retired: usize,
    asked: Vec<String>,
    /// What starts lead to, and those that were ordered
    starts: HashMap<u64, Start>,
    ordered: HashMap<u64, Start>,
    /// Instances that were destroyed, with how often they are yet shown
    leaving: HashMap<u64, usize>,
    lingers: usize,
    login_keys: HashMap<u64, Value>,
    orders: Vec<String>,
    order_answers: Vec<Answer>,
    lost: Vec<Lost>,
    hold: Option<Hold>,
}

/// An answer as it is sent
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Answer {
    /// JSON, or what claims to be
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with a header
    #[must_use]
    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string())
    }

    fn refused(status: u16, code: &str, words: &str) -> Self {
        Self::json(status, &json!({"success": false, "error": code, "msg": words}))
    }
}

impl VastApi {
    /// On this machine
    pub fn start(key: &str) -> Self {
        Self::answering(TcpListener::bind("127.0.0.1:0").expect("bind to a free port"), key)
    }

    /// On the loopback of a host of the network laboratory
    pub fn start_within(host: &Host, key: &str) -> Self {
        let bound = host.within(|| TcpListener::bind("127.0.0.1:0"));
        Self::answering(bound.expect("bind to a free port"), key)
    }

    fn answering(listener: TcpListener, key: &str) -> Self {
        let address = listener.local_addr().expect("an address");
        let state = State { keys: vec![key.to_owned()], ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let answering = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // The interface's last user is gone.
                if Arc::strong_count(&answering) == 1 {
                    return;
                }
                let state = Arc::clone(&answering);
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state }
    }

    /// What `VAST_URL` names
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has an instance of this id, in place of an older one
    pub fn put(&self, id: u64, instance: Value) {
        assert_ports(&instance);
        self.lock().instances.insert(id, instance);
    }

    /// Changes a field of an instance
    pub fn set(&self, id: u64, field: &str, value: Value) {
        let mut state = self.lock();
        let instance = state.instances.get_mut(&id).expect("an instance");
        instance[field] = value;
        assert_ports(instance);
    }

    /// Has an instance no more
    pub fn remove(&self, id: u64) {
        self.lock().instances.remove(&id);
    }

    /// Says of an instance that is listed that it is not there
    pub fn hide(&self, id: u64) {
        self.lock().hidden.push(id);
    }

    /// Says that an instance is not there by its status, and not by `null`
    pub fn says_gone_by_status(&self) {
        self.lock().gone_by_status = true;
    }

    /// Answers the next request whose path begins so, once
    pub fn next(&self, path: &str, answer: Answer) {
        self.lock().scripted.push((path.to_owned(), answer));
    }

    /// Takes requests as fast as they come
    pub fn is_unhurried(&self) {
        self.lock().unhurried = true;
    }

    /// Gives no more rows in a page
    pub fn pages_of(&self, rows: usize) {
        self.lock().page = Some(rows);
    }

    /// Says that there are so many more than it lists
    pub fn claims_more(&self, rows: usize) {
        self.lock().beyond = rows;
    }

    /// Takes another key beside the first
    pub fn takes(&self, key: &str) {
        self.lock().keys.push(key.to_owned());
    }

    /// What it was asked so far, as `METHOD PATH?QUERY STATUS`
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VastApi {
    fn drop(&mut self) {
        // Wakes whoever waits for the next request, to find itself alone.
        self.state = Arc::default();
        let _woken = TcpStream::connect_timeout(&self.address, Duration::from_millis(100));
    }
}

/// The platform makes no instance with more
fn assert_ports(instance: &Value) {
    let ports = instance["ports"].as_object().map_or(0, serde_json::Map::len);
    assert!(ports <= PORTS_MAX, "{ports} ports");
}

/// A direct instance, as the interface shows one
pub fn instance(id: u64, address: &str, port: u16) -> Value {
    json!({
        "id": id, "machine_id": 12, "host_id": 7, "label": format!("train-{id}"),
        "actual_status": "running", "intended_status": "running", "cur_state": "running",
        "next_state": "running", "status_msg": "success, running pytorch/pytorch/ssh\n",
        "public_ipaddr": format!(" {address}\n"), "local_ipaddrs": "192.168.1.5 172.17.0.1 \n",
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": port.to_string()},
                             {"HostIp": "::", "HostPort": port.to_string()}]},
        "direct_port_count": 100, "direct_port_start": 30000, "direct_port_end": 30099,
        "static_ip": true, "ssh_host": "ssh3.vast.ai", "ssh_port": 12296, "ssh_idx": "3",
        "machine_dir_ssh_port": 51199, "image_runtype": "ssh ssh_direc ssh_proxy",
        "extra_env": [["-p 70000:70000", "1"]], "jupyter_token": "hidden-jupyter-token",
        "onstart": "export WANDB_API_KEY=hidden-onstart-key",
        "start_date": 1_786_000_000.12, "end_date": 1_798_600_000.0, "is_bid": false,
        "volume_info": [], "disk_space": 200.0, "disk_usage": 91.4, "disk_util": 0.457,
        "inet_up_cost": 0.0039, "internet_up_cost_per_tb": 4.0,
        "internet_down_cost_per_tb": 2.0, "dph_total": 0.4321, "storage_cost": 0.15,
        "storage_total_cost": 0.0417
    })
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut lines = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let (mut key, mut length) = (None, 0_u64);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => key = value.strip_prefix("Bearer ").map(str::to_owned),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = Vec::new();
    lines.take(length).read_to_end(&mut body).ok()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    let hold = state.lock().unwrap_or_else(PoisonError::into_inner).takes_hold(method);
    if let Some(hold) = hold.as_ref().filter(|hold| !hold.heard) {
        return hold.keep(stream);
    }
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = state.answer(method, target, key.as_deref(), &body);
        state.asked.push(format!("{method} {target} {}", answer.status));
        answer
    };
    if let Some(hold) = hold {
        return hold.keep(stream);
    }
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", answer.status);
    answer.headers.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
    if !answer.headers.iter().any(|line| line.to_ascii_lowercase().starts_with("content-length")) {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    let mut writer = stream;
    writer.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    writer.write_all(&answer.body).ok()
}

impl State {
    fn answer(&mut self, method: &str, target: &str, key: Option<&str>, body: &[u8]) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: HashMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        if let Some(at) = self.scripted.iter().position(|(start, _)| path.starts_with(start)) {
            return self.scripted.remove(at).1;
        }
        if query.contains_key("api_key") {
            return Answer::refused(400, "invalid_request", "a key in the address is logged");
        }
        if !key.is_some_and(|key| self.keys.iter().any(|known| known == key)) {
            return Answer::refused(401, "auth_error", "Invalid user key");
        }
        match (method, path) {
            ("GET", "/api/v0/instances/") => self.retired(),
            ("GET", "/api/v1/instances/") => {
                self.spaced("list", 1.0).unwrap_or_else(|| self.list(&query))
            }
            ("GET", _) => match path.strip_prefix("/api/v0/instances/") {
                Some(rest) => match rest.strip_suffix("/ssh/").map(str::parse) {
                    Some(Ok(id)) => self.spaced("keys", 2.0).unwrap_or_else(|| self.login_keys(id)),
                    Some(Err(_)) => Answer::new(404, HTML),
                    None => self.spaced("show", 2.0).unwrap_or_else(|| self.show(rest, &query)),
                },
                None => Answer::new(404, HTML),
            },
            ("PUT", _) => {
                self.spaced("manage", 1.0).unwrap_or_else(|| self.order(method, path, body))
            }
            ("DELETE", _) => {
                self.spaced("destroy", 3.0).unwrap_or_else(|| self.order(method, path, body))
            }
            _ => Answer::new(405, HTML),
        }
    }

    /// Too soon after the one before, and so put off
    fn spaced(&mut self, address: &str, seconds: f64) -> Option<Answer> {
        if self.unhurried {
            return None;
        }
        let now = Instant::now();
        let is_early = self.next.get(address).is_some_and(|next| now < *next);
        self.next.insert(address.to_owned(), now + Duration::from_secs_f64(seconds));
        let words = format!("API requests too frequent: endpoint threshold={seconds}");
        is_early.then(|| Answer::new(429, words))
    }

    fn retired(&mut self) -> Answer {
        self.retired += 1;
        let words = "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead.";
        match self.retired % 3 {
            0 => Answer::refused(200, "deprecated_endpoint", words),
            1 => Answer::refused(410, "deprecated_endpoint", words),
            _ => Answer::json(200, &json!({"instances": []})),
        }
    }

    fn list(&self, query: &HashMap<String, String>) -> Answer {
        let text = |name: &str| query.get(name).map(String::as_str);
        let invalid = |what: &str| Answer::refused(400, "invalid_args", what);
        let Ok(limit) = text("limit").unwrap_or("5").parse::<usize>() else {
            return invalid("limit");
        };
        if limit == 0 || limit > PAGE_MAX {
            return invalid("limit is from 1 to 25");
        }
        for name in ["order_by", "select_cols", "select_filters"] {
            let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
            if text(name).is_some_and(|text| !is_json(text)) {
                return invalid(name);
            }
        }
        let after = text("after_token").map(|token| token.strip_prefix("after-").map(str::parse));
        let after = match after {
            None => 0,
            Some(Some(Ok(id))) => id,
            Some(_) => return invalid("after_token"),
        };
        let limit = limit.min(self.page.unwrap_or(PAGE_MAX));
        let rest: Vec<_> = self.instances.range(after + 1..).collect();
        let page: Vec<_> = rest.iter().take(limit).map(|(_, row)| (*row).clone()).collect();
        let last = rest.get(limit.saturating_sub(1)).map(|(id, _)| format!("after-{id}"));
        let next = last.filter(|_| rest.len() > limit);
        Answer::json(
            200,
            &json!({"success": true, "instances_found": page.len(), "label_counts": {},
                    "total_instances": self.instances.len() + self.beyond,
                    "next_token": next, "instances": page}),
        )
    }

    fn show(&mut self, rest: &str, query: &HashMap<String, String>) -> Answer {
        let Some(id) = rest.strip_suffix('/').and_then(|id| id.parse::<u64>().ok()) else {
            return Answer::new(404, HTML);
        };
        if query.get("owner").map(String::as_str) != Some("me") {
            return Answer::refused(400, "invalid_args", "owner");
        }
        self.looked_at(id);
        match self.instances.get(&id).filter(|_| !self.hidden.contains(&id)) {
            Some(instance) => Answer::json(200, &json!({"instances": instance})),
            None if self.gone_by_status => {
                Answer::refused(404, "no_such_instance", "Instance not found")
            }
            None => Answer::json(200, &json!({"instances": null})),
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = |bytes: &mut std::str::Bytes<'_>| {
            let pair = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()
        };
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => bytes.push(digits(&mut rest).expect("an encoded byte")),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
