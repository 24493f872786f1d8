//! What a machine tells of itself before it may be destroyed. Needs root: machines are namespaces.

mod outside;
mod processes;

use xfer_protocol::fault::FaultKind;
use xfer_protocol::message::Reply;

use xfer_tests::machine::{Disk, Machine};

#[test]
fn a_container_is_known_again_and_told_from_others() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "");
    let unmarked = machine.identity(false);
    assert_eq!(unmarked.marker, None);
    assert_eq!(unmarked.label.as_deref(), Some("C.7"));
    let known = machine.identity(true);
    assert!(known.marker.is_some() && known.first_process.is_some(), "{known:?}");
    let told = known.boot.is_some() && known.root_device.is_some() && known.mounts.is_some();
    assert!(told, "{known:?}");
    assert_eq!(machine.identity(false), known);
    assert_eq!(machine.identity(true), known, "a marker is made once");

    // What comes and goes by itself is not looked at, and what is mounted is.
    machine.run("mkdir /run/user; mount -t tmpfs x /run/user");
    assert_eq!(machine.identity(false), known);
    machine.run("mount -t tmpfs x /mnt");
    let mounted = machine.identity(false);
    assert_ne!(mounted.mounts, known.mounts);
    machine.run("umount /mnt");
    assert_eq!(machine.identity(false), known);

    // Another container of the same image, made while the first is there.
    let other_disk = Disk::new();
    let other = Machine::start(&other_disk, "").identity(true);
    assert_ne!(other.marker, known.marker);
    assert_ne!(other.root_device, known.root_device);
    assert_ne!(other.mounts, known.mounts);
    assert_eq!(other.boot, known.boot);

    machine.run("rm /var/lib/xfer/machine");
    assert_eq!(machine.identity(false).marker, None);
    let marked = machine.identity(true).marker;
    assert!(marked.is_some() && marked != known.marker);
    drop(machine);

    // Stopped and started: the same files, another first process.
    let again = Machine::start(&disk, "").identity(false);
    assert_eq!(again.marker, marked);
    assert_ne!(again.first_process, known.first_process);
}

#[test]
fn a_user_who_may_not_read_is_told_what_is_certain() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "chmod 1777 tmp var/tmp");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut agent = machine.agent_by(&nobody);
    let known = agent.identity(true);
    assert_eq!(known.label, None, "the first process's environment is not for everybody");
    assert!(known.marker.is_some() && known.first_process.is_some(), "{known:?}");
    assert_eq!(machine.says("ls /var/tmp"), "xfer-machine");
    assert_eq!(agent.identity(false), known);
    // It is no word of the superuser's, and may be anybody's.
    assert_eq!(machine.identity(false).marker, None);
}

/// The stamp of a mapped file changes with the first store after it was written back, and with
/// none before.
#[test]
fn a_store_after_writing_back_leaves_a_stamp() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "mount -t tmpfs x mnt");
    let mut held = machine.hold_python(
        "import mmap\nf=open('/data/mapped','w+b')\nf.truncate(4096)\n\
         m=mmap.mmap(f.fileno(),4096)\nm[0]=1\nprint(flush=True)\ninput()\n\
         m[1]=2\nprint(flush=True)\ninput()\nm[2]=3",
    );
    let stamp = || machine.says("stat -c '%y %z' /data/mapped");
    let before = stamp();
    held.go_on();
    assert_eq!(stamp(), before, "a page that is dirty already leaves no stamp");
    let mut agent = machine.agent();
    assert!(matches!(agent.write_back("/data"), Ok(Reply::Done)));
    assert_eq!(stamp(), before);
    held.go_on();
    assert_ne!(stamp(), before);
    // Memory is never written back; nor is a root that has such a thing below it.
    for root in ["/mnt", "/"] {
        let refused = agent.write_back(root).expect_err("no file system with stamps");
        assert_eq!(refused.kind, FaultKind::Unsupported, "{root}");
    }
}
