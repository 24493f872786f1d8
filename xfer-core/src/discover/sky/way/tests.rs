#![expect(clippy::disallowed_methods, reason = "files of the test itself")]

use super::*;

fn found(entry: &str) -> Result<Option<Way>, ApiProblem> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("train");
    let text = format!(
        "# Added by sky\nHost train\n  User ubuntu\n  IdentityFile /k\n  IdentitiesOnly yes\n  \
         StrictHostKeyChecking no\n  UserKnownHostsFile=/dev/null\n  \
         GlobalKnownHostsFile=/dev/null\n  SetEnv SKY_CLUSTER_NAME=train-1a2b\n{entry}\n"
    );
    std::fs::write(&file, text).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(find(&file, "train", 7))
}

fn way(entry: &str) -> Way {
    found(entry).unwrap().unwrap()
}

fn tunnel(entry: &str) -> Option<String> {
    let login = way(entry).login;
    let configured = login.configured.unwrap();
    assert_eq!(login.direct, configured.tunnel.is_none(), "{entry}");
    configured.tunnel
}

#[test]
fn a_virtual_machine_is_dialled_at_its_address() {
    let way = way("  HostName 203.0.113.7\n  Port 22");
    let LoginPlace { user, host, port, direct, configured } = way.login.clone();
    assert_eq!((user.as_str(), host.as_str(), port, direct), ("ubuntu", "203.0.113.7", 22, true));
    assert!(way.is_plain && configured.is_some_and(|way| way.own_command.is_none()));
    assert_eq!(way.name_on_cloud.as_deref(), Some("train-1a2b"));
    assert!(!way.is_of_vast());
}

#[test]
fn a_container_is_reached_through_the_machine_that_it_is_on() {
    let command = "ssh -i /k -o StrictHostKeyChecking=no -o IdentitiesOnly=yes -W '[%h]:%p' \
                   ubuntu@203.0.113.7";
    let way = way(&format!("  HostName localhost\n  Port 10022\n  ProxyCommand {command}"));
    assert!(way.login.direct && !way.is_plain);
    let own = way.login.configured.unwrap().own_command.unwrap();
    assert!(own.contains("-W '[localhost]:10022' ubuntu@203.0.113.7"), "{own}");
}

/// Whatever is not known to end at the machine itself passes bytes on.
#[test]
fn other_commands_are_tunnels() {
    let python = "/usr/bin/python3 -u /home/u/.sky/websocket_proxy.py http://h:46580 train";
    for (command, what) in [
        (format!("{python} kubernetes-pod-ssh-proxy"), "Kubernetes"),
        (format!("{python} slurm-job-ssh-proxy 0"), "Slurm"),
        ("/home/u/.sky/kubernetes-port-forward-proxy-command.sh train".to_owned(), "Kubernetes"),
        ("nc %h %p".to_owned(), "a ProxyCommand"),
        ("ssh -W %h:%p ubuntu@203.0.113.7".to_owned(), "a ProxyCommand"),
    ] {
        let entry = format!("  HostName 203.0.113.7\n  ProxyCommand {command}");
        let named = tunnel(&entry).expect("a tunnel");
        assert!(named.contains(what), "{command}: {named}");
    }
    for command in [
        "ssh -J other -W %h:%p u@203.0.113.7",
        "ssh -o ProxyCommand='nc a 1' -W %h:%p u@203.0.113.7",
        "ssh -oproxyjump=other -W %h:%p u@203.0.113.7",
        "ssh -Jother -W %h:%p u@203.0.113.7",
        "ssh -F /home/u/other -W %h:%p u@203.0.113.7",
        "ssh -W elsewhere:10022 u@203.0.113.7",
        "ssh -W %h:22 u@203.0.113.7",
        "ssh -W",
        "ssh -W %h:%p u@203.0.113.7; nc a 1",
        "ssh -W %h:%p u@203.0.113.7 | tee /l",
        "ssh u@203.0.113.7",
        "sshx -W %h:%p u@203.0.113.7",
        "ssh -W %h:%p -",
    ] {
        let entry = format!("  HostName localhost\n  Port 10022\n  ProxyCommand {command}");
        assert!(tunnel(&entry).is_some(), "{command}");
    }
    assert!(tunnel("  HostName 203.0.113.7\n  ProxyJump bastion").is_some());
}

#[test]
fn a_name_below_vast_is_one_of_its_gateways() {
    assert!(way("  HostName ssh5.vast.ai\n  Port 17417").is_of_vast());
    assert!(way("  HostName SSH5.Vast.AI").is_of_vast());
    assert!(!way("  HostName vast.ai.example").is_of_vast());
    assert!(!way("  HostName notvast.ai").is_of_vast());
}

#[test]
fn a_machine_that_the_file_does_not_have_is_not_made_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("train");
    let look = |name: &str| runtime.block_on(find(&file, name, 7));
    assert!(look("train").unwrap().is_none());
    std::fs::write(&file, "Host train-*\n  HostName 203.0.113.7\nHost *\n  Port 7\n").unwrap();
    assert!(look("train").unwrap().is_none() && look("train-worker1").unwrap().is_none());
    std::fs::write(&file, "Host train\n  Port 70000\n").unwrap();
    assert!(matches!(look("train"), Err(ApiProblem::SshFile(_))));
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(matches!(look("train"), Err(ApiProblem::SshFile(_))));
}
