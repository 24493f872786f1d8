//! Lambda Cloud: instances by its REST interface.
//!
//! It has no gateway and no port map: an instance has an address of its own, and the whole list is
//! one answer, so what it does not have is not there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::account::{Account, AccountSettings};
use super::error::PlatformError;
use super::fields::{address, amount, shown};
use super::json::Json;
use super::requests::{Endpoint, Requests};
use super::{LoginPlace, MachineRow, MachineState, Platform, Prices, Shown};
use crate::clock::Clock;
use crate::location::{PlatformKind, PlatformMachine};

const LIST: &str = "/instances";
const LISTS: Endpoint = Endpoint { name: "list", interval: Duration::from_secs(1) };

/// Everybody logs in so, at sshd's own port.
const USER: &str = "ubuntu";
const PORT: u16 = 22;

/// Lambda Cloud, asked with the key that other tools for it would use.
pub struct Lambda {
    requests: Requests,
}

impl Lambda {
    /// What its own tools call the key, and where it is asked.
    pub const ACCOUNT: &Account = &Account {
        base: ("https://cloud.lambdalabs.com/api/v1", "LAMBDA_API_URL"),
        key: "LAMBDA_API_KEY",
        file: (".lambda_cloud/lambda_keys", &["api_key"]),
    };

    /// Asks nobody yet.
    ///
    /// # Errors
    /// Where no key is at hand, or none that can be used.
    pub fn new(
        settings: &AccountSettings,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Self, PlatformError> {
        let failed = |problem| PlatformError { place: "Lambda Cloud".to_owned(), problem };
        Ok(Self { requests: settings.requests(clock, seed).map_err(failed)? })
    }
}

#[async_trait]
impl Platform for Lambda {
    async fn list(&self) -> Result<Vec<MachineRow>, PlatformError> {
        let answer = self.requests.get(LISTS, LIST, &[]).await?;
        let unusable = |what: String| self.requests.unusable(LIST, what);
        let instances = answer.get("data").and_then(Json::list);
        let instances = instances.ok_or_else(|| unusable("data is no list".to_owned()))?;
        let mut seen = BTreeSet::new();
        let mut rows = Vec::with_capacity(instances.len());
        for instance in instances {
            let row = read(instance).map_err(unusable)?;
            if !seen.insert(row.machine.to_string()) {
                return Err(unusable("an id stands twice in the list".to_owned()));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    async fn show(&self, name: &str) -> Result<Shown, PlatformError> {
        let found = self.list().await?.into_iter().find(|row| row.machine.name() == Some(name));
        Ok(found.map_or(Shown::Gone, |row| Shown::Present(Box::new(row))))
    }
}

/// Reads an instance.
///
/// # Errors
/// Where it names no instance; whatever else is missing or odd is only not known.
fn read(instance: &Json) -> Result<MachineRow, String> {
    let named = instance.get("id").ok_or("an instance has no id")?;
    let machine = named.text().and_then(|id| PlatformMachine::checked(PlatformKind::Lambda, id));
    let machine = machine.ok_or_else(|| format!("the id {} is none", shown(named)))?;
    let text = |name| instance.get(name).and_then(Json::text).map(str::trim);
    let status = text("status").unwrap_or_default();
    let state = state(status);
    let mut lacking = Vec::new();
    let logins = match state {
        MachineState::Running | MachineState::Stopping => {
            login(instance).map_err(|reason| lacking.push(reason)).into_iter().collect()
        }
        _ => Vec::new(),
    };
    Ok(MachineRow {
        machine,
        // Nothing inside tells the id.
        says: None,
        label: text("name").filter(|name| !name.is_empty()).map(str::to_owned),
        state,
        status: status.to_owned(),
        logins,
        lacking,
        ports: Vec::new(),
        mapped: 0,
        near: near(instance),
        host: None,
        disk: None,
        started: None,
        prices: prices(instance),
        clocks: Vec::new(),
    })
}

fn state(status: &str) -> MachineState {
    match status {
        "active" => MachineState::Running,
        "booting" => MachineState::Starting,
        "terminating" => MachineState::Stopping,
        "unhealthy" => MachineState::HostOffline,
        _ => MachineState::Unknown,
    }
}

fn login(instance: &Json) -> Result<LoginPlace, String> {
    let told = instance.get("ip").ok_or("no direct port: ip is not there")?;
    let found = told.text().and_then(address);
    let host = found.ok_or_else(|| format!("no direct port: ip is {}", shown(told)))?.to_string();
    Ok(LoginPlace { user: USER.to_owned(), host, port: PORT, direct: true, configured: None })
}

fn near(instance: &Json) -> Vec<IpAddr> {
    instance.get("private_ip").and_then(Json::text).and_then(address).into_iter().collect()
}

fn prices(instance: &Json) -> Prices {
    let cents = instance.get("instance_type").and_then(|kind| kind.get("price_cents_per_hour"));
    Prices { running_per_hour: amount(cents).map(|cents| cents / 100.0), ..Prices::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0920582c7ff041399e34823a0be62549";

    fn row(changes: &[(&str, &str)]) -> MachineRow {
        let text = r#"{"name":"a","status":"active","ip":" 203.0.113.7\n","private_ip":"10.0.0.2",
            "instance_type":{"price_cents_per_hour":110},"jupyter_token":"hidden"}"#;
        let Ok(Json::Object(mut object)) = Json::parse(text.as_bytes()) else { panic!("{text}") };
        object.insert("id".to_owned(), Json::Text(ID.to_owned()));
        for (name, value) in changes {
            object.insert((*name).to_owned(), Json::parse(value.as_bytes()).unwrap());
        }
        read(&Json::Object(object)).unwrap()
    }

    fn places(row: &MachineRow) -> Vec<String> {
        let place = |login: &LoginPlace| format!("{}@{}:{}", login.user, login.host, login.port);
        row.logins.iter().map(place).collect()
    }

    #[test]
    fn an_instance_is_dialled_at_its_own_address() {
        let row = row(&[]);
        assert_eq!(row.machine.to_string(), format!("lambda:{ID}"));
        assert_eq!(places(&row), ["ubuntu@203.0.113.7:22"]);
        assert!(row.logins[0].direct && row.lacking.is_empty() && row.says.is_none());
        assert_eq!(row.near, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(row.prices.running_per_hour, Some(1.1));
        assert_eq!(row.prices.out_per_gb, None);
        assert!(!format!("{row:?}").contains("hidden"));
    }

    #[test]
    fn only_words_that_are_known_are_states() {
        for (status, state, is_open) in [
            (r#""active""#, MachineState::Running, true),
            (r#""terminating""#, MachineState::Stopping, true),
            (r#""booting""#, MachineState::Starting, false),
            (r#""unhealthy""#, MachineState::HostOffline, false),
            (r#""terminated""#, MachineState::Unknown, false),
            (r#""Active""#, MachineState::Unknown, false),
            ("null", MachineState::Unknown, false),
            ("1", MachineState::Unknown, false),
        ] {
            let row = row(&[("status", status)]);
            assert_eq!((row.state, !row.logins.is_empty()), (state, is_open), "{status}");
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (ip, why) in [
            ("null", "ip is not there"),
            (r#""""#, "ip is \"\""),
            (r#""127.0.0.1""#, "ip is \"127.0.0.1\""),
            (r#""169.254.169.254""#, "169.254"),
            (r#""host.example""#, "host.example"),
            ("[]", "ip is a list"),
            ("7", "ip is 7"),
        ] {
            let row = row(&[("ip", ip)]);
            assert!(row.logins.is_empty() && row.lacking[0].contains(why), "{ip}: {row:?}");
        }
    }

    #[test]
    fn an_id_is_hexadecimal_or_none() {
        for id in ["null", "7", r#""""#, r#""x""#, r#""0A""#, r#""../0""#, r#""0\n""#] {
            let text = format!(r#"{{"id":{id},"status":"active"}}"#);
            assert!(read(&Json::parse(text.as_bytes()).unwrap()).is_err(), "{id}");
        }
    }

    #[test]
    fn a_price_that_is_none_is_unknown() {
        for price in
            ["null", r#"{"price_cents_per_hour":-1}"#, "3", r#"{"price_cents_per_hour":"x"}"#]
        {
            assert_eq!(row(&[("instance_type", price)]).prices, Prices::default(), "{price}");
        }
    }
}
