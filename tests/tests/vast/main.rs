//! Machines of Vast.ai, with an interface that refuses what the real one refuses, and real sshds in
//! hosts of the network laboratory

mod answers;
mod costs;
mod destroys;
mod destroys_killed;
mod destroys_lost;
mod doomed;
mod evacuates;
mod itself;
mod lists;
mod logins;
mod orders;
mod proxied;
mod refused;
mod room;
mod screens;
mod secrets;
mod sizes;
mod starting;
mod states;
mod ways_in;

use serde_json::Value;
use xfer_tests::net::Host;
use xfer_tests::vast_api::VastApi;
use xfer_tests::xfer::Xfer;

/// What nothing that is printed, logged or sent anywhere else may hold
const KEY: &str = "canary-vast-key-4711";

const LIST: &str = "/api/v1/instances/";
const SHOW: &str = "/api/v0/instances/";

/// An interface and a program that asks it
struct Stand {
    api: VastApi,
    xfer: Xfer,
}

impl Stand {
    /// On this machine
    fn new() -> Self {
        Self::with(VastApi::start(KEY), Xfer::new(), KEY)
    }

    fn within(host: &Host, key: &str) -> Self {
        Self::with(VastApi::start_within(host, key), Xfer::new().within(host), key)
    }

    fn with(api: VastApi, xfer: Xfer, key: &str) -> Self {
        let xfer = xfer.env("VAST_URL", api.base()).env("VAST_API_KEY", key);
        Self { api, xfer }
    }

    /// Runs to the end, which must have that code, and tells the result
    fn run(&self, arguments: &[&str], code: i32) -> Value {
        let ended = self.xfer.run([arguments, &["--json"]].concat()).expect_code(code);
        for secret in [KEY, "hidden-jupyter-token", "hidden-onstart-key"] {
            let said = [&ended.stdout, &ended.stderr].into_iter().any(|text| text.contains(secret));
            assert!(!said, "{secret} was printed");
        }
        ended.result()
    }
}
