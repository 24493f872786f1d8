//! A flow whose source port changes

use std::net::SocketAddr;

use xfer_tests::net::{Direction, Lab, Protocol, Weather};

use super::{SOON, connection, receive, settle, udp_pair, waiting};

#[test]
fn a_flow_of_datagrams_comes_from_another_port() {
    let lab = Lab::new(&Weather::default());
    let [near, far] = udp_pair(&lab);
    let send = || -> SocketAddr {
        near.send(&[0, 0, 0, 5]).expect("send");
        receive(&far, &mut [0; 8]).1
    };
    let own = near.local_addr().expect("address");
    assert_eq!(send(), own);
    let mut seen = vec![own];
    for _ in 0..3 {
        lab.link.rebind(Protocol::Udp);
        let from = send();
        assert!(!seen.contains(&from), "{from} again");
        assert_eq!(send(), from);
        // An answer to it arrives, one to what it was before does not.
        far.send_to(&[0, 0, 0, 6], from).expect("send");
        assert_eq!(receive(&near, &mut [0; 8]).0, 4);
        let before = lab.link.counts(Direction::In);
        far.send_to(&[0, 0, 0, 7], seen[seen.len() - 1]).expect("send");
        settle(&lab, Direction::In, before.packets + 1);
        let after = lab.link.counts(Direction::In);
        assert_eq!(after.unsolicited, before.unsolicited + 1);
        assert_eq!(waiting(&near), [0_u32; 0]);
        seen.push(from);
    }
    assert_eq!(lab.link.counts(Direction::Out).rebound, 6);
    assert_eq!(lab.link.counts(Direction::In).rebound, 3);
}

#[test]
fn a_stream_does_not_outlive_its_port() {
    use std::io::{Read, Write};
    let lab = Lab::new(&Weather::default());
    let [mut near, _far] = connection(&lab);
    lab.link.rebind(Protocol::Udp);
    near.write_all(b"still").expect("write");
    lab.link.rebind(Protocol::Tcp);
    near.write_all(b"there?").expect("write");
    near.set_read_timeout(Some(SOON)).expect("a timeout");
    let ended = near.read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset));
    // A new one is translated, and works.
    let [mut near, mut far] = connection(&lab);
    near.write_all(b"again").expect("write");
    far.read_exact(&mut [0; 5]).expect("read");
    assert_ne!(far.peer_addr().expect("address"), near.local_addr().expect("address"));
}
