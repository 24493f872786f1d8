//! What lies between here and a machine of a cluster, by the command that leads there

use serde_json::json;
use xfer_tests::sky::write_ssh_file;
use xfer_tests::sshd::Sshd;
use xfer_tests::tree;

use super::run;
use super::sky::{Cluster, record};

const THERE: &str = "sky:train:data/";

/// What carries bytes to the machine, from its own sshd's port
fn carrier(ground: &super::Ground) -> String {
    let (address, port) = (ground.address(), ground.machine.port());
    format!(
        "ssh -F /dev/null -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o \
         UserKnownHostsFile=/dev/null -p {port} -W {address}:{port} root@{address}",
        ground.machine.user_key().display()
    )
}

/// A cluster whose machine is led to by a command
fn behind(command: &str) -> Cluster {
    let cluster = Cluster::new();
    let command = command.replace("CARRIER", &carrier(&cluster.ground));
    let lines = format!("  HostName 10.244.0.7\n  User root\n  ProxyCommand {command}");
    cluster.write_file(&[("train", &lines)]);
    cluster
}

/// Whatever SkyPilot's tunnels are made of, all bytes pass what makes them.
#[test]
fn payload_through_a_tunnel_is_limited() {
    for (command, named) in [
        (
            "sh -c 'exec CARRIER' websocket_proxy.py kubernetes-pod-ssh-proxy",
            "SkyPilot's tunnel through the Kubernetes API",
        ),
        (
            "sh -c 'exec CARRIER' websocket_proxy.py slurm-job-ssh-proxy 0",
            "SkyPilot's tunnel through Slurm",
        ),
        ("CARRIER", "a ProxyCommand of the cluster's configuration"),
    ] {
        let Cluster { ground, sky: _sky } = behind(command);
        tree::big_file(&ground.tree().join("big"), 3 << 20, 5);
        let told = ground.push(THERE, &["--proxy-limit", "1MB"], 17);
        assert!(
            told.stderr.contains(&format!("would cross {named} (10.244.0.7:22)")),
            "{}",
            told.stderr
        );
        let next = "next machine: a cluster that opens a port: resources: {ports: [8081]}";
        assert!(told.stderr.contains(next), "{}", told.stderr);
        assert!(!ground.machine.home().join("data/big").exists());
        let passed = ground.push(THERE, &["--proxy-limit", "9MB", "--json"], 0);
        assert_eq!(passed.result()["route"]["direct"], json!(false));
        ground.assert_arrived();
        let probed = run(&ground.xfer, &["probe", "sky:train:", "--duration", "1s"], 0);
        assert!(
            probed.stdout.contains(&format!("{named} (10.244.0.7:22) passes")),
            "{}",
            probed.stdout
        );
        let listed = run(&ground.xfer, &["ls", "sky:"], 0);
        assert!(listed.stdout.contains("proxied 10.244.0.7:22"), "{}", listed.stdout);
    }
}

/// A container on a virtual machine is reached through that machine's own sshd, at its full rate.
#[test]
fn payload_through_the_machine_itself_is_not() {
    let Cluster { ground, sky } = Cluster::new();
    let inside = Sshd::start_within(&ground.lab.far, [127, 0, 0, 1].into(), "");
    std::fs::copy(ground.machine.authorized_keys(), inside.authorized_keys()).expect("copy");
    let key = ground.machine.user_key();
    let lines = format!(
        "  HostName localhost\n  Port {}\n  User root\n  ProxyCommand ssh -F /dev/null -i {} -o \
         IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p {} -W \
         '[%h]:%p' root@{}",
        inside.port(),
        key.display(),
        ground.machine.port(),
        ground.address()
    );
    write_ssh_file(&ground.xfer, "train", &key, &[("train", &lines)]);
    sky.put("train", &record("train"));
    tree::big_file(&ground.tree().join("big"), 3 << 20, 5);
    let passed = ground.push(THERE, &["--proxy-limit", "1MB", "--json"], 0);
    assert_eq!(passed.result()["route"]["direct"], json!(true));
    xfer_tests::oracle::assert_equal(&ground.tree(), &inside.home().join("data"));
    assert!(
        !ground.machine.home().join("data").exists(),
        "the container's files, not the machine's"
    );
    assert_eq!(ground.pins(), format!("sky-train {}\n", inside.host_key()));
    let probed = run(&ground.xfer, &["probe", "sky:train:", "--duration", "1s"], 0);
    assert!(probed.stdout.contains("ends at the sshd of the machine itself"), "{}", probed.stdout);
    // A command that the user chose is not the one that is known to end there.
    let other = format!("ProxyCommand={}", carrier(&ground));
    std::fs::remove_file(ground.xfer.state().join("known_hosts")).expect("remove");
    tree::big_file(&ground.tree().join("more"), 3 << 20, 6);
    let told = ground.push(THERE, &["-o", &other, "--proxy-limit", "1MB", "--json"], 17);
    assert_eq!(told.result()["reason"], "proxied-over-limit");
}
