//! Who can write below a root

use xfer_protocol::survey::Surveyed;

use xfer_tests::machine::{Disk, Machine};

fn told(found: &Surveyed) -> Vec<(String, bool)> {
    let path = |path: &[u8]| String::from_utf8(path.to_vec()).expect("text");
    found.writers.iter().map(|file| (path(&file.path), file.mapped)).collect()
}

#[test]
fn every_kind_of_writer_is_found_and_no_reader() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "");
    machine.run("echo x >/data/old; echo x >/srv/beside");
    let mut agent = machine.agent();
    let idle = agent.survey("/data");
    assert!(idle.writers.is_empty() && idle.unreadable.is_empty(), "{idle:?}");
    for (script, path) in [
        ("exec 3>/data/new", Some("/data/new")),
        ("exec 3>>/data/old", Some("/data/old")),
        ("exec 3<>/data/old", Some("/data/old")),
        ("exec 3>/data/gone; rm /data/gone", Some("/data/gone (deleted)")),
        ("exec 3>/data/a\\ b\\\\c", Some("/data/a b\\c")),
        ("cd /data; exec 3<.", None),
        ("exec 3</data/old", None),
        ("exec 3>/srv/new", None),
    ] {
        let _held = machine.hold(script);
        let wanted: Vec<_> = path.map(|path| (path.to_owned(), false)).into_iter().collect();
        let found = agent.survey("/data");
        assert_eq!(told(&found), wanted, "{script}");
        let is_bash = |command: &[u8]| command.starts_with(b"bash -c ");
        assert!(found.writers.iter().all(|file| is_bash(&file.process.command)), "{found:?}");
    }
    assert_eq!(told(&agent.survey("/data")), []);
}

#[test]
fn a_mapping_writes_as_long_as_it_stays() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "");
    machine.run("head -c 4096 /dev/zero >/data/file");
    let mut agent = machine.agent();
    let open = |mode: &str, how: &str| {
        format!(
            "import mmap\nf=open('/data/file','{mode}')\nm=mmap.mmap(f.fileno(),4096,{how})\n\
             f.close()"
        )
    };
    for (mode, how, writes) in [
        ("r+b", "mmap.MAP_SHARED,mmap.PROT_READ|mmap.PROT_WRITE", true),
        // It may be made writable at any time.
        ("r+b", "mmap.MAP_SHARED,mmap.PROT_READ", true),
        ("rb", "mmap.MAP_SHARED,mmap.PROT_READ", false),
        ("rb", "mmap.MAP_PRIVATE,mmap.PROT_READ|mmap.PROT_WRITE", false),
    ] {
        // Python keeps a descriptor of its own unless it is told otherwise.
        let script = open(mode, how)
            + "\nimport os\nfor d in os.listdir('/proc/self/fd'):\n  \
               d=int(d)\n  if d>2:\n    try: os.close(d)\n    except OSError: pass";
        let _held = machine.hold_python(&script);
        let wanted: Vec<_> = writes.then(|| ("/data/file".to_owned(), true)).into_iter().collect();
        assert_eq!(told(&agent.survey("/data")), wanted, "{mode} {how}");
    }
}

/// Paths are those of the process's own view, which may be any.
#[test]
fn another_view_hides_nobody() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "");
    machine.run("mkdir -p /srv/jail/work /srv/other; echo x >/data/file");
    let mut agent = machine.agent();
    for script in [
        "mount --bind /data /srv/jail/work; exec 3>>/srv/jail/work/file",
        "unshare -m bash -c 'mount --bind /data /srv/other; exec 3>>/srv/other/file; \
         exec bash -c \"echo; read -r _\"'",
        "unshare -m bash -c 'mount --bind /data /srv/other; exec 3>>/srv/other/file; \
         umount -l /srv/other; exec bash -c \"echo; read -r _\"'",
        "ln -f /data/file /srv/linked; exec 3>>/srv/linked",
    ] {
        let held = machine.hold(script);
        let found = agent.survey("/data");
        assert!(!found.writers.is_empty(), "{script}");
        drop(held);
        machine.run("umount /srv/jail/work 2>/dev/null; rm -f /srv/linked");
        assert_eq!(told(&agent.survey("/data")), [], "{script}");
    }
    // What is stored through an overlay lands in the directory above it.
    machine.run(
        "mount -t tmpfs x /mnt; mkdir /mnt/{l,u,w}; mount -t overlay x /disk \
        -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w",
    );
    let held = machine.hold("exec 3>/disk/file");
    let found = agent.survey("/mnt/u");
    assert_eq!(told(&found), [("/disk/file".to_owned(), false)]);
    assert_eq!(told(&agent.survey("/data")), []);
    drop(held);
    let mounts = agent.survey("/mnt").mounts.expect("it is known");
    assert_eq!(mounts, [], "an overlay holds nothing of its own");
    // A tree that is mounted elsewhere over the root's path is another.
    let _held = machine.hold(
        "unshare -m bash -c 'mount -t tmpfs x /data; exec 3>/data/file; \
         exec bash -c \"echo; read -r _\"'",
    );
    assert_eq!(told(&agent.survey("/data")), []);
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut agent = machine.agent_by(&nobody);
    let unreadable = |found: &Surveyed| -> Vec<_> {
        found.unreadable.iter().map(|process| process.pid).collect()
    };
    let found = agent.survey("/data");
    assert_eq!(unreadable(&found), [1], "{found:?}");
    assert!(found.unreadable[0].command.starts_with(b"/usr/bin/bash -c"), "{found:?}");
    let held = machine.hold("exec 3>/data/new");
    assert_eq!(unreadable(&agent.survey("/data")).len(), 2);
    drop(held);
    machine.run("mount -o remount,hidepid=2 /proc");
    let found = agent.survey("/data");
    assert_eq!(unreadable(&found), [0], "{found:?}");
    assert!(found.unreadable[0].command.windows(7).any(|word| word == b"hidepid"), "{found:?}");
    assert_eq!(unreadable(&machine.survey("/data")), [0_u32; 0], "the superuser sees all");
    machine.run("umount -l /proc");
    assert_eq!(unreadable(&machine.survey("/data")), [0]);
}
