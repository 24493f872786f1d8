//! What lies outside the roots, and who else may write within them

use std::fs;

use xfer_protocol::survey::Tree;

use xfer_tests::machine::{Disk, Machine};

fn named(trees: &[Tree]) -> Vec<(&str, u64, u64)> {
    let name = |tree: &'_ Tree| -> (u64, u64) { (tree.count, tree.bytes) };
    let text = |tree| std::str::from_utf8(tree).expect("text");
    trees.iter().map(|tree| (text(&tree.path), name(tree).0, name(tree).1)).collect()
}

#[test]
fn what_changed_since_the_container_began_is_told() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "");
    let changed = |machine: &Machine| machine.survey("/data").changed.expect("it is known");
    assert_eq!(named(&changed(&machine)), [], "an image is no change");
    machine.run(
        "mkdir -p /srv/x/y /var/cache/z ~/.cache ~/.ssh /opt/lib/site-packages /empty; \
         echo 12345 >/srv/x/y/new; echo 1 >/srv/x/other; echo 1 >/single; echo 1 >/data/covered; \
         for f in /var/cache/z ~/.cache ~/.ssh /etc /opt/lib/site-packages; do \
         echo 1 >$f/file; done; ln -s /data/covered /root/link",
    );
    let first = changed(&machine);
    assert_eq!(named(&first), [("/root/link", 1, 0), ("/single", 1, 2), ("/srv/x", 2, 8)]);
    assert!(first.iter().all(|tree| tree.digest.is_some()));
    assert_eq!(changed(&machine), first);
    let whole = machine.survey("/");
    assert_eq!((whole.changed, whole.mounts), (Some(Vec::new()), Some(Vec::new())));

    // The same size, and the time set back: the file system has another all the same.
    machine.run(
        "cp -p /srv/x/other /tmp/t; echo 2 >/srv/x/other; touch -r /tmp/t /srv/x/other; rm /tmp/t",
    );
    let second = changed(&machine);
    assert_eq!(named(&second), named(&first));
    assert_ne!(second[2].digest, first[2].digest);
    assert_eq!(second[..2], first[..2]);

    machine.run("touch /opt/image/weights");
    assert_eq!(named(&changed(&machine))[0], ("/opt/image", 1, 5), "one of the image's changed");
    drop(machine);

    // A container that was stopped keeps what it had, and began when it was made.
    let again = Machine::start(&disk, "");
    assert_eq!(named(&changed(&again))[1..], named(&first));
    again.run("mkdir /srv/closed; echo 1 >/srv/closed/a; chmod 700 /srv/closed");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let found = again.agent_by(&nobody).survey("/data").changed.expect("it is known");
    let closed = found.iter().find(|tree| tree.path == b"/srv/closed").expect("it is told");
    assert_eq!((closed.count, closed.digest), (0, None), "nobody knows what lies there");
}

#[test]
fn many_files_are_one_tree() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "");
    machine.run("mkdir /srv/many; cd /srv/many; seq 3000 | xargs touch; mkdir d; touch d/last");
    let found = machine.survey("/data").changed.expect("it is known");
    assert_eq!(named(&found), [("/srv/many", 3001, 0)]);
    machine.run("cd /srv; seq 300 | xargs touch");
    let found = machine.survey("/data").changed.expect("it is known");
    assert_eq!(named(&found), [("/srv", 3301, 0)]);
}

#[test]
fn other_disks_that_hold_data_are_told() {
    let disk = Disk::new();
    let machine = Machine::start(&disk, "mount -t tmpfs x disk; mount -t tmpfs x mnt");
    let mounts = |root: &str| machine.survey(root).mounts.expect("it is known");
    assert_eq!(named(&mounts("/data")), [], "they are empty");
    machine.run("mkdir /disk/a; echo 123 >/disk/a/b; echo 1 >/run/x; echo 1 >/dev/x");
    let first = mounts("/data");
    assert_eq!(named(&first), [("/disk", 1, 4)]);
    assert_eq!(named(&mounts("/disk")), [], "it is a root");
    machine.run("mkdir /disk/c; echo 12 >/disk/c/d");
    assert_eq!(named(&mounts("/disk/a")), [("/disk", 1, 3)], "all but the root");
    machine.run("rm -r /disk/c; touch /disk/a/b");
    let second = mounts("/data");
    assert_eq!(named(&second), named(&first));
    assert_ne!(second[0].digest, first[0].digest);
    machine.run("mount -o remount,ro /disk");
    assert_eq!(named(&mounts("/data")), [], "nobody can have written there");
    machine.run("mount -o remount,rw /disk; mount -t tmpfs x /disk");
    let hidden = mounts("/data");
    assert_eq!((named(&hidden), hidden[0].digest), (vec![("/disk", 0, 0)], None));
}

#[test]
fn a_volume_of_the_host_is_of_others() {
    let disk = Disk::new();
    fs::create_dir(disk.volume().join("deep")).expect("a directory");
    let volume = disk.volume();
    let script = format!("mount --bind {} data/sub; mount -t tmpfs x mnt", volume.display());
    let machine = Machine::start(&disk, &script);
    let shared = |root: &str| {
        let found = machine.survey(root).shared;
        found.into_iter().map(|path| String::from_utf8(path).expect("text")).collect::<Vec<_>>()
    };
    assert_eq!(shared("/data"), ["/data/sub"]);
    assert_eq!(shared("/data/sub/deep"), ["/data/sub"], "the root lies on it");
    assert_eq!(shared("/srv"), [""; 0]);
    assert_eq!(shared("/mnt"), [""; 0], "memory is its own");
    // What the host writes there is no process of the machine's.
    fs::write(volume.join("file"), b"1").expect("write");
    let found = machine.survey("/srv").mounts.expect("it is known");
    assert_eq!(named(&found), [("/data/sub", 1, 1)]);
}
