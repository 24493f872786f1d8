//! One login and its channels

use xfer_tests::{oracle, tree};

use crate::{Pair, arguments, inside, remote};

/// The agent is placed by one channel and started by the next, which the server may still refuse
#[test]
fn a_server_of_few_channels_still_gets_an_agent() {
    for sessions in [1, 2] {
        let pair = Pair::with(&format!("MaxSessions {sessions}"));
        let (source, destination) = (pair.path("source"), pair.path("destination"));
        tree::small_files(&source, 10, 6);
        tree::set_modified(&source.join("d0000/f000001"), 1_000_000_000, 123_456_789);
        let locations = [inside(&source), remote(&destination)];
        let result = pair.xfer.run(arguments("push", &[], &locations)).expect_code(0).result();
        assert_eq!(result["route"]["kind"], "ssh", "MaxSessions {sessions}: {result}");
        assert_eq!(pair.server.log_count("Accepted publickey"), 1);
        oracle::assert_equal(&source, &destination);
    }
}
