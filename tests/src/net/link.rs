//! A link between two hosts

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::counts::Counts;
use super::host::Host;
use super::lane::Lane;
use super::packet::Protocol;
use super::translation::{Mapping, Translation};
use super::weather::Weather;
use super::{Direction, tun};

/// What of a link never changes
#[derive(Clone, Debug)]
pub struct Setup {
    /// N of the network 10.77.N.0/24 and of the devices `wanN`; two links of a host differ in it
    pub network: u8,
    /// Bytes that a packet has at most, headers of IP included
    pub mtu: u16,
    /// The congestion control of TCP over the link, where a program does not choose its own
    pub congestion: String,
    /// The whole future of what happens by chance
    pub seed: u64,
    /// Hosts give and take packets many at once, as with network cards that offload them, which
    /// takes less of the processor that they share with the link; packets are then late, lost or
    /// held back, and neither looked at nor changed
    pub offloads: bool,
}

impl Default for Setup {
    /// Network 0, 1500 bytes, CUBIC as most hosts have it
    fn default() -> Self {
        Self { network: 0, mtu: 1500, congestion: String::from("cubic"), seed: 1, offloads: false }
    }
}

/// A link, taken down as it is dropped
#[derive(Debug)]
pub struct Link {
    network: u8,
    ends: [Host; 2],
    lanes: [Arc<Lane>; 2],
    translation: Arc<Translation>,
    threads: Vec<JoinHandle<()>>,
    offloads: bool,
}

impl Link {
    /// Joins two hosts: the first becomes 10.77.N.1, the second 10.77.N.2
    pub fn between(near: &Host, far: &Host, setup: &Setup, weather: &Weather) -> Self {
        let network = setup.network;
        let device = format!("wan{network}");
        let ends = [near.clone(), far.clone()];
        let devices = ends
            .each_ref()
            .map(|host| Arc::new(host.within(|| tun::open(&device, setup.offloads))));
        for (host, number) in ends.iter().zip(1..) {
            host.add_address(Ipv4Addr::new(10, 77, network, number), &device);
            let mtu = setup.mtu.to_string();
            host.ip(&["link", "set", &device, "mtu", &mtu, "txqueuelen", "10000", "up"]);
            let reached = format!("10.77.{network}.0/24");
            let control = setup.congestion.as_str();
            host.ip(&["route", "replace", &reached, "dev", &device, "congctl", control]);
        }
        let translation = Arc::new(Translation::default());
        let lane = |direction| Lane::new(direction, weather, setup, &translation);
        let lanes = [Direction::Out, Direction::In].map(|direction| Arc::new(lane(direction)));
        let [near, far] = &devices;
        let mut threads = Vec::from(lanes[0].carry(near, far));
        threads.extend(lanes[1].carry(far, near));
        Self { network, ends, lanes, translation, threads, offloads: setup.offloads }
    }

    /// The address of the host from which packets go [`Direction::Out`]
    pub fn near(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.network, 1)
    }

    /// The address of the host from which packets go [`Direction::In`]
    pub fn far(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.network, 2)
    }

    /// The device at either end
    pub fn device(&self) -> String {
        format!("wan{}", self.network)
    }

    /// Changes the weather of one direction from now on
    pub fn change(&self, direction: Direction, change: impl FnOnce(&mut Weather)) {
        self.lane(direction).change(change);
    }

    /// Changes the weather of both directions from now on
    pub fn change_both(&self, change: impl Fn(&mut Weather)) {
        self.lanes.iter().for_each(|lane| lane.change(&change));
    }

    /// The present weather
    pub fn weather(&self, direction: Direction) -> Weather {
        self.lane(direction).weather()
    }

    /// Lets nothing pass; what is under way still arrives
    pub fn cut(&self) {
        self.change_both(|weather| weather.cut = true);
    }

    /// Ends [`Link::cut`]
    pub fn heal(&self) {
        self.change_both(|weather| weather.cut = false);
    }

    /// From now on these ports of the far host have these numbers outside, and no others do
    ///
    /// The whole map changes at once, for packets of open connections too, as when another takes
    /// over the machine behind it. A port that is not mapped is reached by its own number.
    pub fn map_ports(&self, mappings: &[Mapping]) {
        assert!(!self.offloads, "ports in bursts are not looked at");
        self.translation.map(mappings);
    }

    /// Gives another source port to every flow of the near host, open ones included
    ///
    /// From the first call on, that host is behind a translator of addresses for the protocol: what
    /// does not answer a packet of its own since the last call is dropped.
    pub fn rebind(&self, protocol: Protocol) {
        assert!(!self.offloads, "ports in bursts are not looked at");
        self.translation.rebind(protocol);
    }

    /// What happened until now
    pub fn counts(&self, direction: Direction) -> Counts {
        self.lane(direction).counts()
    }

    /// Waits until something was counted; false if it was not after `within`
    pub fn wait_for(
        &self,
        direction: Direction,
        wanted: impl Fn(&Counts) -> bool,
        within: Duration,
    ) -> bool {
        self.lane(direction).wait_for(wanted, within)
    }

    fn lane(&self, direction: Direction) -> &Lane {
        &self.lanes[direction as usize]
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.lanes.iter().for_each(|lane| lane.close());
        // A reader ends with its device.
        self.ends.iter().for_each(|host| host.ip(&["link", "delete", &self.device()]));
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
